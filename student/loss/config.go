package loss

import (
	"encoding/json"
	"fmt"
	"math"
	"reflect"
	"slices"

	"go.yaml.in/yaml/v3"

	"facepipe/internal/strictyaml"
)

// settings are what tunes a loss: a struct whose fields' yaml tags are the keys that the
// loss reads in a config's section. Where some defaults depend on other settings, it also
// has a method defaults() settings, which gives the defaults beside those.
type settings interface {
	// settled are the settings with what older files say by -1 said by 0, or an error that
	// tells why no loss can be made of them.
	settled() (settings, error)
	// build makes the loss.
	build(env Env) (term, error)
}

// plain are the settings of a loss that has none.
type plain struct{ step formula }

func (p plain) settled() (settings, error) { return p, nil }
func (p plain) build(Env) (term, error)    { return p.step, nil }

// finite is whether all of some settings are numbers.
func finite(settings ...float64) bool {
	return !slices.ContainsFunc(settings, func(v float64) bool { return math.IsNaN(v) || math.IsInf(v, 0) })
}

// Config chooses and tunes a loss. It is the section of a config that has the loss's name
// and, under keys of their own, the settings of losses. They are kept as they were read. Who
// asks for the loss gets them laid over its defaults. So 0 means 0, and a name that a flag
// sets later brings its own defaults.
type Config struct {
	// Name is one of [Names].
	Name string `yaml:"name"`
	// said are the sections that were read, later ones over earlier ones.
	said []*yaml.Node
}

// Shape is a struct with the keys of a section: those of all losses.
func (Config) Shape() reflect.Type {
	name, _ := reflect.TypeFor[Config]().FieldByName("Name")
	fields, taken := []reflect.StructField{name}, map[string]bool{}
	for _, l := range All() {
		t := reflect.TypeOf(l.defaults)
		for i := range t.NumField() {
			f := t.Field(i)
			if key := f.Tag.Get("yaml"); key != "" && !taken[key] {
				taken[key] = true
				f.Name = fmt.Sprint("Key", len(fields)) // two losses may call theirs the same
				fields = append(fields, f)
			}
		}
	}
	return reflect.StructOf(fields)
}

// UnmarshalYAML lays a section over what was said before.
func (c *Config) UnmarshalYAML(section *yaml.Node) error {
	if section.Kind != yaml.MappingNode {
		return fmt.Errorf("line %d: the settings of a loss are a mapping, such as {name: %s}", section.Line, Names()[0])
	}
	all := reflect.New(c.Shape())
	name := all.Elem().Field(0)
	name.SetString(c.Name)
	if err := section.Decode(all.Interface()); err != nil {
		return err
	}
	c.Name, c.said = name.String(), append(slices.Clip(c.said), section)
	return nil
}

// UnmarshalJSON lays a section of a run.json over what was said before. Unknown keys are
// errors.
func (c *Config) UnmarshalJSON(text []byte) error { return strictyaml.Decode(text, c, nil) }

// MarshalYAML is the section of the loss with all of its settings.
func (c Config) MarshalYAML() (any, error) {
	_, chosen, err := c.settled()
	if err != nil {
		return nil, err
	}
	var name, section yaml.Node
	if err := name.Encode(map[string]string{"name": c.Name}); err != nil {
		return nil, err
	}
	if err := section.Encode(chosen); err != nil {
		return nil, err
	}
	name.Content = append(name.Content, section.Content...)
	return &name, nil
}

// MarshalJSON is what MarshalYAML is.
func (c Config) MarshalJSON() ([]byte, error) {
	section, err := c.MarshalYAML()
	if err != nil {
		return nil, err
	}
	var settings map[string]any
	if err := section.(*yaml.Node).Decode(&settings); err != nil {
		return nil, err
	}
	return json.Marshal(settings)
}

// ForgetZeros drops every setting that is 0 or "". Both once stood for the default.
func (c Config) ForgetZeros() {
	for _, section := range c.said {
		forgetZeros(section)
	}
}

func forgetZeros(n *yaml.Node) {
	if n.Kind != yaml.MappingNode {
		return
	}
	var kept []*yaml.Node
	for pair := range slices.Chunk(n.Content, 2) {
		value := pair[1]
		if value.Kind == yaml.ScalarNode && (value.Value == "0" || value.Value == "") {
			continue
		}
		forgetZeros(value)
		kept = append(kept, pair...)
	}
	n.Content = kept
}

// Validate reports settings that make no loss, whatever the dataset.
func (c Config) Validate() error {
	_, _, err := c.settled()
	return err
}

// Needs is what the data must have for the loss; of an unknown one nothing.
func (c Config) Needs() Needs {
	l, _ := find(c.Name)
	return l.Needs
}

// Rate is the peak learning rate that suits the loss, 0 if it is the usual one.
func (c Config) Rate() float64 {
	l, _ := find(c.Name)
	return l.Rate
}

// settled is the loss with its settings: what was said, over the defaults.
func (c Config) settled() (Loss, settings, error) {
	l, err := find(c.Name)
	if err != nil {
		return l, nil, err
	}
	chosen, err := c.over(l.defaults)
	if dependent, ok := chosen.(interface{ defaults() settings }); ok && err == nil {
		chosen, err = c.over(dependent.defaults())
	}
	if err != nil {
		return l, nil, err
	}
	chosen, err = chosen.settled()
	return l, chosen, err
}

// over lays what was said over defaults.
func (c Config) over(defaults settings) (settings, error) {
	v := reflect.New(reflect.TypeOf(defaults))
	v.Elem().Set(reflect.ValueOf(defaults))
	for _, section := range c.said {
		if err := section.Decode(v.Interface()); err != nil {
			return nil, err
		}
	}
	return v.Elem().Interface().(settings), nil
}
