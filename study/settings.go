package study

import (
	"bytes"
	"fmt"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Settings are settings of a run, in the order in which they were written. Keys are paths such
// as size.width; loss stands for loss.name.
type Settings []Setting

// Setting is one of them.
type Setting struct {
	Key   string
	Value *yaml.Node
}

// The loss, whose other settings belong to its name.
const (
	lossKey  = "loss"
	lossName = "loss.name"
)

// UnmarshalYAML reads a mapping, in which keys may be nested or paths.
func (s *Settings) UnmarshalYAML(n *yaml.Node) error {
	if n.Kind != yaml.MappingNode {
		return fmt.Errorf("line %d: settings are a mapping, such as {batch: 64}", n.Line)
	}
	if err := countable(n); err != nil {
		return err
	}
	*s = flattened(nil, "", resolved(n))
	return nil
}

// mostValues bounds what a setting or an axis has when its aliases are written out.
const mostValues = 10_000

// countable refuses what has too many values, as a value that contains itself has.
func countable(n *yaml.Node) error {
	left := mostValues
	var count func(*yaml.Node) error
	count = func(n *yaml.Node) error {
		if left--; left < 0 {
			return fmt.Errorf("line %d: more than %d values, or one that contains itself", n.Line, mostValues)
		}
		if n.Kind == yaml.AliasNode {
			return count(n.Alias)
		}
		for _, c := range n.Content {
			if err := count(c); err != nil {
				return err
			}
		}
		return nil
	}
	return count(n)
}

// resolved is a value with its aliases written out.
func resolved(n *yaml.Node) *yaml.Node {
	if n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	whole := *n
	whole.Anchor, whole.Content = "", nil
	for _, c := range n.Content {
		whole.Content = append(whole.Content, resolved(c))
	}
	return &whole
}

// flattened appends the settings that a value stands for: those that a merge key brings are below
// the mapping's own.
func flattened(to Settings, key string, n *yaml.Node) Settings {
	if n.Kind != yaml.MappingNode {
		if key == lossKey {
			key = lossName
		}
		return append(to, Setting{key, n})
	}
	var own, merged Settings
	for i := 0; i+1 < len(n.Content); i += 2 {
		name, value := n.Content[i], n.Content[i+1]
		switch {
		case name.Tag == "!!merge" && value.Kind == yaml.SequenceNode:
			for _, one := range value.Content {
				merged = merged.over(flattened(nil, key, one))
			}
		case name.Tag == "!!merge":
			merged = merged.over(flattened(nil, key, value))
		case key == "":
			own = flattened(own, name.Value, value)
		default:
			own = flattened(own, key+"."+name.Value, value)
		}
	}
	return append(to, own.over(merged)...)
}

// get is the value of a setting as text, "" if it is not there.
func (s Settings) get(key string) string {
	for _, one := range s {
		if one.Key == key {
			return text(one.Value)
		}
	}
	return ""
}

// over lays settings over others. Another loss takes no settings of the one before.
func (s Settings) over(base Settings) Settings {
	if name := s.get(lossName); name != "" && name != base.get(lossName) {
		base = slices.DeleteFunc(slices.Clone(base), func(b Setting) bool { return strings.HasPrefix(b.Key, lossKey+".") })
	}
	merged := slices.DeleteFunc(slices.Clone(base), func(b Setting) bool {
		return slices.ContainsFunc(s, func(o Setting) bool { return o.Key == b.Key })
	})
	return append(merged, s...)
}

// document is the settings as distill's file has them.
func (s Settings) document() ([]byte, error) {
	root := &yaml.Node{Kind: yaml.MappingNode}
	for _, one := range s {
		if err := put(root, strings.Split(one.Key, "."), one.Value); err != nil {
			return nil, fmt.Errorf("%s: %w", one.Key, err)
		}
	}
	var b bytes.Buffer
	e := yaml.NewEncoder(&b)
	e.SetIndent(2)
	err := e.Encode(root)
	return b.Bytes(), err
}

// put sets a value below a mapping, where there must be none.
func put(in *yaml.Node, path []string, value *yaml.Node) error {
	for i := 0; i < len(in.Content); i += 2 {
		if in.Content[i].Value != path[0] {
			continue
		}
		if len(path) == 1 || in.Content[i+1].Kind != yaml.MappingNode {
			return fmt.Errorf("%s has a value already", path[0])
		}
		return put(in.Content[i+1], path[1:], value)
	}
	name := &yaml.Node{Kind: yaml.ScalarNode, Value: path[0]}
	if len(path) == 1 {
		in.Content = append(in.Content, name, value)
		return nil
	}
	below := &yaml.Node{Kind: yaml.MappingNode}
	in.Content = append(in.Content, name, below)
	return put(below, path[1:], value)
}

// text is a value in one line.
func text(n *yaml.Node) string {
	if n.Kind == yaml.ScalarNode {
		return n.Value
	}
	var parts []string
	for i, c := range n.Content {
		part := text(c)
		if n.Kind == yaml.MappingNode {
			if i%2 == 1 {
				continue
			}
			part += "=" + text(n.Content[i+1])
		}
		parts = append(parts, part)
	}
	return strings.Join(parts, "+")
}

// String is the settings in one line, as rows are called: those of the loss without its name.
func (s Settings) String() string {
	var parts []string
	for _, one := range s {
		switch value := text(one.Value); one.Key {
		case lossName:
			parts = append(parts, value)
		default:
			parts = append(parts, strings.TrimPrefix(one.Key, lossKey+".")+"="+value)
		}
	}
	return strings.Join(parts, ", ")
}
