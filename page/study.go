package page

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"math"
	"path/filepath"
	"slices"
	"strings"

	"facepipe/eval/plot"
	"facepipe/eval/uncertainty"
)

// comparison is what a page tells of a study's table.json.
type comparison struct {
	Study      string         `json:"study"`
	Baseline   string         `json:"baseline"`
	ChosenBy   string         `json:"chosen_by"`
	Says       []string       `json:"says"`
	Warnings   []string       `json:"warnings"`
	Rows       []studyRow     `json:"rows"`
	States     map[string]int `json:"states"`
	Failed     []failedRow    `json:"failed"`
	Tests      []string       `json:"tests"`
	Validation string         `json:"validation"`
	Groups     []studyGroup   `json:"groups"`

	path string
}

// studyRow is one student.
type studyRow struct {
	Row    string `json:"row"`
	Group  string `json:"group"`
	Seed   uint64 `json:"seed"`
	State  string `json:"state"`
	Folder string `json:"folder"`
}

type failedRow struct {
	Row   string `json:"row"`
	Error string `json:"error"`
}

// studyGroup are the students that differ in nothing but the seed.
type studyGroup struct {
	Name     string            `json:"name"`
	Loss     string            `json:"loss"`
	Settings map[string]string `json:"settings"`
	Seeds    []uint64          `json:"seeds"`
	Figures  []studyFigure     `json:"figures"`
	Cost     struct {
		Parameters     int     `json:"parameters"`
		Steps          int     `json:"steps"`
		SecondsPerStep float64 `json:"seconds_per_step"`
		WithTeacher    float64 `json:"seconds_per_step_with_teacher"`
		Hours          float64 `json:"hours"`
		PeakMiB        float64 `json:"peak_mib"`
	} `json:"cost"`
}

// studyFigure is a figure of a test over the seeds.
type studyFigure struct {
	Test string `json:"test"`
	Name string `json:"name"`
	uncertainty.Spread
	Difference *uncertainty.SeedDifference `json:"difference"`
	Adjusted   *float64                    `json:"p_adjusted"`
}

// mostGroups are drawn and listed, mostSeeds of each have their curves read.
const mostGroups, mostSeeds = 40, 12

const accuracyFigure = "accuracy"

func isStudy(path string) bool {
	return lies(filepath.Join(path, "table.json")) || lies(filepath.Join(path, "study.json"))
}

func studyPart(_ context.Context, _ *maker, path string) (Part, error) {
	c := comparison{path: path}
	if err := readJSON(filepath.Join(path, "table.json"), &c); err != nil {
		return Part{}, err
	}
	p := Part{Path: path, Title: strings.TrimSuffix(filepath.Base(c.Study), filepath.Ext(c.Study)), Answer: c.answer(), Warnings: slices.Clone(c.Warnings), Live: c.live(), Data: c}
	for _, f := range c.Failed {
		p.Warnings = append(p.Warnings, fmt.Sprintf("%s failed: %s", f.Row, oneLine(f.Error)))
	}
	sections := []Section{c.says()}
	for i, test := range c.Tests {
		sections = append(sections, c.test(i, test))
	}
	learning, err := c.learning()
	if err != nil {
		return Part{}, err
	}
	for _, s := range append(sections, c.worth(), learning, c.cost(), c.settings(), c.rows()) {
		if len(s.Blocks) > 0 {
			p.Sections = append(p.Sections, s)
		}
	}
	return p, nil
}

// live says whether rows are still to come.
func (c *comparison) live() bool { return c.States["done"]+c.States["failed"] < len(c.Rows) }

// answer is the sentence on the last test, and how far the study is.
func (c *comparison) answer() string {
	text := fmt.Sprintf("%s of %s are done.", many(c.States["done"], "row"), count(len(c.Rows)))
	for _, line := range slices.Backward(c.Says) {
		if strings.HasPrefix(line, accuracyFigure+" on ") {
			return strings.ToUpper(line[:1]) + line[1:] + " " + text
		}
	}
	return text
}

// says are all sentences of the table.
func (c *comparison) says() Section {
	s := Section{ID: "says", Title: "What it says", Lead: "Tested: " + c.ChosenBy + "."}
	for _, line := range c.Says {
		s.Blocks = append(s.Blocks, Block{Text: line})
	}
	return s
}

// find is a figure of a group, nil if it has none.
func (g *studyGroup) find(test, name string) *studyFigure {
	for i := range g.Figures {
		if f := &g.Figures[i]; f.Test == test && f.Name == name {
			return f
		}
	}
	return nil
}

// names are the figures that any group has of a test, in the order of the first that has them.
func (c *comparison) names(test string) (names []string) {
	for _, g := range c.Groups {
		for _, f := range g.Figures {
			if f.Test == test && !slices.Contains(names, f.Name) {
				names = append(names, f.Name)
			}
		}
	}
	return names
}

// test has the table of a test, every seed as a dot, and the differences.
func (c *comparison) test(number int, test string) Section {
	s := Section{ID: fmt.Sprintf("on%d", number+1), Title: "On " + test,
		Lead: "Mean ± standard deviation over seeds. Differences are to " + c.Baseline + ", paired by seed, with the 95 % interval of a bootstrap over seeds and people; p is of the seeds alone, adjusted for how many are compared."}
	if test == c.Validation {
		s.Lead += " This is the validation, by which settings and checkpoints may be chosen."
	}
	names := c.names(test)
	if len(names) == 0 {
		return s
	}
	t := &Table{Head: "Row"}
	for _, name := range names {
		t.Columns = append(t.Columns, Column{Title: name, Define: defined(name)})
		if name == accuracyFigure {
			t.Columns = append(t.Columns, Column{Title: "difference", Define: "interval"}, Column{Title: "p", Define: "p"})
		}
	}
	for i := range c.Groups {
		t.Rows = append(t.Rows, c.Groups[i].row(test, names))
	}
	s.Blocks = append(s.Blocks, Block{Table: t.cut()}, Block{Charts: []Chart{c.dots(test), c.forest(test)}})
	return s
}

// defined is the glossary's entry of a figure.
func defined(name string) string {
	switch {
	case strings.HasPrefix(name, "tar_at_far"):
		return "tar"
	case name == "auc", name == "eer", name == accuracyFigure:
		return name
	}
	return ""
}

// row is the line of a group in a test's table.
func (g *studyGroup) row(test string, names []string) Row {
	row := Row{Head: g.Name, Note: many(len(g.Seeds), "seed")}
	for _, name := range names {
		f := g.find(test, name)
		if f == nil {
			row.Cells = append(row.Cells, Cell{Text: "–"})
		} else {
			row.Cells = append(row.Cells, f.cell())
		}
		if name == accuracyFigure {
			row.Cells = append(row.Cells, f.difference()...)
		}
	}
	return row
}

// unit is how many of a figure's units a table shows one as, and with how many digits.
func unit(figure string) (by float64, digits int) {
	if figure == "auc" {
		return 1, 5
	}
	return 100, 2
}

func (f *studyFigure) cell() Cell {
	by, digits := unit(f.Name)
	c := Cell{Text: number(by*f.Mean, digits)}
	if f.Std != nil {
		c.Note = "± " + number(by**f.Std, digits)
	}
	return c
}

// difference are the cells of a difference and its p.
func (f *studyFigure) difference() []Cell {
	if f == nil || f.Difference == nil {
		return cells("", "")
	}
	by, digits := unit(f.Name)
	d := f.Difference
	delta, p := Cell{Text: signed(by*d.Delta.Mean, digits)}, Cell{Text: number(d.P, 3), Note: d.Floor, Faint: d.Floor != ""}
	if f.Adjusted != nil {
		p.Text = number(*f.Adjusted, 3)
	}
	if i := d.Interval; i != nil {
		delta.Note = signed(by*i.Low, digits) + " to " + signed(by*i.High, digits)
		delta.Faint = i.Holds(0)
	}
	return []Cell{delta, p}
}

// dots show every seed's accuracy on a test.
func (c *comparison) dots(test string) Chart {
	s := plot.Scatter{Title: "Every seed, accuracy on " + test, X: "row, in the order of the table", Y: "accuracy %"}
	for i, g := range c.shown() {
		points := plot.Points{Label: g.Name}
		if f := g.find(test, accuracyFigure); f != nil {
			for _, v := range f.Values {
				points.At = append(points.At, [2]float64{float64(i + 1), 100 * v})
			}
		}
		s.Groups = append(s.Groups, points)
	}
	return drawn(s.SVG(), "Accuracy on "+test+" of every seed of every row")
}

// forest shows the differences of accuracy.
func (c *comparison) forest(test string) Chart {
	f := plot.Forest{Title: "Difference to " + c.Baseline + " on " + test, X: "points of accuracy"}
	for _, g := range c.shown() {
		figure := g.find(test, accuracyFigure)
		if figure == nil || figure.Difference == nil {
			continue
		}
		d := figure.Difference
		row := plot.Interval{Label: g.Name, Mean: 100 * d.Delta.Mean, Low: math.NaN(), High: math.NaN()}
		if d.Interval != nil {
			row.Low, row.High = 100*d.Interval.Low, 100*d.Interval.High
		}
		for _, v := range d.Delta.Values {
			row.Dots = append(row.Dots, 100*v)
		}
		f.Rows = append(f.Rows, row)
	}
	return drawn(f.SVG(), "Differences of accuracy on "+test+" to "+c.Baseline+", with intervals")
}

// shown are the groups that are drawn.
func (c *comparison) shown() []studyGroup { return c.Groups[:min(len(c.Groups), mostGroups)] }

// worth shows accuracy over cost.
func (c *comparison) worth() Section {
	s := Section{ID: "worth", Title: "Accuracy against cost"}
	if len(c.Groups) == 0 || len(c.Tests) == 0 {
		return s
	}
	test := c.Tests[len(c.Tests)-1]
	var charts []Chart
	for _, axis := range []struct {
		title string
		of    func(g *studyGroup) float64
	}{
		{"hours of training", func(g *studyGroup) float64 { return g.Cost.Hours }},
		{"ms a step", func(g *studyGroup) float64 { return 1000 * g.Cost.SecondsPerStep }},
	} {
		chart := plot.Scatter{Title: "Accuracy on " + test + " over " + axis.title, X: axis.title, Y: "accuracy %"}
		for _, g := range c.shown() {
			points := plot.Points{Label: g.Name}
			if f := g.find(test, accuracyFigure); f != nil {
				points.At = [][2]float64{{axis.of(&g), 100 * f.Mean}}
			}
			chart.Groups = append(chart.Groups, points)
		}
		charts = append(charts, drawn(chart.SVG(), chart.Title+" of every row"))
	}
	s.Blocks = []Block{{Charts: charts}}
	return s
}

// learning are the losses and validations over the steps, the seeds of a row together.
func (c *comparison) learning() (Section, error) {
	s := Section{ID: "learning", Title: "Learning", Lead: "A line is the mean over the seeds of a row, the band behind it their range. Losses of different rows are different quantities: only their shapes compare."}
	losses := plot.Lines{Title: "loss", X: "step", Log: true}
	validations := map[string]*plot.Lines{}
	for _, g := range c.shown() {
		loss, val, err := c.curvesOf(g.Name)
		if err != nil {
			return s, err
		}
		losses.Series = append(losses.Series, plot.Series{Label: g.Name, Points: loss})
		for _, name := range slices.Sorted(maps.Keys(val)) {
			if validations[name] == nil {
				validations[name] = &plot.Lines{Title: "validation " + name, X: "step"}
			}
			validations[name].Series = append(validations[name].Series, plot.Series{Label: g.Name, Points: val[name]})
		}
	}
	if len(losses.Series) == 0 {
		return s, nil
	}
	charts := []Chart{drawn(losses.SVG(), "Loss of every row over steps")}
	for _, name := range slices.Sorted(maps.Keys(validations)) {
		charts = append(charts, drawn(validations[name].SVG(), "Validation "+name+" of every row over steps"))
	}
	s.Blocks = []Block{{Charts: charts}}
	return s, nil
}

// curvesOf are the loss and the validations of a group, over the seeds that have begun.
func (c *comparison) curvesOf(group string) (loss []plot.Sample, val map[string][]plot.Sample, err error) {
	var losses [][]plot.Sample
	all := map[string][][]plot.Sample{}
	for _, row := range c.Rows {
		if row.Group != group || len(losses) == mostSeeds || !filepath.IsLocal(row.Folder) {
			continue
		}
		j, err := readJournal(filepath.Join(c.path, "rows", row.Folder), 0)
		if err != nil {
			return nil, nil, err
		}
		if one := j.train["loss"]; one != nil {
			losses = append(losses, one.points)
		}
		for name, one := range j.val {
			all[name] = append(all[name], one.points)
		}
	}
	val = map[string][]plot.Sample{}
	for name, curves := range all {
		val[name] = together(curves)
	}
	return together(losses), val, nil
}

// together are curves as one: at each place the mean of those that have a point there, and their
// range.
func together(curves [][]plot.Sample) []plot.Sample {
	if len(curves) == 1 {
		return curves[0]
	}
	at := map[float64]plot.Sample{}
	n := map[float64]float64{}
	for _, points := range curves {
		for _, p := range points {
			sum, seen := at[p.X]
			if !seen {
				sum = plot.Sample{X: p.X, Low: p.Y, High: p.Y}
			}
			sum.Y, sum.Low, sum.High = sum.Y+p.Y, min(sum.Low, p.Y), max(sum.High, p.Y)
			at[p.X] = sum
			n[p.X]++
		}
	}
	joint := make([]plot.Sample, 0, len(at))
	for x, p := range at {
		p.Y /= n[x]
		joint = append(joint, p)
	}
	slices.SortFunc(joint, func(a, b plot.Sample) int { return cmp.Compare(a.X, b.X) })
	return joint
}

// cost is what rows took.
func (c *comparison) cost() Section {
	s := Section{ID: "cost", Title: "Cost", Lead: "Medians over the seeds. The peak of memory is the process's."}
	t := &Table{Head: "Row", Columns: []Column{{Title: "Parameters"}, {Title: "Steps"}, {Title: "ms a step"}, {Title: "with the teacher in the loop"}, {Title: "Hours"}, {Title: "Peak MiB"}}}
	for _, g := range c.Groups {
		memory, loop := "–", "–"
		if g.Cost.WithTeacher > 0 {
			loop = number(1000*g.Cost.WithTeacher, 1)
		}
		if g.Cost.PeakMiB > 0 {
			memory = count(int(math.Round(g.Cost.PeakMiB)))
		}
		t.Rows = append(t.Rows, Row{Head: g.Name, Cells: cells(count(g.Cost.Parameters), count(g.Cost.Steps), number(1000*g.Cost.SecondsPerStep, 1), loop, number(g.Cost.Hours, 2), memory)})
	}
	if len(t.Rows) > 0 {
		s.Blocks = []Block{{Table: t.cut()}}
	}
	return s
}

// settings are those in which rows differ.
func (c *comparison) settings() Section {
	s := Section{ID: "differing", Title: "Settings that differ"}
	keys := map[string]bool{}
	for _, g := range c.Groups {
		for key := range g.Settings {
			keys[key] = true
		}
	}
	t := &Table{Head: "Row", Columns: []Column{{Title: "loss", Words: true}}}
	names := slices.DeleteFunc(slices.Sorted(maps.Keys(keys)), func(key string) bool { return key == "loss.name" })
	for _, name := range names {
		t.Columns = append(t.Columns, Column{Title: name, Words: true})
	}
	for _, g := range c.Groups {
		row := Row{Head: g.Name, Cells: cells(g.Loss)}
		for _, name := range names {
			text, there := g.Settings[name]
			if there && text == "" {
				text = "none"
			}
			row.Cells = append(row.Cells, Cell{Text: text})
		}
		t.Rows = append(t.Rows, row)
	}
	if len(t.Rows) > 0 {
		s.Blocks = []Block{{Table: t.cut()}}
	}
	return s
}

// rows are all students, and how far they are.
func (c *comparison) rows() Section {
	s := Section{ID: "rows", Title: "Rows", Folded: true, Lead: "Each is a run's folder below " + filepath.Join(c.path, "rows") + "."}
	t := &Table{Head: "Row", Columns: []Column{{Title: "State", Words: true}, {Title: "Folder", Words: true}}}
	for _, r := range c.Rows {
		t.Rows = append(t.Rows, Row{Head: r.Row, Cells: cells(r.State, r.Folder)})
	}
	if len(t.Rows) > 0 {
		s.Blocks = []Block{{Table: t.cut()}}
	}
	return s
}
