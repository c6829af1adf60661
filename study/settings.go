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
	*s = flattened(nil, "", n)
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

// flattened appends the settings that a value stands for.
func flattened(to Settings, key string, n *yaml.Node) Settings {
	if n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	if n.Kind != yaml.MappingNode {
		if key == lossKey {
			key = lossName
		}
		return append(to, Setting{key, n})
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		path := n.Content[i].Value
		if key != "" {
			path = key + "." + path
		}
		to = flattened(to, path, n.Content[i+1])
	}
	return to
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

// put sets a value below a mapping.
func put(in *yaml.Node, path []string, value *yaml.Node) error {
	at := -1
	for i := 0; i < len(in.Content); i += 2 {
		if in.Content[i].Value == path[0] {
			at = i
		}
	}
	if at < 0 {
		in.Content = append(in.Content, &yaml.Node{Kind: yaml.ScalarNode, Value: path[0]}, &yaml.Node{Kind: yaml.MappingNode})
		at = len(in.Content) - 2
	}
	if len(path) == 1 {
		in.Content[at+1] = value
		return nil
	}
	if in.Content[at+1].Kind != yaml.MappingNode {
		return fmt.Errorf("%s has a value of its own already", path[0])
	}
	return put(in.Content[at+1], path[1:], value)
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
