package page

import (
	"fmt"
	"path/filepath"
)

// Of cohorts so many tables are shown, of so many groups, and matrices of so few.
const (
	maxCohorts = 24
	maxGroups  = 60
	maxMatrix  = 16
)

// cohorts are the rates of groups of faces at one threshold.
func (e *evaluation) cohorts() Section {
	s := Section{ID: "cohorts", Title: "Cohorts", Lead: "The rates of groups at one threshold for all. In italics: a group too small to tell."}
	all := e.more.Cohorts
	for _, c := range all[:min(len(all), maxCohorts)] {
		s.Blocks = append(s.Blocks, Block{Title: e.cohortTitle(c), Table: c.table()})
		if n := len(c.Groups); n > 1 && n <= maxMatrix && len(c.Matrix) == n {
			s.Blocks = append(s.Blocks, Block{Title: "False match rate between groups", Table: c.matrix()})
		}
		if list := c.facts(); len(list) > 0 {
			s.Blocks = append(s.Blocks, Block{Facts: list})
		}
	}
	return s
}

func (e *evaluation) cohortTitle(c cohort) string {
	text := c.Column
	if c.Model != "" && len(e.Report.Models) > 1 {
		text = e.labelOf(c.Model, e.labels()) + ": " + text
	} else if c.Model != "" {
		text = filepath.Base(c.Model) + ": " + text
	}
	text += ", at a cosine of " + number(c.ThresholdCosine, 4)
	if c.TargetFMR > 0 {
		text += " (FMR " + short(c.TargetFMR) + " of all)"
	}
	return text
}

func (c cohort) table() *Table {
	t := &Table{Head: c.Column, Columns: []Column{{Title: "faces"}, {Title: "people"}, {Title: "FMR", Define: "far"}, {Title: "FNMR", Define: "fnmr"}}}
	all := append(cells("", ""), c.All.FMR.cell(false), c.All.FNMR.cell(false))
	t.Rows = append(t.Rows, Row{Head: "all", Cells: all})
	for _, g := range c.Groups[:min(len(c.Groups), maxGroups)] {
		row := append(cells(count(g.Faces), count(g.Identities)), g.FMR.cell(g.Small), g.FNMR.cell(g.Small))
		t.Rows = append(t.Rows, Row{Head: g.Name, Note: g.SmallBecause, Cells: row})
	}
	t.More = max(0, len(c.Groups)-maxGroups)
	return t
}

// cell shows a rate of a cohort; there may be none.
func (r *rate) cell(faint bool) Cell {
	if r == nil {
		return Cell{Text: "–", Note: "no comparisons", Faint: true}
	}
	c := Cell{Text: percent(r.Value, 3), Note: count(r.Errors) + " of " + count(r.Of), Faint: faint}
	if r.Interval != nil {
		c.Note += "\n" + between(r.Interval, 100, 3)
	}
	return c
}

// matrix is the false match rate between each two groups, darker where it is higher.
func (c cohort) matrix() *Table {
	t := &Table{Head: c.Column}
	most := 0.0
	for _, row := range c.Matrix {
		for _, cell := range row {
			if cell.FMR != nil {
				most = max(most, cell.FMR.Value)
			}
		}
	}
	for i, row := range c.Matrix {
		t.Columns = append(t.Columns, Column{Title: c.Groups[i].Name})
		r := Row{Head: c.Groups[i].Name}
		for k := range c.Groups {
			cell := Cell{Text: "–", Faint: true}
			if k < len(row) && row[k].FMR != nil {
				cell = row[k].FMR.cell(c.Groups[i].Small || c.Groups[k].Small)
				cell.Shade = shade(row[k].FMR.Value, most)
			}
			r.Cells = append(r.Cells, cell)
		}
		t.Rows = append(t.Rows, r)
	}
	return t
}

// shades are the steps of a cell's shade.
const shades = 5

// shade is how dark a value is, of those up to most.
func shade(v, most float64) int {
	if !(most > 0) || !(v > 0) {
		return 0
	}
	return min(max(int(v/most*shades+0.5), 1), shades)
}

// facts are how unequal the groups are, and what is to be known of them.
func (c cohort) facts() (list []Fact) {
	if s := c.Summary; s != nil {
		for _, ratio := range []struct {
			name string
			of   *float64
		}{{"Highest FMR over the lowest", s.FMRRatio}, {"Highest FNMR over the lowest", s.FNMRRatio}} {
			if ratio.of != nil {
				list = append(list, Fact{ratio.name, brief(*ratio.of)})
			}
		}
		list = append(list, Fact{"Fairness discrepancy rate", number(s.FDR, 4) + " (1 for equal groups)"}, Fact{"GARBE", number(s.GARBE, 4) + " (0 for equal groups)"})
	}
	for _, note := range c.Notes {
		list = append(list, Fact{"Note", note})
	}
	if c.Cut != "" {
		list = append(list, Fact{"Groups", fmt.Sprintf("%s, cut by %s", c.Column, c.Cut)})
	}
	return list[:min(len(list), maxRows)]
}
