package study

import (
	"bytes"
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"math"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"

	"facepipe/eval/uncertainty"
	"facepipe/eval/verification"
	"facepipe/internal/durable"
	"facepipe/internal/plain"
)

// The forms of the table, in a study's folder.
const (
	tableJSON     = "table.json"
	tableMarkdown = "table.md"
	tableCSV      = "table.csv"
)

// write puts what has been found so far into the study's folder. One process does so at a time, so
// that the last table has all rows.
func (r *runner) write(ctx context.Context) (_ *Result, err error) {
	lock, err := lockTable(ctx, r.o.Out)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, lock.Unlock()) }()
	res, err := r.result(ctx)
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
func (f *Figure) text() string {
	if f == nil {
		return "–"
	}
	if f.Std == nil {
		return shown(f.Name, f.Mean) + " (1)"
	}
	return fmt.Sprintf("%s ± %s (%d)", shown(f.Name, f.Mean), shown(f.Name, *f.Std), len(f.Values))
}

// differenceText is the difference to the baseline.
func (f *Figure) differenceText() string {
	if f == nil || f.Difference == nil {
		return ""
	}
	d := f.Difference
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

// find is a figure of a group, nil if it has none.
func (g Group) find(test, name string) *Figure {
	for i := range g.Figures {
		if f := &g.Figures[i]; f.Test == test && f.Name == name {
			return f
		}
	}
	return nil
}

// names are the figures that any group has of a test, in their order.
func (res *Result) names(test string) []string {
	var names []string
	for _, f := range verification.Figures(falseAccepts) {
		if slices.ContainsFunc(res.Groups, func(g Group) bool { return g.find(test, f.Name) != nil }) {
			names = append(names, f.Name)
		}
	}
	return names
}

// sentences say first what a reader wants to know. check asks for what the baseline's seeds tell.
func (res *Result) sentences(check bool) []string {
	lines := []string{}
	for _, f := range res.Failed {
		lines = append(lines, fmt.Sprintf("FAILED %s: %s", f.Row, f.lastLine()))
	}
	for _, text := range res.Warnings {
		lines = append(lines, "warning: "+text)
	}
	if n := len(res.Rows); res.States[Done] < n {
		text := fmt.Sprintf("%d of %d rows are done", res.States[Done], n)
		if running := res.States[Running]; running > 0 {
			text += fmt.Sprintf(", %d are with another process", running)
		}
		lines = append(lines, text+".")
	}
	for _, c := range res.Changed {
		lines = append(lines, c.String()+".")
	}
	for _, test := range res.Tests {
		if check || len(res.Groups) == 1 {
			lines = append(lines, res.spread(test)...)
		}
		if len(res.Groups) > 1 && test != res.Validation {
			lines = append(lines, res.verdict(test, "accuracy"))
		}
	}
	return lines
}

// many is a number of things, with an s unless it is one.
func many(n int, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return fmt.Sprintf("%d %ss", n, thing)
}

// spread says how far the baseline's seeds lie apart, and which difference from it that lets so
// many seeds find: those of two settings deviate independently, so that their differences spread
// √2 times as far.
func (res *Result) spread(test string) []string {
	for _, g := range res.Groups {
		f := g.find(test, "accuracy")
		if g.Name != res.Baseline || f == nil || f.Std == nil {
			continue
		}
		n := float64(len(f.Values))
		return []string{fmt.Sprintf("accuracy on %s of %s: %s; %.0f seeds would find a difference of %s points from that four times in five.",
			test, g.Name, f.text(), n, shown(f.Name, power80*math.Sqrt2**f.Std/math.Sqrt(n)))}
	}
	return nil
}

// verdict says which groups differ from the baseline in a figure.
func (res *Result) verdict(test, figure string) string {
	kinds := []struct {
		text   string
		groups []string
	}{{text: "better"}, {text: "worse"}, {text: "better by the interval alone"}, {text: "worse by the interval alone"}}
	compared, seeds, largest, least := 0, 0, 0.0, 1.0
	for _, g := range res.Groups {
		f := g.find(test, figure)
		if f == nil || f.Difference == nil {
			continue
		}
		d := f.Difference
		compared, seeds, least = compared+1, max(seeds, len(d.Delta.Values)), min(least, d.LeastP)
		if d.Detectable != nil {
			largest = max(largest, *d.Detectable)
		}
		kind := 0
		if d.Delta.Mean < 0 {
			kind++
		}
		if !f.real() {
			kind += 2
		}
		if d.Interval != nil && !d.Interval.Holds(0) && len(d.Delta.Values) > 1 {
			kinds[kind].groups = append(kinds[kind].groups, g.Name)
		}
	}
	text := fmt.Sprintf("%s on %s against %s: ", figure, test, res.Baseline)
	if compared == 0 {
		return text + "nothing to compare yet."
	}
	var parts []string
	for _, k := range kinds {
		if len(k.groups) > 0 {
			parts = append(parts, strings.Join(k.groups, ", ")+" "+k.text)
		}
	}
	if parts == nil {
		parts = []string{"no difference can be told"}
	}
	if least *= float64(compared); least > 0.05 {
		parts = append(parts, fmt.Sprintf("%s and %s: p by Holm is at least %.2g, so that none can be significant at 5 %%", many(seeds, "seed"), many(compared, "difference"), min(least, 1)))
	}
	if largest > 0 {
		parts = append(parts, fmt.Sprintf("differences of %s points or more would be found four times in five", shown(figure, largest)))
	}
	return text + strings.Join(parts, "; ") + "."
}

// real is whether a difference is one by both measures: the interval over seeds and people, and the
// p of the seeds, adjusted.
func (f *Figure) real() bool {
	d := f.Difference
	return d.Interval != nil && !d.Interval.Holds(0) && f.Adjusted != nil && *f.Adjusted <= 0.05
}

// Print writes the table for a terminal.
func (res *Result) Print(w io.Writer) {
	for _, line := range res.Says {
		plain.Fprintf(w, "%s\n", line)
	}
	if len(res.Groups) == 0 {
		return
	}
	main := []string{"accuracy", "tar_at_far 1e-3"}
	tabs := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprint(tabs, "ROW")
	each := func(visit func(test, figure string)) {
		for _, test := range res.Tests {
			for _, figure := range res.names(test) {
				if slices.Contains(main, figure) {
					visit(test, figure)
				}
			}
		}
	}
	each(func(test, figure string) {
		fmt.Fprintf(tabs, "\t%s\tDIFFERENCE", strings.ToUpper(plain.Text(test)+" "+figure))
	})
	fmt.Fprintln(tabs, "\tMS/STEP\tHOURS\tMIB")
	for _, g := range res.Groups {
		fmt.Fprint(tabs, plain.Text(g.Name))
		each(func(test, figure string) {
			f := g.find(test, figure)
			fmt.Fprintf(tabs, "\t%s\t%s", f.text(), f.differenceText())
		})
		fmt.Fprintf(tabs, "\t%.0f\t%.2f\t%s\n", 1000*g.Cost.SecondsPerStep, g.Cost.Hours, g.Cost.memory())
	}
	_ = tabs.Flush()
}

// inTheLoop is what a step would take with the teacher in the loop, in ms, and how many times that
// is as long.
func (c Cost) inTheLoop() string {
	if c.WithTeacher == 0 || c.SecondsPerStep == 0 {
		return "–"
	}
	return fmt.Sprintf("%.0f (×%.1f)", 1000*c.WithTeacher, c.WithTeacher/c.SecondsPerStep)
}

// memory is the peak in MiB.
func (c Cost) memory() string {
	if c.PeakMiB == 0 {
		return "–"
	}
	return fmt.Sprintf("%.0f", c.PeakMiB)
}

// markdown is the table for people who read files.
func (res *Result) markdown() ([]byte, error) {
	var b bytes.Buffer
	fmt.Fprintf(&b, "# %s\n\n", plain.Markdown(strings.TrimSuffix(filepath.Base(res.Study), filepath.Ext(res.Study))))
	for _, line := range res.Says {
		fmt.Fprintf(&b, "%s\n\n", plain.Markdown(line))
	}
	fmt.Fprintf(&b, "Mean ± standard deviation over seeds (their number). Differences are to %s, paired by seed, with the %.0f %% interval of a bootstrap over seeds and people, and the p of all sign flips. Tested: %s.\n",
		plain.Markdown(res.Baseline), 100*uncertainty.DefaultLevel, res.ChosenBy)
	for _, test := range res.Tests {
		res.markdownTest(&b, test)
	}
	fmt.Fprintf(&b, "\n## Cost\n\n| row | loss | seeds | parameters | steps | ms a step | with the teacher in the loop | hours | MiB |\n| --- | --- | --- | ---: | ---: | ---: | ---: | ---: | ---: |\n")
	for _, g := range res.Groups {
		fmt.Fprintf(&b, "| %s | %s | %s | %d | %d | %.0f | %s | %.2f | %s |\n", plain.Cell(g.Name), plain.Cell(g.Loss), plain.Cell(strings.Trim(fmt.Sprint(g.Seeds), "[]")),
			g.Cost.Parameters, g.Cost.Steps, 1000*g.Cost.SecondsPerStep, g.Cost.inTheLoop(), g.Cost.Hours, g.Cost.memory())
	}
	return b.Bytes(), nil
}

func (res *Result) markdownTest(b *bytes.Buffer, test string) {
	names := res.names(test)
	if len(names) == 0 {
		return
	}
	fmt.Fprintf(b, "\n## %s\n\n| row |", plain.Markdown(test))
	rule := "| --- |"
	for _, name := range names {
		fmt.Fprintf(b, " %s | difference |", name)
		rule += " ---: | ---: |"
	}
	fmt.Fprintf(b, "\n%s\n", rule)
	for _, g := range res.Groups {
		fmt.Fprintf(b, "| %s |", plain.Cell(g.Name))
		for _, name := range names {
			f := g.find(test, name)
			fmt.Fprintf(b, " %s | %s |", f.text(), f.differenceText())
		}
		fmt.Fprintln(b)
	}
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
