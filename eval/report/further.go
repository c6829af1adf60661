package report

import (
	"fmt"
	"strings"

	"facepipe/eval/cohort"
	"facepipe/eval/cost"
	"facepipe/eval/uncertainty"
	"facepipe/eval/verification"
)

// accuracyInterval is that of a model's accuracy, in percent, "" where it was not computed.
func accuracyInterval(u *uncertainty.Summary) string {
	if u == nil || u.Accuracy.Interval == nil {
		return ""
	}
	return fmt.Sprintf("%.2f to %.2f", 100*u.Accuracy.Interval.Low, 100*u.Accuracy.Interval.High)
}

// interval is that of a model's accuracy.
func (m Model) interval() string {
	if m.CrossValidation == nil {
		return ""
	}
	return accuracyInterval(m.Uncertainty)
}

// accuracyOf is an accuracy in percent, "" where there is none.
func accuracyOf(r verification.Result) string {
	if r.CrossValidation == nil {
		return ""
	}
	return fmt.Sprintf("%.2f ± %.2f", 100*r.Accuracy, 100*r.PlusMinus())
}

// cleanAccuracy is a model's accuracy without what a training set holds.
func (m Model) cleanAccuracy() string {
	if m.Clean == nil || m.Clean.CrossValidation == nil {
		return ""
	}
	text := accuracyOf(m.Clean.Result)
	if interval := accuracyInterval(m.Clean.Uncertainty); interval != "" {
		text += " (" + interval + ")"
	}
	return text
}

// parameters and macs are what a model's file tells of its cost.
func (m Model) parameters() string {
	if m.Cost == nil {
		return ""
	}
	return fmt.Sprintf("%.2f M", float64(m.Cost.Parameters)/1e6)
}

func (m Model) macs() string {
	if m.Cost == nil || m.Cost.Multiplications == nil {
		return ""
	}
	return fmt.Sprintf("%.0f M", float64(m.Cost.Multiplications.MACs+m.Cost.Multiplications.Attention)/1e6)
}

// furtherSections are what is said beside figures.
func (r Report) furtherSections() (sections []Section) {
	for _, s := range []Section{
		{"Intervals", r.intervals()}, {"Comparison with the first", r.comparisons()}, {"Overlap with the training set", r.overlap()}, {"Groups", r.cohorts()},
		{"Agreement with the first", r.agreements()}, {"Cost", r.costs()}, {"Precisions of one model", r.variants()},
	} {
		if len(s.Facts) > 0 {
			sections = append(sections, s)
		}
	}
	return sections
}

func fact(about Text, format string, args ...any) Fact {
	return Fact{About: about, Is: Text{words(format, args...)}}
}

// on is what is said of a test, where there are several.
func on(test string) Span {
	if test == "" {
		return words("")
	}
	return words(" on %s", test)
}

// intervals are those of figures that no table has, and how all were found.
func (r Report) intervals() (facts []Fact) {
	labels := r.labels()
	for i, m := range r.Models {
		if m.Uncertainty == nil {
			continue
		}
		facts = append(facts, intervalsOf(labels[i], m.Result, *m.Uncertainty))
		if m.Clean != nil && m.Clean.Uncertainty != nil {
			facts = append(facts, intervalsOf(labels[i]+" without overlap", m.Clean.Result, *m.Clean.Uncertainty))
		}
	}
	return facts
}

// intervalsOf are those of a model.
func intervalsOf(label string, result verification.Result, u uncertainty.Summary) Fact {
	how := words("%g %% intervals over %d people", 100*u.Level, u.Identities)
	if u.Replicates > 0 {
		how.Text += fmt.Sprintf(", %d replicates of the bootstrap (seed %d)", u.Replicates, u.Seed)
	}
	f := Fact{About: Text{literal(label)}, Is: Text{how}}
	add := func(about string, i *uncertainty.Interval, format string, factor float64) {
		if i != nil {
			f.More = append(f.More, fact(Text{words("%s", about)}, format, factor*i.Low, factor*i.High))
		}
	}
	if result.CrossValidation != nil {
		add("accuracy", u.Accuracy.Interval, "%.2f to %.2f %%", 100)
	}
	add("AUC", u.AUC.Interval, "%.5f to %.5f", 1)
	add("EER", u.EER.Interval, "%.2f to %.2f %%", 100)
	for _, p := range u.OperatingPoints {
		add("TAR@FAR "+p.Name(), tarInterval(p.FNMR.Interval), "%.4f to %.4f, the threshold found anew", 1)
	}
	for _, note := range u.Notes {
		f.More = append(f.More, fact(Text{words("note")}, "%s", note))
	}
	return f
}

// tarInterval is that of TAR = 1 - FNMR.
func tarInterval(fnmr *uncertainty.Interval) *uncertainty.Interval {
	if fnmr == nil {
		return nil
	}
	return &uncertainty.Interval{Low: 1 - fnmr.High, High: 1 - fnmr.Low}
}

// comparisons say how models differ from the first.
func (r Report) comparisons() (facts []Fact) {
	for _, c := range r.Comparisons {
		accuracy := "accuracy"
		if c.AccuracyRule == uncertainty.BestThreshold {
			accuracy = "accuracy at each one's best threshold"
		}
		f := Fact{About: Text{literal(c.B), words(" against "), literal(c.A), on(c.Test)}, Is: Text{words("%s: %s%s", accuracy, c.Accuracy, because(c.Accuracy))}}
		differences := []struct {
			name string
			uncertainty.Difference
		}{{"AUC", c.AUC}, {"EER", c.EER}}
		for _, d := range c.FNMR {
			differences = append(differences, struct {
				name string
				uncertainty.Difference
			}{"FNMR at FMR " + verification.RateName(d.Target), d})
		}
		for _, d := range differences {
			f.More = append(f.More, fact(Text{words("%s", d.name)}, "%s%s", d.Difference, because(d.Difference)))
		}
		for _, note := range c.Notes {
			f.More = append(f.More, fact(Text{words("note")}, "%s", note))
		}
		facts = append(facts, f)
	}
	return facts
}

// because are the p values of a difference, and what they were counted from.
func because(d uncertainty.Difference) string {
	var parts []string
	if d.P != nil {
		parts = append(parts, fmt.Sprintf("p %.3g", *d.P))
	}
	if d.Adjusted != nil && (d.P == nil || *d.Adjusted != *d.P) {
		parts = append(parts, fmt.Sprintf("Holm %.3g", *d.Adjusted))
	}
	if s := d.Decisions; s != nil {
		parts = append(parts, fmt.Sprintf("only the first right on %d pairs, only this one on %d, McNemar p %.3g", s.OnlyA, s.OnlyB, s.McNemar))
	}
	if len(parts) == 0 {
		return ""
	}
	return "; " + strings.Join(parts, "; ")
}

// overlap says what a training set holds.
func (r Report) overlap() (facts []Fact) {
	o := r.Overlap
	if o == nil {
		return nil
	}
	facts = append(facts, Fact{About: Text{words("Training set")}, Is: Text{literal(o.Train), words(", looked for by teacher "), literal(o.Teacher)}},
		fact(Text{words("Found")}, "%d of %d test crops are in a hit or show a person who is; %d people; %d hits", o.DirtyCrops, o.TestSide.Crops, o.DirtyIdentities, len(o.Hits)+o.Unlisted))
	if s := o.Centres; s != nil {
		facts = append(facts, fact(Text{words("By people")}, "%s at cosine %.3f or more%s", count(s.Hits, "hit"), s.Threshold, expected(s.ExpectedFalseHits)))
	}
	if s := o.Images; s != nil {
		facts = append(facts, fact(Text{words("By photographs")}, "%s at cosine %.3f or more%s", count(s.Hits, "hit"), s.Threshold, expected(s.ExpectedFalseHits)))
	}
	for _, m := range r.Models {
		if m.Clean != nil {
			facts = append(facts, Fact{About: Text{literal(m.on(m.Model)), words(" without them")}, Is: Text{words("%d of %d pairs; %sAUC %.5f; of all pairs %sAUC %.5f",
				m.Clean.Pairs, m.Pairs, accuracyAnd(m.cleanAccuracy()), m.Clean.AUC, accuracyAnd(accuracyOf(m.Result)), m.AUC)}})
		}
	}
	for _, note := range o.Notes {
		facts = append(facts, fact(Text{words("Note")}, "%s", note))
	}
	return facts
}

// accuracyAnd is an accuracy before other figures.
func accuracyAnd(percent string) string {
	if percent == "" {
		return ""
	}
	return "accuracy " + percent + " %, "
}

func expected(hits *float64) string {
	if hits == nil {
		return ""
	}
	return fmt.Sprintf(", where chance gives %.2g", *hits)
}

// cohorts say how groups do at one threshold.
func (r Report) cohorts() (facts []Fact) {
	for _, c := range r.Cohorts {
		f := Fact{About: Text{words("%s, model ", c.Column), literal(c.Model), on(c.Test)}, Is: Text{words("groups are %s; at cosine %.4f%s", c.Cut, c.ThresholdCosine, wanted(c.TargetFMR))}}
		for _, g := range c.Groups {
			small := ""
			if g.Small {
				small = "; too small to tell: " + g.SmallBecause
			}
			f.More = append(f.More, Fact{About: Text{literal(g.Name)}, Is: Text{words("%d faces of %d people; FMR %s, FNMR %s%s", g.Faces, g.Identities, cell(g.Cell.FMR), cell(g.Cell.FNMR), small)}})
		}
		if s := c.Summary; s != nil {
			f.More = append(f.More, fact(Text{words("largest rate by smallest")}, "%s", ratios(s)))
		}
		for _, note := range c.Notes {
			f.More = append(f.More, fact(Text{words("note")}, "%s", note))
		}
		facts = append(facts, f)
	}
	return facts
}

func wanted(fmr float64) string {
	if fmr == 0 {
		return ", the threshold of the best accuracy"
	}
	return fmt.Sprintf(", the threshold for FMR %g over all pairs", fmr)
}

// cell is a rate of a group.
func cell(r *uncertainty.Rate) string {
	if r == nil {
		return "not measurable"
	}
	text := fmt.Sprintf("%s (%d of %d", percent(r.Value), r.Errors, r.Of)
	if r.Interval != nil {
		text += fmt.Sprintf(", %.3g to %s", 100*r.Interval.Low, percent(r.Interval.High))
	}
	return text + ")"
}

func ratios(s *cohort.Summary) string {
	ratio := func(name string, v *float64, bounded bool) string {
		switch {
		case v == nil:
			return name + " not measurable"
		case bounded:
			return fmt.Sprintf("%s at least %.3g", name, *v)
		}
		return fmt.Sprintf("%s %.3g", name, *v)
	}
	return ratio("FMR", s.FMRRatio, s.FMRBounded) + ", " + ratio("FNMR", s.FNMRRatio, s.FNMRBounded)
}

// agreements say how far models agree with the first.
func (r Report) agreements() (facts []Fact) {
	for _, a := range r.Agreement {
		f := Fact{About: Text{literal(a.B), words(" and "), literal(a.A), on(a.Test)}}
		var parts []string
		if a.Cosine != nil {
			parts = append(parts, fmt.Sprintf("cosine of a face's two embeddings %.4f in the mean, %.4f at one in a hundred, %.4f at least", a.Cosine.Mean, a.Cosine.Percentile1, a.Cosine.Min))
		}
		if a.Spearman != nil {
			parts = append(parts, fmt.Sprintf("rank correlation of pairs %.4f", *a.Spearman))
		}
		if a.SpearmanDifferent != nil {
			parts = append(parts, fmt.Sprintf("of different people %.4f", *a.SpearmanDifferent))
		}
		f.Is = Text{words("%s", strings.Join(parts, "; "))}
		for _, p := range a.Differ[:min(3, len(a.Differ))] {
			f.More = append(f.More, Fact{About: Text{literal(p.First), words(" and "), literal(p.Second)}, Is: Text{words("cosines %.3f and %.3f", p.CosineA, p.CosineB)}})
		}
		facts = append(facts, f)
	}
	return facts
}

// costs say what models cost.
func (r Report) costs() (facts []Fact) {
	for _, m := range r.Models {
		c := m.Cost
		if c == nil {
			continue
		}
		f := Fact{About: Text{literal(m.Model)}, Is: Text{words("%s parameters in %s, %d bytes", m.parameters(), c.Precision, c.Bytes)}}
		if c.Multiplications != nil {
			f.More = append(f.More, fact(Text{words("multiplications")}, "%s", c.Multiplications))
		}
		for _, b := range c.Batches {
			f.More = append(f.More, fact(Text{words("batch of %d", b.Size)}, "%s", timesOf(b)))
		}
		if c.Memory != nil {
			for _, p := range c.Memory.Peaks {
				f.More = append(f.More, fact(Text{words("memory, batch of %d", p.Size)}, "%.0f MiB", float64(p.Bytes)/(1<<20)))
			}
		}
		if len(c.Batches) > 0 {
			f.More = append(f.More, fact(Text{words("run")}, "%d threads of %d processors on %s", c.Threads, c.Processors, c.Provider))
		}
		facts = append(facts, f)
	}
	return facts
}

func timesOf(b cost.Batch) string {
	text := fmt.Sprintf("%.2f ms", b.Median)
	if b.P95 > 0 {
		text += fmt.Sprintf(", 95 %% within %.2f", b.P95)
	}
	return text + fmt.Sprintf("; %.0f crops/s", b.Throughput)
}

// variants set the precisions of one model side by side.
func (r Report) variants() (facts []Fact) {
	for _, v := range r.Variants {
		f := Fact{About: Text{words("against "), literal(v.Baseline)}, Is: Text{words("%s", count(len(v.Others), "other precision"))}}
		if !v.Stated {
			f.Is = append(f.Is, words(", taken for the same model by their figures"))
		}
		for _, o := range v.Others {
			text := fmt.Sprintf("%s, %.2f × the bytes", o.Precision, o.Bytes)
			if o.Latency != nil {
				text += fmt.Sprintf(", %.2f × the time at batch %d", *o.Latency, o.Batch)
			}
			if o.Cosine != nil {
				text += fmt.Sprintf(", cosine %.4f in the mean, %.4f at least", o.Cosine.Mean, o.Cosine.Min)
			}
			f.More = append(f.More, Fact{About: Text{literal(o.Model)}, Is: Text{words("%s", text)}})
		}
		facts = append(facts, f)
	}
	return facts
}
