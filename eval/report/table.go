package report

import (
	"cmp"
	"fmt"
	"slices"

	"facepipe/eval/verification"
)

// Table holds the figures of all models, one a row.
type Table struct {
	Columns []Column
	Rows    []Row
}

// Column is a figure of all models.
type Column struct {
	Title string
	// Detail marks what is left out where there is little room.
	Detail bool
}

// Row is a model with its figures, a cell for each column.
type Row struct {
	// Model is the path as given, Label the shortest end of it that tells the models apart.
	Model, Label string
	Cells        []string
}

// Table is the table of all figures that any model has.
func (r Report) Table() Table {
	var t Table
	for i, label := range r.labels() {
		t.Rows = append(t.Rows, Row{Model: r.Models[i].on(r.Models[i].Model), Label: label})
	}
	for _, f := range verification.Figures(r.targets()) {
		t.add(Column{Title: f.Title}, r.Models, func(m Model) string { return m.figure(f) })
	}
	t.add(Column{"threshold (cosine)", true}, r.Models, Model.threshold)
	t.add(Column{Title: "images/s"}, r.Models, Model.rate)
	return t
}

// figure is a figure of the comparisons, "" where a protocol makes none.
func (m Model) figure(f verification.Figure) string {
	if m.Pairs == 0 {
		return ""
	}
	_, text := f.Of(m.Result)
	return text
}

// threshold is the mean cosine that the folds chose, "" without folds.
func (m Model) threshold() string {
	if m.CrossValidation == nil {
		return ""
	}
	return fmt.Sprintf("%.3f", m.ThresholdCosine)
}

// rate is the number of crops a second, "" where none was embedded.
func (m Model) rate() string {
	if m.Kind != "" {
		return ""
	}
	return fmt.Sprintf("%.0f", m.ImagesPerSecond)
}

// targets are the false accept rates of all operating points, the largest first. All models
// have the same ones on a test, as they see the same pairs.
func (r Report) targets() (targets []float64) {
	for _, m := range r.Models {
		for _, p := range m.OperatingPoints {
			if !slices.Contains(targets, p.Target) {
				targets = append(targets, p.Target)
			}
		}
	}
	slices.SortFunc(targets, func(a, b float64) int { return cmp.Compare(b, a) })
	return targets
}

// add appends a column, unless it is empty.
func (t *Table) add(c Column, models []Model, cell func(Model) string) {
	cells := make([]string, len(models))
	for i, m := range models {
		cells[i] = cell(m)
	}
	if !slices.ContainsFunc(cells, func(cell string) bool { return cell != "" }) {
		return
	}
	t.Columns = append(t.Columns, c)
	for i := range t.Rows {
		t.Rows[i].Cells = append(t.Rows[i].Cells, cells[i])
	}
}
