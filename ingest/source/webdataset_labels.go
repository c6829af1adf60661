package source

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"facepipe/ingest/align"
	"facepipe/internal/regular"
	"facepipe/internal/webdataset"
)

// maxLabelBytes bounds the members of a sample that describe its images.
const maxLabelBytes = 1 << 20

// labels are what a sample says of its images.
type labels struct {
	item  Item // without key and bytes
	class string
}

// named says whether the labels say who it is, or that nobody knows.
func (l *labels) named() bool { return l.item.Identity != "" || l.class != "" }

// isLabel says whether a member describes images.
func isLabel(m *webdataset.Member) bool {
	_, kind := splitExtension(m)
	return slices.Contains([]string{"cls", "json", "txt"}, kind)
}

// splitExtension cuts a member's extension at its last dot: "left" and "jpg" of
// 17.left.jpg.
func splitExtension(m *webdataset.Member) (part, kind string) {
	if dot := strings.LastIndexByte(m.Extension, '.'); dot >= 0 {
		return m.Extension[:dot], m.Extension[dot+1:]
	}
	return "", m.Extension
}

// describing are the members that describe an image. Of each kind it is the one of the image's
// own part of the sample, as 17.left.cls is for 17.left.jpg, else the one of the whole sample.
// In this format names with dots of their own, such as a_0.25.jpg with a_0.25.cls, are parts of
// a_0.
func describing(s *webdataset.Sample, image *webdataset.Member) ([]*webdataset.Member, error) {
	var chosen []*webdataset.Member
	own, _ := splitExtension(image)
	for i := range s.Members {
		m := &s.Members[i]
		part, kind := splitExtension(m)
		if !isLabel(m) || part != "" && part != own {
			continue
		}
		at := slices.IndexFunc(chosen, func(c *webdataset.Member) bool {
			_, other := splitExtension(c)
			return other == kind
		})
		if at < 0 {
			chosen = append(chosen, m)
			continue
		}
		switch before, _ := splitExtension(chosen[at]); {
		case before == part:
			return nil, fmt.Errorf("sample has two members .%s", m.Extension)
		case part == own:
			chosen[at] = m
		}
	}
	return chosen, nil
}

// labelled says whether a sample has a .cls or a .json member.
func labelled(s *webdataset.Sample) bool {
	return slices.ContainsFunc(s.Members, func(m webdataset.Member) bool {
		_, kind := splitExtension(&m)
		return isLabel(&m) && kind != "txt"
	})
}

// readLabels reads what is beside an image in its sample:
//
//	.cls   an integer in decimal digits: the identity, behind the namespace and a slash,
//	       or none if it is negative
//	.json  an object with, among others,
//	       identity   a name, which is the identity, or an integer as in .cls, also in
//	                  quotation marks
//	       label      the same, if there is no identity
//	       landmarks  five points, [[x,y],...] or ten numbers, in the order of
//	                  [align.Landmarks], in pixels of the upright photograph
//	       box        [x, y, width, height] in the same pixels
//	       split      a name
//	       Further strings, numbers and booleans are attributes; null, lists and objects
//	       are passed over. NaN and Infinity, which Python writes, are numbers.
//	.txt   the attribute "txt"
//
// The integers of .cls and .json must agree.
func readLabels(shard *webdataset.Shard, s *webdataset.Sample, image *webdataset.Member, namespace string) (labels, error) {
	l := labels{}
	members, err := describing(s, image)
	if err != nil {
		return l, err
	}
	for _, m := range members {
		if err := l.read(shard, m, namespace); err != nil {
			return l, fmt.Errorf("its .%s: %w", m.Extension, err)
		}
	}
	return l, nil
}

func (l *labels) read(shard *webdataset.Shard, m *webdataset.Member, namespace string) error {
	if m.Fault == nil && m.Size > maxLabelBytes {
		return fmt.Errorf("has %d bytes, more than the limit of %d", m.Size, maxLabelBytes)
	}
	data, err := shard.Read(m, nil)
	if err != nil {
		return regular.Reason(err)
	}
	switch _, kind := splitExtension(m); kind {
	case "cls":
		return l.number(strings.TrimSpace(string(data)), namespace)
	case "json":
		return l.object(data, namespace)
	}
	text := string(data)
	if !utf8.ValidString(text) {
		text = escapeName(text)
	}
	return l.attribute("txt", text)
}

// number takes a number as the identity.
func (l *labels) number(text, namespace string) error {
	if !number.MatchString(text) {
		return fmt.Errorf("label %.40q is not an integer", text)
	}
	whole, _, _ := strings.Cut(text, ".")
	n, err := strconv.ParseInt(whole, 10, 64)
	if err != nil {
		return fmt.Errorf("label %.40q: %w", text, errors.Unwrap(err))
	}
	class := strconv.FormatInt(n, 10)
	if l.class != "" && l.class != class {
		return fmt.Errorf("label is %s, another member says %s", class, l.class)
	}
	l.class = class
	if n >= 0 && l.item.Identity == "" {
		l.item.Identity = namespace + "/" + class
	}
	return nil
}

func (l *labels) attribute(name, value string) error {
	for _, a := range l.item.Attributes {
		if a.Name == name {
			return fmt.Errorf("%q is there twice", name)
		}
	}
	l.item.Attributes = append(l.item.Attributes, Attribute{Name: name, Value: value})
	return nil
}

// object reads a .json member.
func (l *labels) object(data []byte, namespace string) error {
	if !utf8.Valid(data) {
		return errors.New("is not valid UTF-8")
	}
	d := json.NewDecoder(bytes.NewReader(standardJSON(data)))
	d.UseNumber()
	if start, err := d.Token(); err != nil || start != json.Delim('{') {
		return errors.New("is not a JSON object")
	}
	known := map[string]any{}
	for d.More() {
		name, err := d.Token()
		if err != nil {
			return brokenObject(err)
		}
		var value any
		if err := d.Decode(&value); err != nil {
			return brokenObject(err)
		}
		if err := l.field(name.(string), value, known); err != nil {
			return err
		}
	}
	if _, err := d.Token(); err != nil {
		return brokenObject(err)
	}
	if _, err := d.Token(); err != io.EOF {
		return errors.New("has text behind its JSON object")
	}
	return l.known(known, namespace)
}

// nonNumbers are what Python's json writes that is no JSON, and numbers that stand for it: out of
// all programs' range, so that they are in no file and where numbers mean something an error.
var nonNumbers = []struct{ name, number string }{
	{"NaN", "9e99990"}, {"-Infinity", "-9e99991"}, {"Infinity", "9e99991"},
}

// standardJSON makes JSON of what Python and Windows write: a byte order mark before it, and
// numbers that are none.
func standardJSON(data []byte) []byte {
	data = bytes.TrimPrefix(data, []byte("\ufeff"))
	var out []byte
	copied, quoted := 0, false
	for i := 0; i < len(data); i++ {
		switch c := data[i]; {
		case c == '\\' && quoted:
			i++
		case c == '"':
			quoted = !quoted
		case !quoted && (c == 'N' || c == 'I' || c == '-'):
			for _, n := range nonNumbers {
				if bytes.HasPrefix(data[i:], []byte(n.name)) {
					out = append(append(out, data[copied:i]...), n.number...)
					copied = i + len(n.name)
					i = copied - 1
					break
				}
			}
		}
	}
	if copied == 0 {
		return data
	}
	return append(out, data[copied:]...)
}

// spelled is a number as it stood in the file.
func spelled(v json.Number) string {
	for _, n := range nonNumbers {
		if v.String() == n.number {
			return n.name
		}
	}
	return v.String()
}

func brokenObject(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return errors.New("JSON object does not end")
	}
	return err
}

// field puts a field of an object among the known ones or the attributes.
func (l *labels) field(name string, value any, known map[string]any) error {
	switch name {
	case "identity", "label", "landmarks", "box", "split":
		if _, again := known[name]; again {
			return fmt.Errorf("%q is there twice", name)
		}
		known[name] = value
		return nil
	}
	return l.scalar(name, value)
}

// scalar makes an attribute of a string, a number or a boolean.
func (l *labels) scalar(name string, value any) error {
	switch v := value.(type) {
	case string:
		return l.attribute(name, v)
	case json.Number:
		return l.attribute(name, spelled(v))
	case bool:
		return l.attribute(name, strconv.FormatBool(v))
	}
	return nil
}

// known takes what the fields that mean something say.
func (l *labels) known(fields map[string]any, namespace string) error {
	if err := l.names(fields["identity"], fields["label"], namespace); err != nil {
		return err
	}
	if v := fields["split"]; v != nil {
		split, ok := v.(string)
		if !ok {
			return errors.New("split is not a string")
		}
		l.item.Split = split
	}
	return l.geometry(fields)
}

// names takes the identity or, without one, the label. A label beside an identity is an
// attribute.
func (l *labels) names(identity, label any, namespace string) error {
	switch {
	case identity != nil:
		if err := l.identify("identity", identity, namespace); err != nil {
			return err
		}
		return l.scalar("label", label)
	case label != nil:
		return l.identify("label", label, namespace)
	}
	return nil
}

func (l *labels) identify(name string, value any, namespace string) error {
	switch v := value.(type) {
	case string:
		l.item.Identity = personOf(v, namespace)
		if l.item.Identity == "" && v != "" {
			l.class = v // which says that nobody knows
		}
		return nil
	case json.Number:
		return l.number(spelled(v), namespace)
	}
	return fmt.Errorf("%s is neither a string nor an integer", name)
}

// geometry takes landmarks and box.
func (l *labels) geometry(fields map[string]any) error {
	if v := fields["landmarks"]; v != nil {
		var points align.Landmarks
		at, err := flatNumbers(nil, v)
		if err == nil && len(at) != 2*len(points) {
			err = fmt.Errorf("%d numbers, want %d", len(at), 2*len(points))
		}
		if err != nil {
			return fmt.Errorf("landmarks: %w", err)
		}
		for i := range points {
			points[i] = align.Point{X: at[2*i], Y: at[2*i+1]}
		}
		l.item.Landmarks = &points
	}
	if v := fields["box"]; v != nil {
		at, err := flatNumbers(nil, v)
		if err == nil && len(at) != 4 {
			err = fmt.Errorf("%d numbers, want 4", len(at))
		}
		if err == nil && !(at[2] > 0 && at[3] > 0) {
			err = fmt.Errorf("%g by %g pixels", at[2], at[3])
		}
		if err != nil {
			return fmt.Errorf("box: %w", err)
		}
		l.item.Box = &Box{X: at[0], Y: at[1], W: at[2], H: at[3]}
	}
	return nil
}

// flatNumbers appends the numbers in a list, or in a list of lists.
func flatNumbers(to []float64, v any) ([]float64, error) {
	switch v := v.(type) {
	case json.Number:
		f, err := v.Float64()
		if err != nil || math.IsInf(f, 0) {
			return nil, fmt.Errorf("number %.40s", spelled(v))
		}
		return append(to, f), nil
	case []any:
		for _, e := range v {
			var err error
			if to, err = flatNumbers(to, e); err != nil {
				return nil, err
			}
		}
		return to, nil
	}
	return nil, errors.New("not a list of numbers")
}
