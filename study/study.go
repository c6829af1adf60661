package study

import (
	"errors"
	"fmt"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"facepipe/eval/verification"
	"facepipe/internal/regular"
	"facepipe/internal/strictyaml"
)

// ErrUsage marks a study that makes no sense.
var ErrUsage = errors.New("wrong usage")

// Study is what is compared, as its file says.
type Study struct {
	// Dataset is the folder of the dataset that rows are trained on. Paths of the file are
	// relative to its folder.
	Dataset string `yaml:"dataset"`
	// Base are settings of distill that all rows share.
	Base Settings `yaml:"base"`
	// Axes are settings that rows differ in: there is a row for every combination.
	Axes Axes `yaml:"axes"`
	// Rows are further rows, once for every seed of the axes.
	Rows []Explicit `yaml:"rows"`
	// Budget is what every row is trained for.
	Budget Budget `yaml:"budget"`
	// Validation is what checkpoints and settings may be chosen by, Tests what is reported.
	Validation *Test  `yaml:"validation"`
	Tests      []Test `yaml:"tests"`
	// Select names the figure of the validation whose best checkpoint is tested; "" tests the
	// last step's weights.
	Select string `yaml:"select"`
	// Baseline is the name of the row that the others are compared with; "" is the first.
	Baseline string `yaml:"baseline"`

	// TeacherModel is the teacher's file, if the table is to say what a step would take with the
	// teacher in the loop.
	TeacherModel string `yaml:"teacher_model"`

	// Path is the file's.
	Path string `yaml:"-"`
}

// Axis is a setting and the values that it takes.
type Axis struct {
	Key    string
	Values []*yaml.Node
}

// Axes are all axes, in the order in which they were written.
type Axes []Axis

// seedKey is the axis that rows are averaged over.
const seedKey = "seed"

// UnmarshalYAML reads a mapping of lists.
func (a *Axes) UnmarshalYAML(n *yaml.Node) error {
	if n.Kind != yaml.MappingNode {
		return fmt.Errorf("line %d: axes are a mapping of lists, such as {loss: [cosine, unified], seed: [1, 2, 3]}", n.Line)
	}
	if err := countable(n); err != nil {
		return err
	}
	*a, n = nil, resolved(n)
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, values := n.Content[i], n.Content[i+1]
		if values.Kind != yaml.SequenceNode || len(values.Content) == 0 {
			return fmt.Errorf("line %d: axis %s is no list of values", key.Line, key.Value)
		}
		*a = append(*a, Axis{key.Value, values.Content})
	}
	return nil
}

// Explicit is a row that the axes do not give.
type Explicit struct {
	Name     string   `yaml:"name"`
	Settings Settings `yaml:"settings"`
}

// Budget is how long a row is trained: one of its fields.
type Budget struct {
	Epochs  int `yaml:"epochs"`
	Steps   int `yaml:"steps"`
	Samples int `yaml:"samples"`
}

// Test is a set of pairs that students are measured by.
type Test struct {
	// Name of the figures' columns; "" is the file's without its extension.
	Name string `yaml:"name"`
	// Dataset and Pairs are a dataset and a list of its pairs, Bin a verification pickle.
	Dataset string `yaml:"dataset"`
	Pairs   string `yaml:"pairs"`
	Bin     string `yaml:"bin"`
	// ExcludeOverlap names a teacher that has cached this dataset and the training one: pairs of
	// faces that it finds in the training set are left out in a second column.
	ExcludeOverlap string `yaml:"exclude_overlap"`
}

// maxStudy is the longest study's file, in bytes.
const maxStudy = 4 << 20

// Read reads a study's file: [ErrUsage].
func Read(path string) (*Study, error) {
	data, err := regular.Read(path, maxStudy)
	if err != nil {
		return nil, fmt.Errorf("%w: study: %w", ErrUsage, err)
	}
	s := &Study{Path: path}
	if err := strictyaml.Decode(data, s, nil); err != nil {
		return nil, fmt.Errorf("%w: study %s: %w", ErrUsage, path, err)
	}
	s.settle()
	if err := s.validate(); err != nil {
		return nil, fmt.Errorf("%w: study %s: %w", ErrUsage, path, err)
	}
	return s, nil
}

// settle fills in names, and makes paths those of the working folder.
func (s *Study) settle() {
	from := filepath.Dir(s.Path)
	s.Dataset, s.TeacherModel = below(from, s.Dataset), below(from, s.TeacherModel)
	tests := []*Test{}
	if s.Validation != nil {
		tests = append(tests, s.Validation)
	}
	for i := range s.Tests {
		tests = append(tests, &s.Tests[i])
	}
	for _, t := range tests {
		t.Dataset, t.Pairs, t.Bin = below(from, t.Dataset), below(from, t.Pairs), below(from, t.Bin)
		if file := t.Pairs + t.Bin; t.Name == "" && file != "" {
			t.Name = strings.TrimSuffix(filepath.Base(file), filepath.Ext(file))
		}
	}
}

// below is a path of a file in a folder.
func below(folder, path string) string {
	if path == "" || filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(folder, path)
}

func (s *Study) validate() error {
	if s.Dataset == "" {
		return errors.New("name the dataset: the folder that rows are trained on")
	}
	if len(s.Axes) == 0 && len(s.Rows) == 0 {
		return errors.New("nothing to compare: it has no axes and no rows")
	}
	if len(s.Tests) == 0 {
		return errors.New("no tests: a table needs a set of pairs to measure by")
	}
	return errors.Join(s.validateSelect(), s.Budget.validate(s.Base), s.validateAxes(), s.validateRows(), s.validateTests())
}

func (s *Study) validateSelect() error {
	var names []string
	for _, f := range verification.Figures(nil) {
		names = append(names, f.Name)
	}
	switch {
	case s.Select == "":
		return nil
	case !slices.Contains(names, s.Select):
		return fmt.Errorf("select %s is none of %s", s.Select, strings.Join(names, ", "))
	case s.Validation == nil:
		return fmt.Errorf("select %s needs a validation set: a checkpoint is never chosen on a test", s.Select)
	case s.Validation.Bin != "":
		return fmt.Errorf("select %s needs a validation by pairs of a dataset, which the trainer can read: pipe ingest --source bin=%s --pairs-out makes both", s.Select, s.Validation.Bin)
	}
	return nil
}

// validate wants one budget, and no other in the settings.
func (b Budget) validate(base Settings) error {
	given := 0
	for _, one := range []struct {
		key     string
		n, most int
	}{{"epochs", b.Epochs, 1_000_000}, {"steps", b.Steps, 1_000_000_000}, {"samples", b.Samples, 1_000_000_000_000}} {
		if one.n < 0 || one.n > one.most {
			return fmt.Errorf("a budget of %d %s, want at most %d", one.n, one.key, one.most)
		}
		if one.n > 0 {
			given++
		}
	}
	if given != 1 {
		return fmt.Errorf("%d budgets: give one of epochs, steps and samples", given)
	}
	if base.get("epochs")+base.get("steps") != "" {
		return errors.New("base has epochs or steps: they are the budget's matter")
	}
	return nil
}

// mostRows bounds the rows of all seeds.
const mostRows = 10_000

func (s *Study) validateAxes() error {
	groups, seeds := 1, 1
	for i, a := range s.Axes {
		if a.Key == seedKey {
			seeds = len(a.Values)
		} else {
			groups = min(groups*len(a.Values), mostRows+1)
		}
		if slices.ContainsFunc(s.Axes[:i], func(b Axis) bool { return b.Key == a.Key }) {
			return fmt.Errorf("axis %s is there twice", a.Key)
		}
		for k, v := range a.Values {
			if slices.ContainsFunc(a.Values[:k], func(w *yaml.Node) bool { return text(w) == text(v) }) {
				return fmt.Errorf("line %d: axis %s has the value %s twice", v.Line, a.Key, text(v))
			}
		}
	}
	if (groups+len(s.Rows))*seeds > mostRows {
		return fmt.Errorf("it has more than %d rows: give fewer of them, or of the axes' values", mostRows)
	}
	return nil
}

func (s *Study) validateRows() error {
	for i, r := range s.Rows {
		switch {
		case r.Name == "":
			return fmt.Errorf("row %d has no name", i+1)
		case r.Settings.get(seedKey) != "":
			return fmt.Errorf("row %s sets a seed: seeds are an axis", r.Name)
		}
	}
	return nil
}

// testName is what columns and files may be called.
var testName = regexp.MustCompile(`^[\w.-]+$`)

func (s *Study) validateTests() error {
	tests := slices.Clone(s.Tests)
	if s.Validation != nil {
		tests = append(tests, *s.Validation)
	}
	for i, t := range tests {
		switch {
		case (t.Bin == "") == (t.Pairs == ""):
			return fmt.Errorf("test %s: give either pairs, with the dataset that holds them, or bin", t.Name)
		case t.Bin != "" && t.Dataset != "":
			return fmt.Errorf("test %s: bin %s has faces of its own, and those of dataset %s would not be asked: leave one out", t.Name, t.Bin, t.Dataset)
		case t.Pairs != "" && t.Dataset == "":
			return fmt.Errorf("test %s: pairs %s need the dataset that holds them", t.Name, t.Pairs)
		case !testName.MatchString(t.Name):
			return fmt.Errorf("test %q: a name is of letters, digits, dots, dashes", t.Name)
		case t.ExcludeOverlap != "" && t.Dataset == "":
			return fmt.Errorf("test %s: exclude_overlap needs a dataset, whose faces a teacher has cached", t.Name)
		case slices.ContainsFunc(tests[:i], func(o Test) bool { return o.Name == t.Name }):
			return fmt.Errorf("two tests are called %s: name them", t.Name)
		}
	}
	return nil
}
