// Package strictyaml reads settings from YAML into a struct. A key that the struct does not
// have is an error, which names its line and the key that was probably meant.
package strictyaml

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"reflect"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Decode overwrites fields of into, a pointer to a struct, with the document's values. Keys
// are those of the fields' yaml tags, or of a [Shaped] type; a struct that is tagged inline has
// its own in the one around it. An empty document changes nothing. A second document is
// an error. So are unknown keys; the error names all of them, and into stays as it was. If a
// value is of the wrong type, into may be partly overwritten.
//
// known has other names of settings, for advice. Each comes with the key and the path to it,
// such as optimizer.weight_decay, or with a flag that has no key, such as --device. Names have
// underscores for dashes.
func Decode(data []byte, into any, known map[string]string) error {
	d := yaml.NewDecoder(bytes.NewReader(data))
	var document yaml.Node
	if err := d.Decode(&document); errors.Is(err, io.EOF) {
		return nil
	} else if err != nil {
		return err
	}
	if err := d.Decode(new(yaml.Node)); !errors.Is(err, io.EOF) {
		return errors.New("more than one document")
	}
	c := checker{known: namesOf(reflect.TypeOf(into), known), open: map[*yaml.Node]bool{}}
	c.check(document.Content[0], reflect.TypeOf(into), "")
	if len(c.unknown) > 0 {
		return errors.Join(c.unknown...)
	}
	return document.Decode(into)
}

// Fields are the keys of a struct's settings, with the path to each, by the addresses of their
// fields. So the key of whatever else is bound to a field is known. settings points to the
// struct.
func Fields(settings any) map[uintptr]string {
	keys := map[uintptr]string{}
	addFields(keys, reflect.ValueOf(settings).Elem(), "")
	return keys
}

func addFields(keys map[uintptr]string, v reflect.Value, path string) {
	for i := range v.NumField() {
		field := v.Type().Field(i)
		key := keyOf(field)
		switch f := v.Field(i); {
		case inlined(field):
			addFields(keys, f, path)
		case key == "":
		case f.Kind() == reflect.Struct:
			addFields(keys, f, path+key+".")
		default:
			keys[f.Addr().Pointer()] = path + key
		}
	}
}

// keyOf is the key of a field, "" if it has none.
func keyOf(f reflect.StructField) string {
	key, _, _ := strings.Cut(f.Tag.Get("yaml"), ",")
	if key == "-" {
		return ""
	}
	return key
}

// inlined is whether a field's keys are those of the struct that it is in.
func inlined(f reflect.StructField) bool {
	_, flags, _ := strings.Cut(f.Tag.Get("yaml"), ",")
	return flags == "inline"
}

// checker looks for unknown keys.
type checker struct {
	known   []name              // for advice
	open    map[*yaml.Node]bool // mappings being looked at: an alias may lead back to one
	unknown []error             // mistakes so far
}

// check looks at a mapping for a struct, and at those below it.
func (c *checker) check(n *yaml.Node, t reflect.Type, path string) {
	t = target(t)
	if n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	if n.Kind != yaml.MappingNode || t.Kind() != reflect.Struct {
		return // what is of the wrong type, decoding reports
	}
	if c.open[n] {
		c.unknown = append(c.unknown, fmt.Errorf("line %d: the value of %s contains itself", n.Line, strings.TrimSuffix(path, ".")))
		return
	}
	c.open[n] = true
	defer delete(c.open, n)
	fields := fieldsOf(t)
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		field, ok := fields[key.Value]
		if base, _, qualified := strings.Cut(key.Value, "@"); !ok && qualified {
			field, ok = fields[base+"@"]
		}
		if ok {
			c.check(value, field, path+key.Value+".")
			continue
		}
		if key.Tag != "!!merge" {
			c.unknown = append(c.unknown, fmt.Errorf("line %d: unknown key %s%s%s", key.Line, path, key.Value, advice(path, key.Value, c.known)))
			continue
		}
		for _, from := range merged(value) {
			c.check(from, t, path)
		}
	}
}

// merged are the mappings that a merge key names: one, or several in a sequence.
func merged(n *yaml.Node) []*yaml.Node {
	if n.Kind == yaml.SequenceNode {
		return n.Content
	}
	return []*yaml.Node{n}
}

// Shaped is a type that reads other keys than its fields': those of the struct that Shape
// gives for every value of it.
type Shaped interface{ Shape() reflect.Type }

// target is the type that a pointer points to or, of a Shaped one, its shape.
func target(t reflect.Type) reflect.Type {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if shaped, ok := reflect.Zero(t).Interface().(Shaped); ok {
		return shaped.Shape()
	}
	return t
}

// fieldsOf are the types of a struct's fields by their keys. A field that is tagged
// qualified:"@" has all keys that begin with its own and an @, too: it is there with that sign.
func fieldsOf(t reflect.Type) map[string]reflect.Type {
	fields := map[string]reflect.Type{}
	for i := range t.NumField() {
		f := t.Field(i)
		if inlined(f) {
			maps.Copy(fields, fieldsOf(f.Type))
		} else if key := keyOf(f); key != "" {
			fields[key] = f.Type
			if f.Tag.Get("qualified") == "@" {
				fields[key+"@"] = f.Type
			}
		}
	}
	return fields
}

// name is one name of a setting.
type name struct {
	text string
	// key is the path to it, or a flag.
	key string
	// other says that the text is not the key's own.
	other bool
}

// mapping is the path of the mapping that a key is in, with the dot behind it.
func (n name) mapping() string { return n.key[:strings.LastIndexByte(n.key, '.')+1] }

// namesOf are all keys of a struct, and the other names.
func namesOf(t reflect.Type, other map[string]string) []name {
	var names []name
	for _, key := range keysOf(t, "") {
		names = append(names, name{text: key[strings.LastIndexByte(key, '.')+1:], key: key})
	}
	for _, text := range slices.Sorted(maps.Keys(other)) {
		names = append(names, name{text: text, key: other[text], other: true})
	}
	return names
}

// keysOf are the keys of a struct and of those in it, with the path to each. No struct
// of settings holds itself.
func keysOf(t reflect.Type, path string) []string {
	t = target(t)
	if t.Kind() != reflect.Struct {
		return nil
	}
	var keys []string
	for name, field := range fieldsOf(t) {
		if strings.HasSuffix(name, "@") {
			continue
		}
		keys = append(keys, path+name)
		keys = append(keys, keysOf(field, path+name+".")...)
	}
	slices.Sort(keys)
	return keys
}

// advice says which setting an unknown key was probably meant for, if any resembles it.
func advice(path, key string, known []name) string {
	if len(known) == 0 || len(key) > longest {
		return ""
	}
	key = strings.ReplaceAll(strings.ToLower(key), "-", "_")
	near := slices.MinFunc(known, func(a, b name) int { return slices.Compare(a.unlike(path, key), b.unlike(path, key)) })
	switch {
	case near.unlike(path, key)[0] == stranger:
		return ""
	case strings.HasPrefix(near.key, "-"):
		return "; it is a flag only: " + near.key
	}
	return "; did you mean " + near.key + "?"
}

// How a key resembles a name.
const (
	same     = iota
	partly   // one is the other with more words, or more of a word, behind or before it
	misspelt // but for some letters
	stranger
)

// unlike says how little a key in the mapping at path is like the name, as numbers to be
// compared one by one. The first is how it resembles the name. Then come where the setting is
// (in the same mapping, in one inside it, known by another name, elsewhere) and by how many
// letters the two differ; for a misspelt key the letters come before the place.
func (n name) unlike(path, key string) []int {
	how, letters := stranger, Distance(key, n.text)
	switch {
	case key == n.text:
		how = same
	case partOf(n.text, key) || partOf(key, n.text) || len(key) >= 3 && strings.HasPrefix(n.text, key):
		how = partly
	case letters <= max(min(2, len(key)/2), len(key)/3):
		how = misspelt
	}
	where := 3
	switch {
	case n.other:
		where = 2
	case n.mapping() == path:
		where = 0
	case path != "" && strings.HasPrefix(n.mapping(), path):
		where = 1
	}
	if how == misspelt {
		return []int{how, letters, where}
	}
	return []int{how, where, letters}
}

// partOf says whether the first or the last words of a name are part.
func partOf(part, name string) bool {
	return strings.HasPrefix(name, part+"_") || strings.HasSuffix(name, "_"+part)
}

// longest is the length from which a key resembles no other.
const longest = 64

// Distance is the least number of letters to insert, delete or replace in a to get b
// (Levenshtein 1965).
func Distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			replaced := diagonal
			if a[i] != b[j] {
				replaced++
			}
			diagonal = row[j+1]
			row[j+1] = min(replaced, row[j]+1, diagonal+1)
		}
	}
	return row[len(b)]
}
