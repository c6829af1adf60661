package report

import (
	"cmp"
	"fmt"
	"slices"

	"facepipe/eval/verification"
)

// Table holds figures of models.
type Table struct {
	Columns []Column
	Rows    []Row
}

// Column is a figure of all models.
type Column struct {
	// Title is the heading, Alias what else the figure is called, or "".
	Title, Alias string
	// Detail marks what is left out where there is little room.
	Detail bool
}

// Row is a model with its figures, a cell for each column.
type Row struct {
	// Model is the path as given, Label the shortest end of it that tells the models apart.
	Model, Label string
	Cells        []string
}

// Table is the table of all figures that any model has, a row a model.
func (r Report) Table() Table {
	var t Table
	for i, label := range r.labels() {
		t.Rows = append(t.Rows, Row{Model: r.Models[i].on(r.Models[i].Model), Label: label})
	}
	for _, f := range verification.Figures(r.targets()) {
		t.add(Column{Title: f.Title, Alias: f.Alias}, r.Models, func(m Model) string { return m.figure(f) })
		if f.Name == "accuracy" {
			t.add(Column{Title: "95 % interval"}, r.Models, Model.interval)
		}
	}
	t.add(Column{Title: "accuracy % without overlap"}, r.Models, Model.cleanAccuracy)
	for _, target := range r.targets() {
		name := verification.RateName(target)
		t.add(Column{Title: "VAL@FAR " + name}, r.Models, func(m Model) string { return m.val(target) })
	}
	t.add(Column{Title: "threshold (cosine)", Detail: true}, r.Models, Model.threshold)
	t.add(Column{Title: "parameters", Detail: true}, r.Models, Model.parameters)
	t.add(Column{Title: "MACs", Detail: true}, r.Models, Model.macs)
	t.add(Column{Title: "images/s"}, r.Models, Model.speed)
	return t
}

// shown are the rows that have a figure, or all if the table has none at all.
func (t Table) shown() []Row {
	if len(t.Columns) == 0 {
		return t.Rows
	}
	return slices.DeleteFunc(slices.Clone(t.Rows), func(row Row) bool {
		return !slices.ContainsFunc(row.Cells, func(cell string) bool { return cell != "" })
	})
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

// val is the validation rate at a target, "" where the rule knows none.
func (m Model) val(target float64) string {
	for _, p := range m.VAL {
		if p.Target == target {
			return fmt.Sprintf("%.4f ± %.4f", p.VAL, p.Std)
		}
	}
	return ""
}

// ThresholdTable says what to set for the false match rate that one wants, a row for each
// model and rate.
func (r Report) ThresholdTable() Table {
	t := Table{Columns: []Column{{Title: "FMR wanted"}, {Title: "cosine above"}, {Title: "distance below"}, {Title: "FMR", Alias: "FAR"}, {Title: "FNMR", Alias: "1 − TAR"}}}
	labels := r.labels()
	for i, m := range r.Models {
		for _, p := range m.Thresholds {
			cosine := fmt.Sprintf("%.5f", p.Cosine)
			if p.CosineInterval != nil {
				cosine += fmt.Sprintf(" (%.5f to %.5f)", p.CosineInterval.Low, p.CosineInterval.High)
			}
			t.Rows = append(t.Rows, Row{Model: m.Model, Label: labels[i],
				Cells: []string{p.Name(), cosine, fmt.Sprintf("%.5f", p.Distance), rate(p.FMR), rate(p.FNMR)}})
		}
	}
	return t
}

// speed is the number of crops a second, "" where none was embedded.
func (m Model) speed() string {
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
