package report

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
)

// Print writes the table and the most important switches for a terminal. It writes
// nothing without a model. w remembers what it could not write.
func Print(w io.Writer, r Report) {
	if len(r.Models) == 0 {
		return
	}
	t := r.Table()
	tabs := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	line := func(first string, cells []string) {
		fmt.Fprint(tabs, first)
		for i, cell := range cells {
			if !t.Columns[i].Detail {
				fmt.Fprint(tabs, "\t", cell)
			}
		}
		fmt.Fprintln(tabs)
	}
	var titles []string
	for _, c := range t.Columns {
		titles = append(titles, heading(c.Title))
	}
	line("MODEL", titles)
	for _, row := range t.Rows {
		line(row.Model, row.Cells)
	}
	_ = tabs.Flush()
	folds := ""
	if r.Folds > 0 {
		folds = fmt.Sprintf(" in %d folds", r.Folds)
	}
	if len(r.Tests) > 1 {
		fmt.Fprintf(w, "%d tests, mirrored crops added: %v\n", len(r.Tests), r.Flip)
	} else {
		fmt.Fprintf(w, "%d pairs%s, mirrored crops added: %v\n", r.Pairs.Used, folds, r.Flip)
	}
	printIdentification(w, r)
	for _, warning := range r.Warnings {
		fmt.Fprintf(w, "warning: %s\n", warning)
	}
}

// heading puts words into capitals, but no names: "TAR@FAR 1e-3".
func heading(title string) string {
	if strings.ToLower(title) != title {
		return title
	}
	return strings.ToUpper(title)
}
