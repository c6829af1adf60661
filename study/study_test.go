package study

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// read reads a study with a base of tiny students.
func read(t *testing.T, text string) (*Study, error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "study.yaml")
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return Read(path)
}

const ending = `
budget: {steps: 4}
tests: [{dataset: lfw.ds, pairs: pairs.txt}]
`

// groupsOf are the names of rows in their order.
func groupsOf(t *testing.T, text string) []string {
	t.Helper()
	s, err := read(t, text)
	if err != nil {
		t.Fatal(err)
	}
	rows, err := s.expand()
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, r := range rows {
		names = append(names, r.Name())
	}
	return names
}

// Axes are combined, rows come behind them, and seeds are interleaved.
func TestExpand(t *testing.T) {
	for _, c := range []struct {
		name, text string
		want       []string
	}{
		{"axes", `
dataset: faces.ds
axes: {loss: [cosine, l2], size.width: [0.5, 1], seed: [1, 2]}`, []string{
			"cosine, size.width=0.5, seed 1", "cosine, size.width=1, seed 1", "l2, size.width=0.5, seed 1", "l2, size.width=1, seed 1",
			"cosine, size.width=0.5, seed 2", "cosine, size.width=1, seed 2", "l2, size.width=0.5, seed 2", "l2, size.width=1, seed 2",
		}},
		{"rows alone", `
dataset: faces.ds
axes: {seed: [3, 1]}
rows: [{name: a, settings: {loss: cosine}}, {name: b, settings: {loss: {name: unified, rpsd: {bank: 0}}}}]`,
			[]string{"a, seed 3", "b, seed 3", "a, seed 1", "b, seed 1"}},
		{"axes and rows", `
dataset: faces.ds
base: {seed: 7}
axes: {loss: [cosine, {name: unified, rpsd: {bank: 64}}]}
rows: [{name: labels, settings: {loss: arcface}}]`,
			[]string{"cosine, seed 7", "unified, rpsd.bank=64, seed 7", "labels, seed 7"}},
	} {
		if got := groupsOf(t, c.text+ending); !slices.Equal(got, c.want) {
			t.Errorf("%s: rows %q, want %q", c.name, got, c.want)
		}
	}
}

// A row's settings are the base's with its own over them; another loss takes none of the base's.
func TestSettingsOfARow(t *testing.T) {
	s, err := read(t, `
dataset: faces.ds
base: {batch: 48, size: {width: 0.5}, loss: {name: unified, rpsd: {bank: 128}}}
rows:
  - {name: same, settings: {size.dim: 64}}
  - {name: other, settings: {loss: cosine, size: {width: 0.25}}}
  - {name: more, settings: {loss: {rpsd: {ramp: 3}}}}
`+ending)
	if err != nil {
		t.Fatal(err)
	}
	rows, err := s.expand()
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []struct {
		width   float64
		dim     int
		loss    string
		section []string
	}{
		{0.5, 64, "unified", []string{"bank: 128"}},
		{0.25, 512, "cosine", nil},
		{0.5, 512, "unified", []string{"bank: 128", "ramp: 3"}},
	} {
		o := rows[i].options
		if o.Batch != 48 || o.Size.Width != want.width || o.Size.Dim != want.dim || o.Loss.Name != want.loss || o.Steps != 4 {
			t.Errorf("row %s: batch %d, size %+v, loss %s, %d steps", rows[i].Group, o.Batch, o.Size, o.Loss.Name, o.Steps)
		}
		section, err := rows[i].Differs.over(s.Base).document()
		if err != nil {
			t.Fatal(err)
		}
		for _, setting := range want.section {
			if !strings.Contains(string(section), setting) {
				t.Errorf("row %s: no %q in\n%s", rows[i].Group, setting, section)
			}
		}
		if want.section == nil && strings.Contains(string(section), "bank") {
			t.Errorf("row %s has settings of another loss:\n%s", rows[i].Group, section)
		}
	}
}

// A value may be written once and named where it is needed again.
func TestAliases(t *testing.T) {
	s, err := read(t, `
dataset: faces.ds
base: {seed: &one 1, batch: 8, teacher: &big w600k, size: &small {width: 0.25, dim: 64}}
axes: {teacher: [*big, [*big, y1]], seed: &seeds [*one, 2]}
rows:
  - {name: a, settings: &a {lr: 0.1, batch: 16, size: {<<: *small, dim: 32}}}
  - {name: b, settings: {<<: [*a, {lr: 0.2, ema: 0.5}], batch: 24}}
tests: [{bin: a.bin}]
budget: {samples: 1000}`)
	if err != nil {
		t.Fatal(err)
	}
	rows, err := s.expand()
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []string{
		"teacher=w600k, seed 1: w600k 8 64 0 0", "teacher=w600k+y1, seed 1: w600k,y1 8 64 0 0", "a, seed 1: w600k 16 32 0.1 0", "b, seed 1: w600k 24 32 0.1 0.5",
		"teacher=w600k, seed 2: w600k 8 64 0 0",
	} {
		o := rows[i].options
		if got := fmt.Sprintf("%s: %s %d %d %g %g", rows[i].Name(), o.Teacher, o.Batch, o.Size.Dim, o.LR, o.EMA); got != want {
			t.Errorf("%s, want %s", got, want)
		}
		if o.Size.Width != 0.25 {
			t.Errorf("%s: width %g", rows[i].Name(), o.Size.Width)
		}
	}
}

// A row that says how long it is has that in place of the study's budget, whatever that counts.
func TestBudgetOfARow(t *testing.T) {
	for budget, want := range map[string]string{"epochs: 9": "5 epochs, 0 steps; 20 epochs, 7 steps; 9 epochs, 0 steps", "steps: 70": "5 epochs, 0 steps; 20 epochs, 7 steps; 20 epochs, 70 steps"} {
		s, err := read(t, "dataset: a.ds\nrows: [{name: a, settings: {epochs: 5}}, {name: b, settings: {steps: 7}}, {name: c, settings: {}}]\nbudget: {"+budget+"}\ntests: [{bin: a.bin}]")
		if err != nil {
			t.Fatal(err)
		}
		rows, err := s.expand()
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, row := range rows {
			got = append(got, fmt.Sprintf("%d epochs, %d steps", row.options.Epochs, row.options.Steps))
		}
		if strings.Join(got, "; ") != want {
			t.Errorf("budget of %s: %q, want %q", budget, got, want)
		}
	}
}

// What is wrong with a study is said before anything is opened.
func TestRefusedStudies(t *testing.T) {
	doubling, hundred := "{a0: &a0 1", "[1"
	for i := 1; i < 40; i++ {
		doubling += fmt.Sprintf(", a%d: &a%[1]d {x: *a%d, y: *a%[2]d}", i, i-1)
	}
	doubling += "}"
	for i := 2; i <= 100; i++ {
		hundred += fmt.Sprint(", ", i)
	}
	hundred += "]"
	for _, c := range []struct{ name, text, want string }{
		{"no axes", "dataset: a.ds" + ending, "no axes and no rows"},
		{"a misspelt key", "dataset: a.ds\naxis: {loss: [l2]}" + ending, "did you mean axes?"},
		{"two budgets", "dataset: a.ds\naxes: {loss: [l2]}\nbudget: {steps: 1, epochs: 2}\ntests: [{bin: a.bin}]", "2 budgets"},
		{"no budget", "dataset: a.ds\naxes: {loss: [l2]}\ntests: [{bin: a.bin}]", "0 budgets"},
		{"no test", "dataset: a.ds\naxes: {loss: [l2]}\nbudget: {steps: 1}", "no tests"},
		{"a value twice", "dataset: a.ds\naxes: {loss: [l2, l2]}" + ending, "twice"},
		{"an empty axis", "dataset: a.ds\naxes: {loss: []}" + ending, "no list of values"},
		{"a seed in a row", "dataset: a.ds\nrows: [{name: a, settings: {seed: 3}}]" + ending, "seeds are an axis"},
		{"epochs in the base", "dataset: a.ds\nbase: {epochs: 3}\naxes: {loss: [l2]}" + ending, "budget's matter"},
		{"selection without validation", "dataset: a.ds\nselect: accuracy\naxes: {loss: [l2]}" + ending, "never chosen on a test"},
		{"selection by no figure", "dataset: a.ds\nselect: accurracy\nvalidation: {bin: a.bin}\naxes: {loss: [l2]}" + ending, "select accurracy is none of accuracy, auc, eer"},
		{"pairs without a dataset", "dataset: a.ds\naxes: {loss: [l2]}\nbudget: {steps: 1}\ntests: [{pairs: p.txt}]", "need the dataset"},
		{"settings that contain themselves", "dataset: a.ds\nbase: &a {size: *a}\naxes: {loss: [l2]}" + ending, "contains itself"},
		{"an axis that contains itself", "dataset: a.ds\naxes: &a {loss: [l2], size: [*a]}" + ending, "contains itself"},
		{"settings that grow", "dataset: a.ds\nrows:\n- {name: a, settings: " + doubling + "}" + ending, "more than 10000 values"},
		{"more rows than anybody waits for", "dataset: a.ds\naxes: {lr: " + hundred + ", epochs: " + hundred + ", seed: " + hundred + "}" + ending, "more than 10000 rows"},
		{"rows for more seeds than anybody waits for", "dataset: a.ds\naxes: {seed: " + hundred + "}\nrows: [" + strings.Repeat("{name: a, settings: {}}, ", 100) + "]" + ending, "more than 10000 rows"},
		{"a bin beside a dataset", "dataset: a.ds\naxes: {loss: [l2]}\nbudget: {steps: 1}\ntests: [{bin: a.bin, dataset: b.ds, exclude_overlap: big}]", "faces of its own"},
		{"a budget beyond all bounds", "dataset: a.ds\naxes: {loss: [l2]}\nbudget: {steps: 2000000000}\ntests: [{bin: a.bin}]", "2000000000 steps"},
		{"samples beyond all bounds", "dataset: a.ds\naxes: {loss: [l2]}\nbudget: {samples: 9223372036854775807}\ntests: [{bin: a.bin}]", "samples"},
		{"two tests of a name", "dataset: a.ds\naxes: {loss: [l2]}\nbudget: {steps: 1}\ntests: [{bin: a/x.bin}, {bin: b/x.bin}]", "name them"},
		{"an axis that is no list", "dataset: a.ds\nbase: {batch: &b 8}\naxes: {batch: *b}" + ending, "axis batch is no list"},
	} {
		if _, err := read(t, c.text); err == nil || !errors.Is(err, ErrUsage) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", c.name, err, c.want)
		}
	}
	for _, c := range []struct{ name, text, want string }{
		{"a misspelt setting", "dataset: a.ds\naxes: {size.widht: [1]}" + ending, `row "size.widht=1": in "widht: 1": unknown key size.widht; did you mean size.width?`},
		{"a word for a number", "dataset: a.ds\nbase: {lr: 0.1, batch: eight}\naxes: {loss: [l2]}" + ending, `in "batch: eight": cannot unmarshal`},
		{"a misspelt baseline", "dataset: a.ds\nbaseline: cosin\naxes: {loss: [cosine, l2]}" + ending, `did you mean "cosine"`},
		{"a seed that is none", "dataset: a.ds\naxes: {loss: [l2], seed: [x]}" + ending, "whole number"},
		{"a setting twice", "dataset: a.ds\nbase: {batch: 8, batch: 16}\naxes: {loss: [l2]}" + ending, "batch: batch has a value already"},
		{"an axis within another", "dataset: a.ds\naxes: {loss: [{name: unified, rpsd: {bank: 0}}], loss.rpsd.bank: [0, 64]}" + ending, "bank has a value already"},
		{"a loss by both of its names", "dataset: a.ds\naxes: {loss: [l2], loss.name: [cosine]}" + ending, "name has a value already"},
		{"a value over others", "dataset: a.ds\nbase: {size: {width: 1}}\naxes: {size: [2]}" + ending, "size has a value already"},
		{"two rows of a name", "dataset: a.ds\naxes: {loss: [l2]}\nrows: [{name: l2, settings: {batch: 64}}]" + ending, "two rows"},
	} {
		s, err := read(t, c.text)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.expand(); err == nil || !errors.Is(err, ErrUsage) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", c.name, err, c.want)
		}
	}
}

// The studies whose results are shown can be made.
func TestStudiesOfResults(t *testing.T) {
	files, err := filepath.Glob("../bench/results/*.yaml")
	if err != nil || len(files) != 5 {
		t.Fatal(files, err)
	}
	for _, file := range files {
		s, err := Read(file)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.expand(); err != nil {
			t.Error(err)
		}
	}
}

// A budget in samples is counted in steps, whatever a batch is said to be: what is none is refused
// with the other settings.
func TestBudgetOfSamples(t *testing.T) {
	for batch, want := range map[string]int{"100": 10, "0": 1000, "-5": 1000, "4611686018427387904": 1} {
		s, err := read(t, "dataset: a.ds\nbase: {batch: "+batch+"}\naxes: {loss: [l2]}\nbudget: {samples: 1000}\ntests: [{bin: a.bin}]")
		if err != nil {
			t.Fatal(err)
		}
		rows, err := s.expand()
		if err != nil || rows[0].options.Steps != want {
			t.Errorf("batch %s: %v, %v", batch, rows, err)
		}
	}
}
