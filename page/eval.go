package page

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"path/filepath"
	"slices"
	"strings"

	"facepipe/eval/report"
	"facepipe/eval/uncertainty"
	"facepipe/eval/verification"
)

// evalParts describe evals; several get a comparison before them.
func evalParts(ctx context.Context, m *maker, paths []string) ([]Part, error) {
	var whole, evals []*evaluation
	for _, path := range paths {
		e, err := readEval(path)
		if err != nil {
			return nil, err
		}
		whole, evals = append(whole, e), append(evals, e.tests()...)
		if err := ctx.Err(); err != nil {
			return nil, err
		}
	}
	var parts []Part
	if len(evals) > 1 {
		parts = append(parts, compared(m, whole, evals))
	}
	for _, e := range evals {
		parts = append(parts, e.part(m))
	}
	return parts, nil
}

func (e *evaluation) part(m *maker) Part {
	p := Part{Path: e.path, Title: "Face verification on " + e.name(), Answer: e.answer(), Warnings: e.warnings()}
	if e.raw != nil {
		p.Data = e.raw
	}
	for _, s := range []Section{
		e.models(), e.thresholds(), e.differences(), e.curves(), e.scores(), e.cohorts(), e.falseAccepts(m), e.falseRejects(m),
		e.identification(), e.agreement(), e.costs(), e.variants(), e.clean(), e.overlaps(m), e.failed(), e.further(), e.protocol(), e.digests(), e.command(),
	} {
		if len(s.Blocks) > 0 {
			p.Sections = append(p.Sections, s)
		}
	}
	return p
}

// labels are the shortest names that tell the models apart.
func (e *evaluation) labels() []string {
	var names []string
	for _, row := range e.Report.Table().Rows {
		names = append(names, row.Label)
	}
	return names
}

// best is the model with the highest accuracy, or area where there are no folds; -1 without
// a model.
func (e *evaluation) best() int {
	best := -1
	for i := range e.Report.Models {
		if best < 0 || e.merit(i) > e.merit(best) {
			best = i
		}
	}
	return best
}

func (e *evaluation) merit(i int) float64 {
	switch m := e.Report.Models[i]; {
	case m.CrossValidation != nil:
		return m.Accuracy
	case m.OnlyIdentifies():
		value, _ := headline(m.Identification)
		return value
	default:
		return m.AUC
	}
}

// figureOf is the figure that models are compared by, in words.
func (e *evaluation) figureOf(i int) string {
	m := e.Report.Models[i]
	if m.CrossValidation == nil {
		if m.OnlyIdentifies() {
			_, words := headline(m.Identification)
			return words
		}
		return "AUC " + number(m.AUC, 5)
	}
	text := "accuracy " + percent(m.Accuracy, 2)
	if u := e.Report.Models[i].Uncertainty; u != nil && u.Accuracy.Interval != nil {
		text += " (" + between(u.Accuracy.Interval, 100, 2) + ")"
	}
	return text
}

// answer is what most readers come for.
func (e *evaluation) answer() string {
	best := e.best()
	if best < 0 {
		return fmt.Sprintf("None of %s could be measured.", many(len(e.Failed), "model"))
	}
	names := e.labels()
	m := e.Report.Models[best]
	on := many(m.Pairs, "pair")
	if m.Pairs == 0 {
		on = e.name()
	}
	text := fmt.Sprintf("%s reaches %s on %s", names[best], e.figureOf(best), on)
	if len(names) > 1 {
		text = fmt.Sprintf("Of %d models, %s is best on %s: %s", len(names), names[best], on, e.figureOf(best))
	}
	if n := len(m.OperatingPoints); n > 0 {
		strictest := m.OperatingPoints[0]
		for _, p := range m.OperatingPoints {
			if p.Target < strictest.Target {
				strictest = p
			}
		}
		text += fmt.Sprintf("; at most %s false accepts leave it %s of true pairs, above a cosine of %s", oneIn(strictest.Target), percent(strictest.TAR, 2), number(strictest.Cosine, 3))
	}
	return text + "." + e.verdict(names)
}

// verdict says whether the other models differ by more than chance, "" where that was not
// looked at.
func (e *evaluation) verdict(names []string) string {
	var sure, unsure []string
	for _, c := range e.Comparisons {
		d := c.Accuracy
		if c.AccuracyRule == uncertainty.BestThreshold { // there are no folds: see merit
			d = c.AUC
		}
		p := cmp.Or(d.Adjusted, d.P)
		switch {
		case p == nil:
		case *p < 0.05:
			sure = append(sure, e.labelOf(c.B, names))
		default:
			unsure = append(unsure, e.labelOf(c.B, names))
		}
	}
	text := ""
	if len(sure) > 0 {
		text += fmt.Sprintf(" %s and %s differ by more than chance explains.", names[0], strings.Join(sure, ", "))
	}
	if len(unsure) > 0 {
		text += fmt.Sprintf(" The pairs are too few to tell %s from %s.", strings.Join(unsure, ", "), names[0])
	}
	return text
}

// labelOf is the label of a model that is named by its path.
func (e *evaluation) labelOf(path string, names []string) string {
	for i, m := range e.Report.Models {
		if m.Model == path {
			return names[i]
		}
	}
	return filepath.Base(path)
}

// oneIn is a small rate in words: 1e-3 is "1 in 1,000".
func oneIn(rate float64) string {
	n := 1 / rate
	if rounded := math.Round(n); rounded >= 2 && math.Abs(n-rounded) < 1e-6*n {
		return "1 in " + count(int64(rounded))
	}
	return percent(rate, 3)
}

// short is a target in the field's short form, "1e-3".
func short(target float64) string { return verification.RateName(target) }

// between is an interval of values times a factor.
func between(i *uncertainty.Interval, factor float64, digits int) string {
	return number(factor*i.Low, digits) + " to " + number(factor*i.High, digits)
}

// warnings are the report's own, and what of the list of pairs must not be overlooked.
func (e *evaluation) warnings() (list []string) {
	warn := func(format string, args ...any) {
		if text := fmt.Sprintf(format, args...); !slices.Contains(list, text) {
			list = append(list, text)
		}
	}
	for _, w := range e.AllWarnings() {
		warn("%s", inWords(w))
	}
	if n := e.Pairs.MissingPairs; n > 0 {
		warn("%s left out, as %s missing from the dataset.", are(n, "pair"), are(len(e.Pairs.Missing), "image"))
	}
	if n := e.Pairs.IdenticalPairs; n > 0 {
		warn("%s compare an image with itself.", many(n, "pair"))
	}
	for _, note := range e.Pairs.Notes {
		warn("%s: %s", note.About, note.Text)
	}
	names := e.labels()
	for i, m := range e.Report.Models {
		for _, note := range m.Notes {
			warn("%s: %s", names[i], note)
		}
	}
	const most = 30
	if n := len(list); n > most {
		list = append(list[:most:most], fmt.Sprintf("and %d more, in report.json", n-most))
	}
	return list
}

// are is a number of things with the verb.
func are(n int, thing string) string {
	if n == 1 {
		return many(n, thing) + " is"
	}
	return many(n, thing) + " are"
}

// column is a figure of all models, with what is better.
type modelColumn struct {
	Column
	better int
	of     func(i int) (value float64, cell Cell, ok bool)
}

// models is the table of models.
func (e *evaluation) models() Section {
	s := Section{ID: "models", Title: "Models"}
	names := e.labels()
	if len(names) == 0 {
		return s
	}
	t := &Table{Head: "Model"}
	for i, name := range names {
		note := fmt.Sprintf("%d dimensions", e.Report.Models[i].Dim)
		if kind := e.Report.Models[i].Kind; kind != "" {
			note = kind + ", " + note
		}
		t.Rows = append(t.Rows, Row{Head: name, Note: note})
	}
	for _, c := range e.columns() {
		c.addTo(t)
	}
	if len(names) > 1 {
		s.Lead = "★ is the best of its column."
	}
	if len(e.Comparisons) > 0 {
		s.Lead += " A difference in italics is no more than chance explains."
	}
	s.Blocks = []Block{{Table: t.cut()}}
	return s
}

// addTo adds a column to a table, unless no model has it.
func (c modelColumn) addTo(t *Table) {
	made := make([]Cell, len(t.Rows))
	values := make([]float64, len(t.Rows))
	has := make([]bool, len(t.Rows))
	best, any := math.Inf(-1), 0
	for i := range t.Rows {
		values[i], made[i], has[i] = c.of(i)
		if !has[i] {
			made[i] = Cell{Text: "–", Faint: true}
			continue
		}
		any++
		best = max(best, float64(c.better)*values[i])
	}
	if any == 0 {
		return
	}
	t.Columns = append(t.Columns, c.Column)
	for i := range t.Rows {
		made[i].Best = c.better != 0 && any > 1 && has[i] && float64(c.better)*values[i] == best
		t.Rows[i].Cells = append(t.Rows[i].Cells, made[i])
	}
}

func (e *evaluation) columns() []modelColumn {
	list := []modelColumn{{Column{Title: "identification"}, 1, e.foundCell}, {Column{Title: "accuracy %", Define: "accuracy"}, 1, e.accuracyCell}, {Column{Title: "Δ to the first", Define: "interval"}, 0, e.deltaCell}}
	for _, target := range e.targets() {
		list = append(list, modelColumn{Column{Title: "TAR@FAR " + short(target), Define: "tar"}, 1, func(i int) (float64, Cell, bool) { return e.tarCell(i, target) }})
	}
	return append(list,
		modelColumn{Column{Title: "AUC", Define: "auc"}, 1, func(i int) (float64, Cell, bool) {
			m := e.Report.Models[i]
			return m.AUC, Cell{Text: number(m.AUC, 5), Note: e.noted(i, func(u *uncertainty.Summary) *uncertainty.Interval { return u.AUC.Interval }, 1, 5)}, m.Pairs > 0
		}},
		modelColumn{Column{Title: "EER %", Define: "eer"}, -1, func(i int) (float64, Cell, bool) {
			m := e.Report.Models[i]
			return m.EER, Cell{Text: number(100*m.EER, 2), Note: e.noted(i, func(u *uncertainty.Summary) *uncertainty.Interval { return u.EER.Interval }, 100, 2)}, m.Pairs > 0
		}},
		modelColumn{Column{Title: "images/s"}, 1, func(i int) (float64, Cell, bool) {
			m := e.Report.Models[i]
			return m.ImagesPerSecond, Cell{Text: number(m.ImagesPerSecond, 0)}, m.ImagesPerSecond > 0
		}},
	)
}

// noted is an interval as a cell's note, "" without one.
func (e *evaluation) noted(i int, of func(*uncertainty.Summary) *uncertainty.Interval, factor float64, digits int) string {
	u := e.Report.Models[i].Uncertainty
	if u == nil || of(u) == nil {
		return ""
	}
	return between(of(u), factor, digits)
}

// foundCell is the headline of a protocol with many comparisons.
func (e *evaluation) foundCell(i int) (float64, Cell, bool) {
	r := e.Report.Models[i].Identification
	if r == nil {
		return 0, Cell{}, false
	}
	value, words := headline(r)
	return value, Cell{Text: words}, true
}

func (e *evaluation) accuracyCell(i int) (float64, Cell, bool) {
	m := e.Report.Models[i]
	if m.CrossValidation == nil {
		return 0, Cell{}, false
	}
	return m.Accuracy, accuracyOf(m.Result, m.Uncertainty), true
}

// deltaCell is the difference in accuracy to the first model.
func (e *evaluation) deltaCell(i int) (float64, Cell, bool) {
	for _, c := range e.Comparisons {
		if i > 0 && c.B == e.Report.Models[i].Model && (c.A == e.Report.Models[0].Model) {
			return c.Accuracy.Delta, differenceCell(c.Accuracy, 100, 2), true
		}
	}
	first := e.Report.Models[0]
	if m := e.Report.Models[i]; i > 0 && m.CrossValidation != nil && first.CrossValidation != nil {
		return m.Accuracy - first.Accuracy, Cell{Text: signed(100*(m.Accuracy-first.Accuracy), 2)}, true
	}
	return 0, Cell{}, false
}

// differenceCell is a difference times a factor, with its interval and p.
func differenceCell(d uncertainty.Difference, factor float64, digits int) Cell {
	c := Cell{Text: signed(factor*d.Delta, digits)}
	if d.Interval != nil {
		c.Note = between(d.Interval, factor, digits)
	}
	p := d.Adjusted
	if p == nil {
		p = d.P
	}
	if p != nil {
		c.Note += "\np " + probability(*p)
		c.Faint = *p >= 0.05
	}
	return c
}

func signed(v float64, digits int) string {
	text := number(v, digits)
	if v > 0 {
		text = "+" + text
	}
	return text
}

func probability(p float64) string {
	if p < 0.001 {
		return "< 0.001"
	}
	return "= " + number(p, 3)
}

// targets are the false accept rates of all models' operating points, the largest first.
func (e *evaluation) targets() (targets []float64) {
	for _, m := range e.Report.Models {
		for _, p := range m.OperatingPoints {
			if !slices.Contains(targets, p.Target) {
				targets = append(targets, p.Target)
			}
		}
	}
	slices.Sort(targets)
	slices.Reverse(targets)
	const most = 12
	return targets[:min(len(targets), most)]
}

func (e *evaluation) tarCell(i int, target float64) (float64, Cell, bool) {
	for _, p := range e.Report.Models[i].OperatingPoints {
		if p.Target != target {
			continue
		}
		note := ""
		if u := e.Report.Models[i].Uncertainty; u != nil {
			for _, op := range u.OperatingPoints {
				if op.Target == target && op.FNMR.Interval != nil {
					note = between(&uncertainty.Interval{Low: 1 - op.FNMR.Interval.High, High: 1 - op.FNMR.Interval.Low}, 1, 4)
				}
			}
		}
		return p.TAR, Cell{Text: number(p.TAR, 4), Note: note}, true
	}
	return 0, Cell{}, false
}

// thresholds are what to set for the rate of false matches that one wants.
func (e *evaluation) thresholds() Section {
	s := Section{ID: "thresholds", Title: "Threshold for the FMR you want", Lead: "Take two faces for one person where the cosine of their embeddings is above the threshold. In italics: fewer than 30 errors, which tell little."}
	names := e.labels()
	const most = 20
	for i := range e.Report.Models[:min(len(e.Report.Models), most)] {
		t := e.thresholdTable(i)
		if len(t.Rows) == 0 {
			continue
		}
		b := Block{Table: t.cut()}
		if len(names) > 1 {
			b.Title = names[i]
		}
		s.Blocks = append(s.Blocks, b)
	}
	return s
}

func (e *evaluation) thresholdTable(i int) *Table {
	t := &Table{Head: "False match rate", Columns: []Column{
		{Title: "threshold (cosine)", Define: "threshold"}, {Title: "as distance", Define: "threshold"}, {Title: "false matches", Define: "far"}, {Title: "false non-matches", Define: "fnmr"},
	}}
	for _, th := range e.thresholdsOf(i) {
		cosine := Cell{Text: number(th.Cosine, 4)}
		if th.CosineInterval != nil {
			cosine.Note = between(th.CosineInterval, 1, 3)
		}
		t.Rows = append(t.Rows, Row{Head: oneIn(th.Target), Note: short(th.Target), Cells: []Cell{cosine, {Text: number(th.Distance, 4)}, rateCell(th.FMR), rateCell(th.FNMR)}})
	}
	for _, n := range e.Report.Models[i].NotMeasurable {
		none := Cell{Text: "–", Faint: true}
		t.Rows = append(t.Rows, Row{Head: oneIn(n.Target), Note: short(n.Target), Cells: []Cell{
			{Text: "not measurable", Note: fmt.Sprintf("needs %s pairs of different people,\nthere are %s", count(n.Needs), count(n.Different)), Faint: true}, none, none, none,
		}})
	}
	return t
}

// thresholdsOf are those of a model, with what is known of them; of a report of an older
// pipe, which has no table of them, its operating points.
func (e *evaluation) thresholdsOf(i int) []verification.Threshold {
	m := e.Report.Models[i]
	list := slices.Clone(m.Thresholds)
	if len(list) == 0 {
		for _, p := range m.OperatingPoints {
			list = append(list, verification.Threshold{
				Target: p.Target, Cosine: p.Cosine, Distance: p.Threshold,
				FMR:  verification.Rate{Rate: p.FAR, Errors: int(math.Round(p.FAR * float64(m.Different))), Of: m.Different},
				FNMR: verification.Rate{Rate: 1 - p.TAR, Errors: int(math.Round((1 - p.TAR) * float64(m.Same))), Of: m.Same},
			})
		}
	}
	if u := e.Report.Models[i].Uncertainty; u != nil {
		for k := range list {
			widen(&list[k], u)
		}
	}
	return list
}

// widen adds the intervals that are known of a threshold.
func widen(t *verification.Threshold, u *uncertainty.Summary) {
	for _, p := range u.OperatingPoints {
		if p.Target == t.Target {
			t.CosineInterval = cmp.Or(t.CosineInterval, p.ThresholdCosine.Interval)
			t.FMR.Interval = cmp.Or(t.FMR.Interval, p.Fixed.FMR.Interval)
			t.FNMR.Interval = cmp.Or(t.FNMR.Interval, p.Fixed.FNMR.Interval)
		}
	}
}

// rateCell shows a rate of errors with its counts and interval.
func rateCell(r verification.Rate) Cell {
	c := Cell{Text: percent(r.Rate, 3), Note: count(r.Errors) + " of " + count(r.Of), Faint: r.Errors < verification.RuleOf30}
	if r.Interval != nil {
		c.Note += "\n" + between(r.Interval, 100, 3)
	}
	return c
}

// differences are those of each model to the first.
func (e *evaluation) differences() Section {
	s := Section{ID: "differences", Title: "Differences to the first model", Lead: "In italics: no more than chance explains."}
	if len(e.Comparisons) == 0 {
		return s
	}
	names := e.labels()
	t := &Table{Head: "Model", Columns: []Column{{Title: "accuracy, points", Define: "accuracy"}, {Title: "AUC", Define: "auc"}, {Title: "EER, points", Define: "eer"}}}
	for _, d := range e.Comparisons[0].FNMR {
		t.Columns = append(t.Columns, Column{Title: "FNMR@FMR " + short(d.Target) + ", points", Define: "fnmr"})
	}
	t.Columns = append(t.Columns, Column{Title: "only the first right"}, Column{Title: "only this one right"}, Column{Title: "McNemar", Define: "p"})
	for _, c := range e.Comparisons {
		row := Row{Head: e.labelOf(c.B, names), Cells: []Cell{differenceCell(c.Accuracy, 100, 2), differenceCell(c.AUC, 1, 5), differenceCell(c.EER, 100, 2)}}
		for k := range e.Comparisons[0].FNMR {
			cell := Cell{Text: "–", Faint: true}
			if k < len(c.FNMR) {
				cell = differenceCell(c.FNMR[k], 100, 2)
			}
			row.Cells = append(row.Cells, cell)
		}
		last := cells("–", "–", "–")
		if d := c.Accuracy.Decisions; d != nil {
			last = cells(count(d.OnlyA), count(d.OnlyB), "p "+probability(d.McNemar))
		}
		row.Cells = append(row.Cells, last...)
		t.Rows = append(t.Rows, row)
	}
	s.Blocks = []Block{{Table: t.cut()}}
	return s
}

func (e *evaluation) failed() Section {
	s := Section{ID: "failed", Title: "Not measured"}
	var list []Fact
	for _, f := range e.Failed {
		text := f.Error
		if f.UnusablePairs > 0 {
			text += fmt.Sprintf(" (%s, %s)", many(f.UnusablePairs, "unusable pair"), many(len(f.UnusableCrops), "unusable crop"))
		}
		list = append(list, Fact{f.Model, text})
	}
	if len(list) > 0 {
		s.Blocks = []Block{{Facts: list}}
	}
	return s
}

// protocol is what the report says in words.
func (e *evaluation) protocol() Section {
	s := Section{ID: "protocol", Title: "Protocol and models", Folded: true}
	for _, section := range e.Sections() {
		b := Block{Title: section.Title}
		b.Facts = worded(section.Facts, "")
		if len(b.Facts) > 0 {
			s.Blocks = append(s.Blocks, b)
		}
	}
	return s
}

// worded are facts of a report, those below others after them.
func worded(facts []report.Fact, above string) (list []Fact) {
	for _, f := range facts {
		list = append(list, Fact{above + inWords(f.About), inWords(f.Is)})
		list = append(list, worded(f.More, "· ")...)
	}
	return list
}

func inWords(t report.Text) string {
	var b strings.Builder
	for _, span := range t {
		b.WriteString(span.Text)
	}
	return oneLine(b.String())
}

func (e *evaluation) digests() Section {
	list := facts(
		Fact{"Report", reportFile(e.path)}, Fact{"Dataset", e.Dataset.Path}, Fact{"Dataset's digest", e.Dataset.Digest},
		Fact{"Pairs", e.Pairs.Path}, Fact{"Pairs' SHA-256", e.Pairs.Digest},
		Fact{"ONNX Runtime", strings.TrimSpace(e.Runtime + " on " + e.Provider)}, Fact{"Decoder", e.Decoder},
	)
	for _, m := range e.Report.Models {
		list = append(list, Fact{m.Model, m.Digest})
	}
	return Section{ID: "digests", Title: "Digests and environment", Folded: true, Blocks: []Block{{Facts: list}}}
}

func (e *evaluation) command() Section {
	s := Section{ID: "command", Title: "Command"}
	if len(e.Command) > 0 {
		s.Blocks = []Block{{Code: quoted(e.Command)}}
	}
	return s
}

// quoted is a command line that a shell takes apart again.
func quoted(words []string) string {
	list := make([]string, len(words))
	for i, w := range words {
		if w == "" || strings.ContainsAny(w, " \t\n\"'\\$`*?[]{}()<>|&;#~!") {
			w = "'" + strings.ReplaceAll(w, "'", `'\''`) + "'"
		}
		list[i] = w
	}
	return strings.Join(list, " ")
}

// compared puts the models of several tests side by side: a column a test. Evals of one test
// share a column, unless a model is in both.
func compared(m *maker, whole, evals []*evaluation) Part {
	p := Part{Path: whole[0].path, Title: many(len(evals), "evaluation")}
	t := &Table{Head: "Model"}
	keys := []string{}
	rows := map[string]int{}
	for _, e := range evals {
		names := e.labels()
		for i, m := range e.Report.Models {
			row, met := rows[m.Model+m.Digest]
			if !met {
				row = len(t.Rows)
				rows[m.Model+m.Digest] = row
				t.Rows = append(t.Rows, Row{Head: names[i], Note: m.Model})
			}
			column := 0
			for column < len(keys) && (keys[column] != e.key() || column < len(t.Rows[row].Cells) && t.Rows[row].Cells[column].Text != "") {
				column++
			}
			if column == len(keys) {
				keys = append(keys, e.key())
				t.Columns = append(t.Columns, Column{Title: e.name(), Define: "accuracy"})
			}
			for len(t.Rows[row].Cells) <= column {
				t.Rows[row].Cells = append(t.Rows[row].Cells, Cell{})
			}
			t.Rows[row].Cells[column] = e.comparedCell(i)
		}
	}
	fill(t, len(keys))
	p.Answer = fmt.Sprintf("%s on %s, side by side: accuracy in per cent.", many(len(t.Rows), "model"), many(len(keys), "test"))
	p.Sections = []Section{{ID: "comparison", Title: "Side by side", Blocks: []Block{{Table: t.cut()}}}}
	for _, e := range whole {
		if e.raw != nil && len(e.Report.Tests) > 1 {
			p.Warnings = append(p.Warnings, e.Report.Warnings...)
			p.Data = e.raw
			for _, s := range []Section{e.overlaps(m), e.variants(), e.failed(), e.further(), e.command()} {
				if len(s.Blocks) > 0 {
					p.Sections = append(p.Sections, s)
				}
			}
		}
	}
	return p
}

// key tells tests apart whose figures must not be in one column.
func (e *evaluation) key() string {
	return fmt.Sprint(e.Pairs.Digest, e.Dataset.Digest, e.Flip, e.FoldRule, e.Folds, e.name())
}

func (e *evaluation) comparedCell(i int) Cell {
	if _, cell, ok := e.accuracyCell(i); ok {
		return cell
	}
	if m := e.Report.Models[i]; m.Pairs > 0 {
		return Cell{Text: number(m.AUC, 5), Note: "AUC"}
	}
	_, cell, _ := e.foundCell(i)
	return cell
}

// fill has a dash where a row lacks a cell.
func fill(t *Table, columns int) {
	for r := range t.Rows {
		for len(t.Rows[r].Cells) < columns {
			t.Rows[r].Cells = append(t.Rows[r].Cells, Cell{})
		}
		for c := range t.Rows[r].Cells {
			if t.Rows[r].Cells[c].Text == "" {
				t.Rows[r].Cells[c] = Cell{Text: "–", Faint: true}
			}
		}
	}
}
