// Package strictyaml reads settings from YAML into a struct, and takes a key that the
// struct does not have for the mistake that it is: the error names it with its line and
// the key that was probably meant.
package strictyaml

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"reflect"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Decode lays the document over what into, a pointer to a struct, holds. Keys are those
// of the fields' yaml tags. An empty document changes nothing; a second one is an error,
// and so are unknown keys, all of which are named. After an error into is as before if
// that was an unknown key, and partly overwritten if a value was of the wrong type.
func Decode(data []byte, into any) error {
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
	c := checker{known: keysOf(reflect.TypeOf(into), ""), open: map[*yaml.Node]bool{}}
	c.check(document.Content[0], reflect.TypeOf(into), "")
	if len(c.unknown) > 0 {
		return errors.Join(c.unknown...)
	}
	return document.Decode(into)
}

// checker looks for unknown keys.
type checker struct {
	known   []string            // all keys, for advice
	open    map[*yaml.Node]bool // mappings being looked at: an alias may lead back to one
	unknown []error             // mistakes so far
}

// check goes through a mapping for a struct, and what is below it.
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
		if field, ok := fields[key.Value]; ok {
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

// merged are the mappings that a merge key takes in: one, or several in a sequence.
func merged(n *yaml.Node) []*yaml.Node {
	if n.Kind == yaml.SequenceNode {
		return n.Content
	}
	return []*yaml.Node{n}
}

// target is the type that a pointer points to.
func target(t reflect.Type) reflect.Type {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	return t
}

// fieldsOf are the types of a struct's fields by their keys.
func fieldsOf(t reflect.Type) map[string]reflect.Type {
	fields := map[string]reflect.Type{}
	for i := range t.NumField() {
		f := t.Field(i)
		name, _, _ := strings.Cut(f.Tag.Get("yaml"), ",")
		if name != "" && name != "-" {
			fields[name] = f.Type
		}
	}
	return fields
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
		keys = append(keys, path+name)
		keys = append(keys, keysOf(field, path+name+".")...)
	}
	slices.Sort(keys)
	return keys
}

// advice names the known key that is nearest to an unknown one, if any is near: one of
// the same mapping rather than of another.
func advice(path, key string, known []string) string {
	if len(known) == 0 || len(key) > longest {
		return ""
	}
	near := slices.MinFunc(known, func(a, b string) int { return cost(path, key, a) - cost(path, key, b) })
	if cost(path, key, near) > 2*max(2, len(key)/3)+1 {
		return ""
	}
	return "; did you mean " + near + "?"
}

// longest is the length from which a key resembles none.
const longest = 64

// cost is twice the distance of a key from a known one, and one more if that is in
// another mapping.
func cost(path, key, known string) int {
	at := strings.LastIndexByte(known, '.') + 1
	d := 2 * distance(plain(key), plain(known[at:]))
	if known[:at] != path {
		d++
	}
	return d
}

// plain is a key as flags and keys alike would have it.
func plain(key string) string { return strings.ReplaceAll(strings.ToLower(key), "-", "_") }

// distance is the least number of letters to insert, delete or replace in a to get b
// (Levenshtein 1965).
func distance(a, b string) int {
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
