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
// has a method defaults() settings, which gives the defaults beside those; where what it needs
// does, a method needs() Needs, which says what it needs besides.
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

// Config chooses and tunes what is minimised. It is a section of a config with the expression
// under name and the settings of losses, under each one's name or, for one of several terms of a
// loss, the term's key. The first losses may have theirs right in the section. They are kept as
// they were read. Who asks for the loss gets them laid over its defaults. So 0 means 0, and a
// name that a flag sets later brings its own defaults.
type Config struct {
	// Name is the expression; see [Parse].
	Name string `yaml:"name"`
	// said are the sections that were read, later ones over earlier ones.
	said []*yaml.Node
}

// Schedule moves a term's weight over the run.
type Schedule struct {
	From  float64 `yaml:"from" about:"what the weight is multiplied by until begin"`
	To    float64 `yaml:"to" about:"and from end on"`
	Begin float64 `yaml:"begin" about:"share of the run, 0 to 1, at which it begins to move"`
	End   float64 `yaml:"end" about:"share of the run at which it has arrived"`
	Shape string  `yaml:"shape" about:"how it moves: linear or cosine"`
}

var noSchedule = Schedule{From: 1, To: 1, Begin: 0, End: 0, Shape: "linear"}

func (c Schedule) validate() error {
	switch {
	case !(c.From >= 0 && c.From <= mostNumber && c.To >= 0 && c.To <= mostNumber):
		return fmt.Errorf("schedule: from %g and to %g must be numbers of 0 or more, at most %.0f", c.From, c.To, mostNumber)
	case !(c.Begin >= 0 && c.Begin <= c.End && c.End <= 1):
		return fmt.Errorf("schedule: begin %g and end %g must be shares of the run, 0 to 1, one after the other", c.Begin, c.End)
	case c.Shape != "linear" && c.Shape != "cosine":
		return fmt.Errorf("schedule: shape %q is none of linear, cosine", c.Shape)
	}
	return nil
}

// at is the multiplier at one of so many steps.
func (c Schedule) at(step, steps int) float64 {
	if c.From == c.To {
		return c.From
	}
	place := float64(step) / float64(max(steps, 1))
	switch {
	case place < c.Begin:
		return c.From
	case place >= c.End:
		return c.To
	}
	done := (place - c.Begin) / (c.End - c.Begin)
	if c.Shape == "cosine" {
		done = (1 - math.Cos(math.Pi*done)) / 2
	}
	return c.From + (c.To-c.From)*done
}

// Shape is a struct with the keys of a section: a section for each loss, and the settings of
// the first ones.
func (Config) Shape() reflect.Type {
	name, _ := reflect.TypeFor[Config]().FieldByName("Name")
	schedule := reflect.StructField{Name: "Schedule", Type: reflect.TypeFor[Schedule](), Tag: `yaml:"schedule"`}
	fields, taken := []reflect.StructField{name, schedule}, map[string]bool{}
	for _, l := range All() {
		if !l.bare {
			continue
		}
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
	for _, l := range All() {
		own := reflect.StructOf([]reflect.StructField{{Name: "Settings", Type: reflect.TypeOf(l.defaults), Tag: `yaml:",inline"`}, schedule})
		fields = append(fields, reflect.StructField{Name: fmt.Sprint("Key", len(fields)), Type: own,
			Tag: reflect.StructTag(fmt.Sprintf(`yaml:%q qualified:"@"`, l.Name))})
	}
	return reflect.StructOf(fields)
}

// UnmarshalYAML lays a section over what was said before.
func (c *Config) UnmarshalYAML(section *yaml.Node) error {
	if section.Kind != yaml.MappingNode {
		return fmt.Errorf("line %d: the settings of a loss are a mapping, such as {name: %s}", section.Line, Names()[0])
	}
	all := reflect.New(c.Shape())
	name := all.Elem().FieldByName("Name")
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

// MarshalYAML is the section with the expression in its canonical form and all settings: those
// of one of the first losses alone right in it, others under the term's key.
func (c Config) MarshalYAML() (any, error) {
	terms, err := c.settled()
	if err != nil {
		return nil, err
	}
	section := sectionOf(map[string]string{"name": canonical(terms)})
	for _, t := range terms {
		own := sectionOf(t.settings)
		if t.schedule != noSchedule {
			own.Content = append(own.Content, sectionOf(map[string]Schedule{"schedule": t.schedule}).Content...)
		}
		if len(terms) > 1 || !t.loss.bare {
			own = sectionOf(map[string]*yaml.Node{t.Key(): own})
		}
		section.Content = append(section.Content, own.Content...)
	}
	return section, nil
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
	_, err := c.settled()
	return err
}

// Canonical is the expression in its one form, or as it is if it cannot be read.
func (c Config) Canonical() string {
	terms, err := Parse(c.Name)
	if err != nil {
		return c.Name
	}
	return Canonical(terms)
}

// Teachers are the names behind @, each once.
func (c Config) Teachers() []string {
	var names []string
	terms, _ := Parse(c.Name)
	for _, t := range terms {
		if t.Teacher != "" && !slices.Contains(names, t.Teacher) {
			names = append(names, t.Teacher)
		}
	}
	return names
}

// Needs is what the data must have for the terms that learn from a teacher, "" for those
// without @; of an expression that cannot be read nothing.
func (c Config) Needs(teacher string) (needs Needs) {
	terms, _ := Parse(c.Name)
	for _, t := range terms {
		l, err := find(t.Loss)
		if err != nil || t.Teacher != teacher {
			continue
		}
		needs |= l.Needs
		one, err := c.settle(t)
		if more, ok := one.settings.(interface{ needs() Needs }); ok && err == nil {
			needs |= more.needs()
		}
	}
	return needs
}

// Rate is the peak learning rate that suits the loss, 0 if it is the usual one: of several
// terms the lowest.
func (c Config) Rate() (rate float64) {
	terms, _ := Parse(c.Name)
	for _, t := range terms {
		if l, err := find(t.Loss); err == nil && l.Rate > 0 && (rate == 0 || l.Rate < rate) {
			rate = l.Rate
		}
	}
	return rate
}

// settledTerm is a term with its settings: what was said, over the defaults.
type settledTerm struct {
	Term
	loss     Loss
	settings settings
	schedule Schedule
}

func canonical(terms []settledTerm) string {
	bare := make([]Term, len(terms))
	for i, t := range terms {
		bare[i] = t.Term
	}
	return Canonical(bare)
}

// settled are the terms.
func (c Config) settled() ([]settledTerm, error) {
	terms, err := Parse(c.Name)
	if err != nil {
		return nil, err
	}
	var all []settledTerm
	for _, t := range terms {
		one, err := c.settle(t)
		if err != nil {
			return nil, fmt.Errorf("loss %s: %w", t.Key(), err)
		}
		all = append(all, one)
	}
	return all, nil
}

func (c Config) settle(t Term) (one settledTerm, err error) {
	one.Term = t
	if one.loss, err = find(t.Loss); err != nil {
		return one, err
	}
	common := struct {
		Schedule Schedule `yaml:"schedule"`
	}{noSchedule}
	if err := c.over(t, &common); err != nil {
		return one, err
	}
	one.schedule = common.Schedule
	one.settings, err = c.settingsOver(t, one.loss.defaults)
	if dependent, ok := one.settings.(interface{ defaults() settings }); ok && err == nil {
		one.settings, err = c.settingsOver(t, dependent.defaults())
	}
	if err != nil {
		return one, err
	}
	if err := one.loss.bounded(one.settings); err != nil {
		return one, err
	}
	if one.settings, err = one.settings.settled(); err != nil {
		return one, err
	}
	return one, one.schedule.validate()
}

// settingsOver lays what was said of a term over defaults.
func (c Config) settingsOver(t Term, defaults settings) (settings, error) {
	v := reflect.New(reflect.TypeOf(defaults))
	v.Elem().Set(reflect.ValueOf(defaults))
	if err := c.over(t, v.Interface()); err != nil {
		return nil, err
	}
	return v.Elem().Interface().(settings), nil
}

// over lays what was said of a term over what into points to.
func (c Config) over(t Term, into any) error {
	for _, section := range c.said {
		if err := section.Decode(into); err != nil {
			return err
		}
		var sections map[string]yaml.Node
		if err := section.Decode(&sections); err != nil {
			return err
		}
		for _, key := range slices.Compact([]string{t.Loss, t.Key()}) {
			if own, ok := sections[key]; ok {
				if err := own.Decode(into); err != nil {
					return err
				}
			}
		}
	}
	return nil
}
