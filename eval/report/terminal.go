package report

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"facepipe/eval/verification"
	"facepipe/internal/plain"
)

// Print writes the answer, the tables, the warnings and the most important switches for a
// terminal. It writes nothing without a model. w remembers what it could not write.
func Print(w io.Writer, r Report) {
	if len(r.Models) == 0 {
		return
	}
	fmt.Fprintf(w, "%s\n\n", spoken(r.Answer()))
	printTable(w, r.Table())
	if t := r.ThresholdTable(); len(t.Rows) > 0 {
		fmt.Fprintln(w)
		printTable(w, t)
	}
	printIdentification(w, r)
	fmt.Fprintln(w)
	for _, c := range r.comparisons() {
		fmt.Fprintf(w, "%s: %s\n", spoken(c.About), spoken(c.Is))
	}
	for _, warning := range r.AllWarnings() {
		fmt.Fprintf(w, "warning: %s\n", spoken(warning))
	}
	folds := ""
	if r.Folds > 0 {
		folds = fmt.Sprintf(" in %d folds by the %s rule", r.Folds, r.rule().Name)
	}
	what := fmt.Sprintf("%d pairs", r.Pairs.Used)
	if len(r.Tests) > 1 {
		what = fmt.Sprintf("%d tests", len(r.Tests))
	}
	fmt.Fprintf(w, "%s%s, mirrored crops added: %v; TAR@FAR = 1 − FNMR@FMR, %s\n", what, folds, r.Flip, verification.Pick(r.FARPick).About())
}

func printTable(w io.Writer, t Table) {
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
	for _, row := range t.shown() {
		line(plain.Text(row.Model), row.Cells)
	}
	_ = tabs.Flush()
}

// spoken is text without marks.
func spoken(t Text) string {
	var b strings.Builder
	for _, span := range t {
		b.WriteString(plain.Text(span.Text))
	}
	return b.String()
}

// heading puts words into capitals, but no names: "TAR@FAR 1e-3".
func heading(title string) string {
	if strings.ToLower(title) != title {
		return title
	}
	return strings.ToUpper(title)
}
