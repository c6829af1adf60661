package study

import (
	"bytes"
	"encoding/csv"
	"fmt"
	"io"
	"path/filepath"
	"strconv"
	"strings"
	"text/tabwriter"

	"facepipe/eval/uncertainty"
	"facepipe/internal/durable"
)

// The forms of the table, in a study's folder.
const (
	tableJSON     = "table.json"
	tableMarkdown = "table.md"
	tableCSV      = "table.csv"
)

// write puts what has been found so far into the study's folder.
func (r *runner) write() (*Result, error) {
	res, err := r.result()
	if err != nil {
		return nil, err
	}
	for _, form := range []struct {
		file   string
		render func() ([]byte, error)
	}{{tableMarkdown, res.markdown}, {tableCSV, res.csv}} {
		data, err := form.render()
		if err == nil {
			err = durable.WriteFile(filepath.Join(r.o.Out, form.file), data, 0o644)
		}
		if err != nil {
			return nil, fmt.Errorf("write %s: %w", form.file, err)
		}
	}
	return res, writeJSON(filepath.Join(r.o.Out, tableJSON), res)
}

// scale is how many of a figure's units a table shows one as: rates are in percent, but for
// the AUC.
func scale(figure string) (float64, int) {
	if figure == "auc" {
		return 1, 5
	}
	return 100, 2
}

// shown is a number of a figure in a table.
func shown(figure string, v float64) string {
	by, digits := scale(figure)
	return strconv.FormatFloat(by*v, 'f', digits, 64)
}

// text is a figure over its seeds: mean ± standard deviation (number).
func (f Figure) text() string {
	if f.Std == nil {
		return shown(f.Name, f.Mean) + " (1)"
	}
	return fmt.Sprintf("%s ± %s (%d)", shown(f.Name, f.Mean), shown(f.Name, *f.Std), len(f.Values))
}

// differenceText is the difference to the baseline.
func (f Figure) differenceText() string {
	d := f.Difference
	if d == nil {
		return ""
	}
	sign := func(v float64) string {
		if v >= 0 {
			return "+" + shown(f.Name, v)
		}
		return shown(f.Name, v)
	}
	text := sign(d.Delta.Mean)
	if d.Interval != nil {
		text += fmt.Sprintf(" [%s, %s]", sign(d.Interval.Low), sign(d.Interval.High))
	}
	if len(d.Delta.Values) > 1 {
		text += fmt.Sprintf(" p %.3f", d.P)
		if f.Adjusted != nil && *f.Adjusted != d.P {
			text += fmt.Sprintf(" (Holm %.3f)", *f.Adjusted)
		}
	}
	return text
}

// main are the figures that the terminal and the first table show.
func (g Group) main(tests []string) []Figure {
	var figures []Figure
	for _, test := range tests {
		for _, f := range g.Figures {
			if f.Test == test && (f.Name == "accuracy" || f.Name == "tar_at_far 1e-3") {
				figures = append(figures, f)
			}
		}
	}
	return figures
}

// Sentences say first what a reader wants to know.
func (res *Result) Sentences() []string {
	var lines []string
	for _, f := range res.Failed {
		lines = append(lines, fmt.Sprintf("FAILED %s: %s", f.Row, f.Error))
	}
	if n := len(res.Rows) - res.States[Done]; n > 0 {
		lines = append(lines, fmt.Sprintf("%d of %d rows are done.", res.States[Done], len(res.Rows)))
	}
	for _, name := range res.Changed {
		lines = append(lines, fmt.Sprintf("%s: settings or inputs changed since it was trained; it is trained anew", name))
	}
	if len(res.Groups) > 1 {
		lines = append(lines, res.verdict(res.Tests[len(res.Tests)-1], "accuracy"))
	}
	return lines
}

// verdict says which groups differ from the baseline in a figure.
func (res *Result) verdict(test, figure string) string {
	var better, worse []string
	floor, largest := "", 0.0
	compared := 0
	for _, g := range res.Groups {
		for _, f := range g.Figures {
			d := f.Difference
			if f.Test != test || f.Name != figure || d == nil {
				continue
			}
			compared++
			floor = d.Floor
			if d.Detectable != nil {
				largest = max(largest, *d.Detectable)
			}
			if d.Interval == nil || d.Interval.Holds(0) || d.Floor != "" || f.Adjusted != nil && *f.Adjusted > 0.05 {
				continue
			}
			if d.Delta.Mean > 0 {
				better = append(better, g.Name)
			} else {
				worse = append(worse, g.Name)
			}
		}
	}
	var parts []string
	if len(better) > 0 {
		parts = append(parts, strings.Join(better, ", ")+" better")
	}
	if len(worse) > 0 {
		parts = append(parts, strings.Join(worse, ", ")+" worse")
	}
	text := fmt.Sprintf("%s on %s against %s: ", figure, test, res.Baseline)
	switch {
	case compared == 0:
		return text + "nothing to compare yet."
	case len(parts) == 0:
		text += "no difference can be told"
	default:
		text += strings.Join(parts, "; ") + "; the others cannot be told apart"
	}
	if floor != "" {
		text += " (" + floor + ")"
	}
	if largest > 0 {
		text += fmt.Sprintf("; differences of %s points or more would be found four times in five", shown(figure, largest))
	}
	return text + "."
}

// Print writes the table for a terminal.
func (res *Result) Print(w io.Writer) {
	for _, line := range res.Sentences() {
		fmt.Fprintln(w, line)
	}
	tabs := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for i, g := range res.Groups {
		figures := g.main(res.Tests)
		if i == 0 {
			fmt.Fprint(tabs, "ROW")
			for _, f := range figures {
				fmt.Fprintf(tabs, "\t%s\tDIFFERENCE", strings.ToUpper(f.Test+" "+f.Name))
			}
			fmt.Fprintln(tabs, "\tMS/STEP\tHOURS\tMIB")
		}
		fmt.Fprint(tabs, g.Name)
		for _, f := range figures {
			fmt.Fprintf(tabs, "\t%s\t%s", f.text(), f.differenceText())
		}
		fmt.Fprintf(tabs, "\t%.0f\t%.2f\t%.0f\n", 1000*g.Cost.SecondsPerStep, g.Cost.Hours, g.Cost.PeakMiB)
	}
	_ = tabs.Flush()
}

// markdown is the table for people who read files.
func (res *Result) markdown() ([]byte, error) {
	var b bytes.Buffer
	fmt.Fprintf(&b, "# %s\n\n", strings.TrimSuffix(filepath.Base(res.Study), filepath.Ext(res.Study)))
	for _, line := range res.Sentences() {
		fmt.Fprintf(&b, "%s\n\n", line)
	}
	fmt.Fprintf(&b, "Mean ± standard deviation over seeds (their number). Differences are to %s, paired by seed, with the %.0f %% interval of a bootstrap over seeds and people, and the p of all sign flips. Tested: %s.\n",
		res.Baseline, 100*uncertainty.DefaultLevel, res.ChosenBy)
	for _, test := range res.Tests {
		fmt.Fprintf(&b, "\n## %s\n\n", test)
		res.markdownTest(&b, test)
	}
	fmt.Fprintf(&b, "\n## Cost\n\n| row | loss | seeds | parameters | steps | ms a step | hours | MiB |\n| --- | --- | --- | ---: | ---: | ---: | ---: | ---: |\n")
	for _, g := range res.Groups {
		fmt.Fprintf(&b, "| %s | %s | %s | %d | %d | %.0f | %.2f | %.0f |\n", cell(g.Name), cell(g.Loss), cell(strings.Trim(fmt.Sprint(g.Seeds), "[]")),
			g.Cost.Parameters, g.Cost.Steps, 1000*g.Cost.SecondsPerStep, g.Cost.Hours, g.Cost.PeakMiB)
	}
	return b.Bytes(), nil
}

func (res *Result) markdownTest(b *bytes.Buffer, test string) {
	for i, g := range res.Groups {
		header, rule, line := "| row |", "| --- |", "| "+cell(g.Name)+" |"
		for _, f := range g.Figures {
			if f.Test != test {
				continue
			}
			header += " " + f.Name + " |"
			rule += " ---: |"
			line += " " + f.text() + " |"
			if f.Name == "accuracy" {
				header += " difference |"
				rule += " ---: |"
				line += " " + f.differenceText() + " |"
			}
		}
		if i == 0 {
			fmt.Fprintf(b, "%s\n%s\n", header, rule)
		}
		fmt.Fprintln(b, line)
	}
}

// cell is text in a cell of a table.
func cell(text string) string {
	return strings.NewReplacer("|", `\|`, "\n", " ", "<", "&lt;").Replace(text)
}

// csv has a line for every figure of every row.
func (res *Result) csv() ([]byte, error) {
	var b bytes.Buffer
	w := csv.NewWriter(&b)
	lines := [][]string{{"row", "seed", "test", "figure", "value", "seconds_per_step", "hours", "peak_mib"}}
	number := func(v float64) string { return strconv.FormatFloat(v, 'g', -1, 64) }
	for _, g := range res.Groups {
		for _, f := range g.Figures {
			for i, v := range f.Values {
				lines = append(lines, []string{g.Name, fmt.Sprint(g.Seeds[i]), f.Test, f.Name, number(v), number(g.Cost.SecondsPerStep), number(g.Cost.Hours), number(g.Cost.PeakMiB)})
			}
		}
	}
	err := w.WriteAll(lines)
	return b.Bytes(), err
}
