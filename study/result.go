package study

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"facepipe/eval/uncertainty"
	"facepipe/eval/verification"
)

// Result is what a study has found so far; table.json is one.
type Result struct {
	Study    string `json:"study"`
	Baseline string `json:"baseline"`
	// ChosenBy says which weights were tested: the last step's, or the best by a figure of the
	// validation.
	ChosenBy string `json:"chosen_by"`
	// Says are the sentences that come first.
	Says []string `json:"says"`
	// Warnings are what must not be overlooked.
	Warnings []string `json:"warnings,omitempty"`
	// Rows of all seeds, and how many are in each state.
	Rows   []RowState    `json:"rows"`
	States map[State]int `json:"states"`
	// Failed rows, with their errors.
	Failed []FailedRow `json:"failed"`
	// Changed are rows that are stale; Gone are runs in the folder that the study does not have.
	Changed []Change `json:"changed,omitempty"`
	Gone    []string `json:"gone,omitempty"`
	// Tests are the columns: those of the validation first, if there is one.
	Tests      []string `json:"tests"`
	Validation string   `json:"validation,omitempty"`
	// Teacher is what the teacher takes, if the study names its model.
	Teacher *TeacherCost `json:"teacher,omitempty"`
	// Groups are rows that differ in nothing but the seed.
	Groups []Group `json:"groups"`
}

// RowState is a row and how far it is.
type RowState struct {
	Row    string `json:"row"`
	Group  string `json:"group"`
	Seed   uint64 `json:"seed"`
	State  State  `json:"state"`
	Folder string `json:"folder"`
	Digest string `json:"digest"`
}

// FailedRow is a row that could not be trained or measured.
type FailedRow struct {
	Row   string `json:"row"`
	Error string `json:"error"`
}

// lastLine is that of the error.
func (f FailedRow) lastLine() string {
	text := strings.TrimSpace(f.Error)
	return strings.TrimSpace(text[strings.LastIndexByte(text, '\n')+1:])
}

// Group is what is known of rows that differ in nothing but the seed.
type Group struct {
	Name string `json:"name"`
	// Loss is the canonical form, Settings what differs from the base.
	Loss     string            `json:"loss"`
	Settings map[string]string `json:"settings,omitempty"`
	// Seeds are those that are done, in the order of all values.
	Seeds []uint64 `json:"seeds"`
	// Figures are of all tests.
	Figures []Figure `json:"figures"`
	Cost    Cost     `json:"cost"`
}

// Figure is one of a test, over the seeds.
type Figure struct {
	Test string `json:"test"`
	Name string `json:"name"`
	uncertainty.Spread
	// Difference to the baseline over the seeds that both have; nil of the baseline itself, and
	// where there are none.
	Difference *uncertainty.SeedDifference `json:"difference,omitempty"`
	// Adjusted is the p of the seeds by Holm over all groups.
	Adjusted *float64 `json:"p_adjusted,omitempty"`
}

// Cost is what rows of a group took, in the median.
type Cost struct {
	Parameters     int     `json:"parameters"`
	Steps          int     `json:"steps"`
	SecondsPerStep float64 `json:"seconds_per_step"`
	// WithTeacher is what a step would take with the teacher in the loop, 0 where nobody knows or
	// there is none.
	WithTeacher float64 `json:"seconds_per_step_with_teacher,omitempty"`
	Hours       float64 `json:"hours"`
	// PeakMiB is 0 where nobody knows.
	PeakMiB float64 `json:"peak_mib"`
}

// err is [ErrRows] if rows have failed.
func (res *Result) err() error {
	n := len(res.Failed)
	if n == 0 {
		return nil
	}
	return fmt.Errorf("%w: %d of %d; the first, %s: %s", ErrRows, n, len(res.Rows), res.Failed[0].Row, res.Failed[0].lastLine())
}

// done is a row with its figures.
type done struct {
	row     *Row
	figures figures
}

// result reads what all rows have reached.
func (r *runner) result(ctx context.Context) (*Result, error) {
	res := &Result{Study: r.Path, Baseline: r.Baseline, ChosenBy: "the last step", States: map[State]int{}, Failed: []FailedRow{}, Warnings: r.warnings, Teacher: r.teacher, Groups: []Group{}}
	if r.Validation != nil {
		res.Validation = r.Validation.Name
	}
	if r.Select != "" {
		res.ChosenBy = fmt.Sprintf("the best checkpoint by %s on %s", r.Select, r.Validation.Name)
	}
	for _, t := range r.tests {
		res.Tests = append(res.Tests, t.Name)
	}
	states, err := r.look(ctx, res)
	if err != nil {
		return nil, err
	}
	groups, order, err := r.doneByGroup(states)
	if err != nil {
		return nil, err
	}
	for _, name := range order {
		g, err := r.group(groups[name], groups[r.Baseline])
		if err != nil {
			return nil, err
		}
		res.Groups = append(res.Groups, g)
	}
	res.adjust()
	res.Says = res.sentences(r.o.BaselineOnly)
	return res, nil
}

// look finds out how far all rows are.
func (r *runner) look(ctx context.Context, res *Result) (states map[*Row]State, err error) {
	states = map[*Row]State{}
	for _, row := range r.rows {
		if states[row], err = row.state(ctx, r.measured); err != nil {
			return nil, err
		}
	}
	if res.Changed, res.Gone, err = leftovers(r.o.Out, r.rows, func(row *Row) bool { return states[row] == Done }); err != nil {
		return nil, err
	}
	for _, row := range r.rows {
		if states[row] == New && slices.ContainsFunc(res.Changed, func(c Change) bool { return c.Row == row.Name() }) {
			states[row] = Stale
		}
		state := states[row]
		res.States[state]++
		res.Rows = append(res.Rows, RowState{row.Name(), row.Group, row.Seed, state, filepath.Base(row.dir), row.Digest})
		if state != Failed {
			continue
		}
		var f failure
		if _, err := readOf(row.file(failedFile), row.Digest, &f); err != nil && !errors.Is(err, os.ErrNotExist) {
			return nil, err
		}
		res.Failed = append(res.Failed, FailedRow{row.Name(), f.Error})
	}
	return states, nil
}

// doneByGroup are the rows that are done, by the names of their groups, which come in order.
func (r *runner) doneByGroup(states map[*Row]State) (groups map[string][]done, order []string, err error) {
	groups = map[string][]done{}
	for _, row := range r.rows {
		if states[row] != Done {
			continue
		}
		one := done{row: row}
		if _, err := readOf(row.file(figuresFile), row.Digest, &one.figures); err != nil {
			return nil, nil, err
		}
		groups[row.Group] = append(groups[row.Group], one)
	}
	for _, row := range r.rows {
		if groups[row.Group] != nil && !slices.Contains(order, row.Group) {
			order = append(order, row.Group)
		}
	}
	return groups, order, nil
}

// group sums up the rows of a group.
func (r *runner) group(rows, baseline []done) (Group, error) {
	first := rows[0].row
	g := Group{Name: first.Group, Loss: first.Outlook.Loss, Settings: first.recorded().Settings}
	for _, d := range rows {
		g.Seeds = append(g.Seeds, d.row.Seed)
	}
	// The lower median of what is known, 0 if nothing is.
	median := func(of func(cost) float64) float64 {
		values := []float64{0}
		for _, d := range rows {
			if v := of(d.figures.cost); v > 0 { // it is known
				values = append(values, v)
			}
		}
		slices.Sort(values)
		return values[len(values)/2]
	}
	g.Cost = Cost{
		Parameters: rows[0].figures.Parameters, Steps: first.Outlook.Steps,
		SecondsPerStep: median(func(c cost) float64 { return c.SecondsPerStep }),
		Hours:          median(func(c cost) float64 { return c.Hours }),
		PeakMiB:        median(func(c cost) float64 { return c.PeakMiB }),
	}
	if r.teacher != nil && first.options.Teacher != "" {
		g.Cost.WithTeacher = g.Cost.SecondsPerStep + r.teacher.SecondsPerCrop*float64(first.Outlook.StepCrops)
	}
	for _, t := range r.tests {
		figures, err := r.figuresOf(t, rows, baseline)
		if err != nil {
			return Group{}, err
		}
		g.Figures = append(g.Figures, figures...)
	}
	return g, nil
}

// figuresOf are a group's on a test.
func (r *runner) figuresOf(t *test, rows, baseline []done) ([]Figure, error) {
	var mine, theirs []done // of the seeds that both have
	for _, d := range rows {
		at := slices.IndexFunc(baseline, func(b done) bool { return b.row.Seed == d.row.Seed })
		if at >= 0 && baseline[at].row.Group != d.row.Group {
			mine, theirs = append(mine, d), append(theirs, baseline[at])
		}
	}
	differences, err := r.differences(t, mine, theirs)
	if err != nil {
		return nil, err
	}
	var figures []Figure
	for _, f := range verification.Figures(falseAccepts) {
		values := valuesAt(rows, t.Name, f.Name)
		if len(values) != len(rows) {
			continue // not measurable
		}
		one := Figure{Test: t.Name, Name: f.Name, Spread: uncertainty.NewSpread(values)}
		if d, ok := differences[f.Name]; ok {
			one.Difference = &d
		} else if a, b := valuesAt(theirs, t.Name, f.Name), valuesAt(mine, t.Name, f.Name); len(b) > 0 && len(a) == len(b) {
			d, err := uncertainty.CompareValues(a, b)
			if err != nil {
				return nil, err
			}
			one.Difference = &d
		}
		figures = append(figures, one)
	}
	return figures, nil
}

// valuesAt are the figures of a name, of the rows that have it.
func valuesAt(rows []done, test, name string) []float64 {
	var values []float64
	for _, d := range rows {
		if v, ok := d.figures.Tests[test][name]; ok {
			values = append(values, v)
		}
	}
	return values
}

// differences are those to the baseline, with intervals over seeds and people.
func (r *runner) differences(t *test, mine, theirs []done) (map[string]uncertainty.SeedDifference, error) {
	if len(mine) == 0 {
		return nil, nil
	}
	key := t.Name
	for i := range mine {
		key += " " + theirs[i].row.Digest + " " + mine[i].row.Digest
	}
	c, known := r.compared[key]
	if !known {
		var err error
		if c, err = t.compare(mine, theirs); err != nil {
			return nil, err
		}
		r.compared[key] = c
	}
	return map[string]uncertainty.SeedDifference{"accuracy": c.Accuracy, "auc": c.AUC, "eer": c.EER}, nil
}

// compare compares the scores of rows with those of the baseline.
func (t *test) compare(mine, theirs []done) (c uncertainty.SeedComparison, err error) {
	a, b := make([]*verification.Scores, len(mine)), make([]*verification.Scores, len(mine))
	for i := range mine {
		if a[i], err = t.readScores(theirs[i].row.dir, theirs[i].figures); err != nil {
			return c, err
		}
		if b[i], err = t.readScores(mine[i].row.dir, mine[i].figures); err != nil {
			return c, err
		}
	}
	if c, err = uncertainty.CompareSeeds(a, b, uncertainty.Options{}); err != nil {
		return c, fmt.Errorf("compare on %s: %w", t.Name, err)
	}
	return c, nil
}

// adjust makes the p of each figure one of a family: the groups that are compared with the
// baseline by it.
func (res *Result) adjust() {
	families := map[string][]*Figure{}
	for i := range res.Groups {
		for k := range res.Groups[i].Figures {
			if f := &res.Groups[i].Figures[k]; f.Difference != nil {
				families[f.Test+" "+f.Name] = append(families[f.Test+" "+f.Name], f)
			}
		}
	}
	for _, family := range families {
		p := make([]float64, len(family))
		for i, f := range family {
			p[i] = f.Difference.P
		}
		for i, adjusted := range uncertainty.Holm(p) {
			family[i].Adjusted = &adjusted
		}
	}
}
