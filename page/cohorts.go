package page

import (
	"fmt"
	"path/filepath"

	"facepipe/eval/report"
	"facepipe/eval/uncertainty"
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
	all := e.Cohorts
	for _, c := range all[:min(len(all), maxCohorts)] {
		s.Blocks = append(s.Blocks, Block{Title: e.cohortTitle(c), Table: cohortTable(c)})
		if n := len(c.Groups); n > 1 && n <= maxMatrix && len(c.Matrix) == n {
			s.Blocks = append(s.Blocks, Block{Title: "False match rate between groups", Table: cohortMatrix(c)})
		}
		if list := cohortFacts(c); len(list) > 0 {
			s.Blocks = append(s.Blocks, Block{Facts: list})
		}
	}
	return s
}

func (e *evaluation) cohortTitle(c report.Cohort) string {
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

func cohortTable(c report.Cohort) *Table {
	t := &Table{Head: c.Column, Columns: []Column{{Title: "faces"}, {Title: "people"}, {Title: "FMR", Define: "far"}, {Title: "FNMR", Define: "fnmr"}}}
	all := append(cells("", ""), cohortCell(c.All.FMR, false), cohortCell(c.All.FNMR, false))
	t.Rows = append(t.Rows, Row{Head: "all", Cells: all})
	for _, g := range c.Groups[:min(len(c.Groups), maxGroups)] {
		row := append(cells(count(g.Faces), count(g.Identities)), cohortCell(g.FMR, g.Small), cohortCell(g.FNMR, g.Small))
		t.Rows = append(t.Rows, Row{Head: g.Name, Note: g.SmallBecause, Cells: row})
	}
	t.More = max(0, len(c.Groups)-maxGroups)
	return t
}

// cohortCell shows a rate of a cohort; there may be none.
func cohortCell(r *uncertainty.Rate, faint bool) Cell {
	if r == nil {
		return Cell{Text: "–", Note: "no comparisons", Faint: true}
	}
	c := Cell{Text: percent(r.Value, 3), Note: count(r.Errors) + " of " + count(r.Of), Faint: faint}
	if r.Interval != nil {
		c.Note += "\n" + between(r.Interval, 100, 3)
	}
	return c
}

// cohortMatrix is the false match rate between each two groups, darker where it is higher.
func cohortMatrix(c report.Cohort) *Table {
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
				cell = cohortCell(row[k].FMR, c.Groups[i].Small || c.Groups[k].Small)
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

// cohortFacts are how unequal the groups are, and what is to be known of them.
func cohortFacts(c report.Cohort) (list []Fact) {
	if s := c.Summary; s != nil {
		for _, ratio := range []struct {
			name string
			of   *float64
		}{{"Highest FMR over the lowest", s.FMRRatio}, {"Highest FNMR over the lowest", s.FNMRRatio}} {
			if ratio.of != nil {
				list = append(list, Fact{ratio.name, brief(*ratio.of)})
			}
		}
		for _, equal := range []struct {
			name, of string
			is       *float64
		}{{"Fairness discrepancy rate", "1 for equal groups", s.FDR}, {"GARBE", "0 for equal groups", s.GARBE}} {
			if equal.is != nil {
				list = append(list, Fact{equal.name, number(*equal.is, 4) + " (" + equal.of + ")"})
			}
		}
	}
	for _, note := range c.Notes {
		list = append(list, Fact{"Note", note})
	}
	if c.Cut != "" {
		list = append(list, Fact{"Groups", fmt.Sprintf("%s, cut by %s", c.Column, c.Cut)})
	}
	return list
}
