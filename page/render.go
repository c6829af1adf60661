package page

import (
	"bytes"
	_ "embed" // the template and its style
	"encoding/base64"
	"encoding/json"
	"fmt"
	"html/template"
	"strconv"
	"strings"
	"unicode/utf8"

	"facepipe/internal/plain"
)

//go:embed page.html
var source string

//go:embed page.css
var style string

// MaxBytes is the size that no page exceeds.
const MaxBytes = 3 << 20

// maxData is the longest JSON that goes into a page, and maxDownload that which is there a
// second time, as a link.
const (
	maxData     = 512 << 10
	maxDownload = 128 << 10
)

// policy forbids a page all that it does not need: every script, every connection, every
// picture that is not inside.
const policy = "default-src 'none'; script-src 'none'; img-src data:; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"

// bounds are how much of what there is a page shows.
type bounds struct {
	text, rows int // characters of a text, rows of a table and facts of a list
	data       int // bytes of JSON
}

// allBounds are tried until the page is small enough: the last ones suffice for what pipe
// writes, with names as long as they may be.
var allBounds = []bounds{{maxText, maxRows, maxData}, {120, 60, 0}, {60, 20, 0}, {40, 6, 0}}

// maxText is how much of a text is shown: all of what a study says of some dozens of rows.
const maxText = 1000

// clip shows the beginning and the end of a text that is long: names differ in their ends.
func (b bounds) clip(text string) string {
	runes := []rune(text)
	if len(runes) <= b.text {
		return text
	}
	half := b.text / 2
	return string(runes[:half]) + " … " + string(runes[len(runes)-half:])
}

// shown is a page as the template wants it.
type shown struct {
	Page
	Policy   template.HTMLAttr
	Style    template.CSS
	Parts    []shownPart
	Glossary []definition
}

// shownPart is a part with what the template cannot make.
type shownPart struct {
	Part
	// ID, WarningsID and DataID are anchors.
	ID, WarningsID, DataID string
	// Data and Download are the JSON, as it is and as a link.
	Data     any
	Download template.URL
}

// numbered is the anchor of the n-th part: those of the first are as they are.
func numbered(name string, n int) string {
	if n == 0 {
		return name
	}
	return name + "-" + strconv.Itoa(n+1)
}

// HTML is the page as a file, of at most [MaxBytes]: where there is too much, less is shown of
// each.
func (p Page) HTML() (html []byte, err error) {
	for _, b := range allBounds {
		if html, err = p.within(b); err != nil || len(html) <= MaxBytes {
			return html, err
		}
	}
	return nil, fmt.Errorf("the page would have %d bytes, more than %d: name fewer subjects", len(html), MaxBytes)
}

// within is the page within some bounds.
func (p Page) within(limit bounds) ([]byte, error) {
	parsed, err := template.New("page").Funcs(template.FuncMap{"clip": limit.clip}).Parse(source)
	if err != nil {
		return nil, err
	}
	s := shown{Page: p, Policy: template.HTMLAttr(`content="` + policy + `"`), Style: template.CSS(style), Glossary: p.glossary()}
	for i, part := range p.Parts {
		whole, err := p.part(i, part, limit)
		if err != nil {
			return nil, fmt.Errorf("page of %s: %w", part.Path, err)
		}
		s.Parts = append(s.Parts, whole)
	}
	var b bytes.Buffer
	if err := parsed.Execute(&b, s); err != nil {
		return nil, err
	}
	return readable(b.Bytes()), nil
}

// part gives the anchors of a part their number, and puts its data into it.
func (p Page) part(number int, part Part, limit bounds) (shownPart, error) {
	whole := shownPart{Part: part, ID: numbered("part", number), WarningsID: numbered("warnings", number), DataID: numbered("report", number)}
	whole.Sections = make([]Section, len(part.Sections))
	for i, s := range part.Sections {
		s.ID = numbered(s.ID, number)
		whole.Sections[i] = s.to(limit.rows)
	}
	if part.Data == nil {
		return whole, nil
	}
	data, err := json.Marshal(part.Data)
	if err != nil {
		return whole, err
	}
	if len(data) > limit.data/len(p.Parts) {
		data, err = json.Marshal(map[string]any{"left_out": fmt.Sprintf("%d bytes are too many to be in a page", len(data)), "path": part.Path})
		if err != nil {
			return whole, err
		}
	}
	whole.Data = json.RawMessage(data)
	if len(data) <= maxDownload/len(p.Parts) {
		whole.Download = dataURL("application/json", data)
	}
	return whole, nil
}

// dataURL is contents as an address.
func dataURL(kind string, data []byte) template.URL {
	return template.URL("data:" + kind + ";base64," + base64.StdEncoding.EncodeToString(data))
}

// readable replaces what has no shape, or gives other text another one: control characters,
// and those that turn the direction of writing. They become \uXXXX, which JSON reads as what
// it was. All that is left of them in a page comes from names.
func readable(html []byte) []byte {
	var b bytes.Buffer
	b.Grow(len(html))
	for len(html) > 0 {
		r, n := utf8.DecodeRune(html)
		switch {
		case r == utf8.RuneError && n == 1:
			b.WriteRune(utf8.RuneError)
		case hidden(r):
			fmt.Fprintf(&b, `\u%04x`, r)
		default:
			b.Write(html[:n])
		}
		html = html[n:]
	}
	return b.Bytes()
}

// hidden says whether a character must not be in a page as it is.
func hidden(r rune) bool { return r != '\n' && r != '\t' && plain.Commands(r) }

// oneLine is text without breaks, for what stands in a line.
func oneLine(text string) string { return strings.Join(strings.Fields(text), " ") }
