package eval

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"

	"facepipe/eval/agreement"
	"facepipe/eval/cohort"
	"facepipe/eval/cost"
	"facepipe/eval/faces"
	"facepipe/eval/protocol"
	"facepipe/eval/report"
	"facepipe/eval/uncertainty"
	"facepipe/eval/verification"
	"facepipe/internal/embed"
	"facepipe/internal/plain"
	"facepipe/internal/progress"
	"facepipe/store"
)

// maxKept is the number of values up to which a subject's embeddings of a test are kept, to
// compare subjects.
const maxKept = 1 << 27

// further adds to figures what else there is to say about them.
func further(ctx context.Context, o Options, s *tests, measured []measurement, r *report.Report) error {
	for _, t := range s.all {
		of := slices.DeleteFunc(slices.Clone(measured), func(m measurement) bool { return m.test != t })
		if err := errors.Join(addIntervals(ctx, o, t, of, r), addComparisons(ctx, o, of, r)); err != nil {
			return fmt.Errorf("test %s: %w", t.name, err)
		}
		v, ok := t.Protocol.(protocol.Verification)
		if !ok {
			o.warnOfWhole(t, r)
			continue
		}
		if n := t.Describe().Used; n > maxDistances && o.Scores == "" {
			r.Warnings = append(r.Warnings, fmt.Sprintf("%s: groups and worst errors are not told of %d comparisons, of more than %d", t.name, n, maxDistances))
		}
		if err := errors.Join(addCohorts(t, v, of, r), addAgreement(t, v, of, r), addWorst(o, t, v, of, r)); err != nil {
			return fmt.Errorf("test %s: %w", t.name, err)
		}
	}
	return addCosts(ctx, o, measured, r)
}

// warnOfWhole says what was asked for and is not told of a test that has no list of pairs of faces.
func (o Options) warnOfWhole(t *test, r *report.Report) {
	if len(o.Cohorts) > 0 {
		r.Warnings = append(r.Warnings, fmt.Sprintf("%s: groups are told of lists of pairs alone", t.name))
	}
	if o.Scores != "" {
		r.Warnings = append(r.Warnings, fmt.Sprintf("%s: scores are written of lists of pairs alone", t.name))
	}
}

// bandTargets are the rates at which the band of a DET curve is computed, three in a decade.
func bandTargets(different int) []float64 {
	var targets []float64
	for k := 0; ; k++ {
		target := math.Pow(10, -float64(k)/3)
		if target*float64(different) < 1 {
			return targets
		}
		if target < 0.5 {
			targets = append(targets, target)
		}
	}
}

// addIntervals says how far figures can be trusted.
func addIntervals(ctx context.Context, o Options, t *test, of []measurement, r *report.Report) error {
	if o.NoIntervals {
		return nil
	}
	for _, m := range of {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if m.Scores == nil {
			continue
		}
		done := progress.Phase(o.Progress, "intervals of "+r.Models[m.model].Model+" on "+t.name)
		model := &r.Models[m.model]
		err := interval(o, m.Scores, &model.Result, &model.Uncertainty)
		if err == nil && m.clean != nil {
			err = interval(o, m.clean, &model.Clean.Result, &model.Clean.Uncertainty)
		}
		done()
		if err != nil {
			return err
		}
	}
	return nil
}

// interval fills in the intervals of a result.
func interval(o Options, s *verification.Scores, result *verification.Result, into **uncertainty.Summary) error {
	sum, err := uncertainty.Summarize(s, uncertainty.Options{Targets: o.targets(), Curve: bandTargets(s.Different())})
	if errors.Is(err, uncertainty.ErrTooFew) {
		return nil
	}
	if err != nil {
		return err
	}
	at := func(target float64) *uncertainty.OperatingPoint {
		i := slices.IndexFunc(sum.OperatingPoints, func(p uncertainty.OperatingPoint) bool { return p.Target == target })
		if i < 0 {
			return nil
		}
		return &sum.OperatingPoints[i]
	}
	for i := range result.Thresholds {
		h := &result.Thresholds[i]
		if p := at(h.Target); p != nil {
			h.CosineInterval, h.FMR.Interval, h.FNMR.Interval = p.ThresholdCosine.Interval, p.Fixed.FMR.Interval, p.Fixed.FNMR.Interval
		}
	}
	for _, p := range sum.Curve {
		closest(result.DET, p.Target).Interval = p.FNMR.Interval
	}
	if c := result.CrossValidation; c != nil && c.Rule == verification.FaceXZoo.Name {
		sum.Notes = append(sum.Notes, plainAccuracy)
	}
	*into = &sum
	return nil
}

// plainAccuracy is what is to be known of intervals by the one rule that finds thresholds otherwise.
const plainAccuracy = "the interval of accuracy is found by the plain rule in the same folds, whose value may be another"

// closest is the point of a curve whose FMR is most like a rate.
func closest(curve []verification.DETPoint, fmr float64) *verification.DETPoint {
	best := 0
	for i, p := range curve {
		if math.Abs(p.FMR-fmr) < math.Abs(curve[best].FMR-fmr) {
			best = i
		}
	}
	return &curve[best]
}

// addComparisons compares each subject with the first.
func addComparisons(ctx context.Context, o Options, of []measurement, r *report.Report) error {
	of = slices.DeleteFunc(slices.Clone(of), func(m measurement) bool { return m.Scores == nil })
	if o.NoIntervals || len(of) < 2 {
		return nil
	}
	first := len(r.Comparisons)
	for _, m := range of[1:] {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		done := progress.Phase(o.Progress, "compare "+r.Models[m.model].Model+" with "+r.Models[of[0].model].Model)
		c, err := uncertainty.Compare(of[0].Scores, m.Scores, uncertainty.Options{Targets: o.targets()})
		done()
		if errors.Is(err, uncertainty.ErrTooFew) {
			return nil
		}
		if errors.Is(err, uncertainty.ErrOtherTrials) { // templates without a face of use were left out
			r.Warnings = append(r.Warnings, fmt.Sprintf("%s is not compared with %s: %v", r.Models[m.model].Model, r.Models[of[0].model].Model, err))
			continue
		}
		if err != nil {
			return err
		}
		if o.Rule.Name == verification.FaceXZoo.Name && of[0].Scores.Folds() > 0 {
			c.Notes = append(c.Notes, plainAccuracy)
		}
		c.A, c.B = r.Models[of[0].model].Model, r.Models[m.model].Model
		r.Comparisons = append(r.Comparisons, report.Comparison{Test: r.Models[m.model].Test, Comparison: c})
	}
	family := make([]uncertainty.Comparison, len(r.Comparisons)-first)
	for i := range family {
		family[i] = r.Comparisons[first+i].Comparison
	}
	uncertainty.Adjust(family)
	for i := range family {
		r.Comparisons[first+i].Comparison = family[i]
	}
	return nil
}

// readCohorts makes the groups of all tests. A column of which there are none is a fault of the
// run, and stops nothing.
func (s *tests) readCohorts(ctx context.Context, o Options, r *report.Report) error {
	for _, t := range s.all {
		v, ok := t.Protocol.(protocol.Verification)
		if !ok || len(o.Cohorts) == 0 {
			continue
		}
		if v.Pool(make([][]float32, len(t.Faces()))).Shown != nil {
			r.Warnings = append(r.Warnings, fmt.Sprintf("%s: cohorts are groups of single faces, and it compares templates of several", t.name))
			continue
		}
		norms, err := o.norms(t)
		if err != nil {
			return err
		}
		for _, spec := range o.Cohorts {
			groups, err := cohort.Read(ctx, t.set, t.Faces(), spec, norms)
			if ctx.Err() != nil || errors.Is(err, store.ErrDamaged) {
				return err
			}
			if err != nil {
				err = fmt.Errorf("%s: %w", t.name, err)
				if r.Warnings = append(r.Warnings, err.Error()); o.Progress != nil {
					plain.Fprintf(o.Progress, "warning: %s\n", err.Error())
				}
				s.faults = errors.Join(s.faults, err)
				continue
			}
			t.groups = append(t.groups, groups)
		}
	}
	return nil
}

// addCohorts tells the rates of groups.
func addCohorts(t *test, v protocol.Verification, of []measurement, r *report.Report) error {
	if len(t.groups) == 0 {
		return nil
	}
	identities := v.Pool(make([][]float32, len(t.Faces()))).Identities
	for _, groups := range t.groups {
		for _, m := range of {
			w, target := thresholdOf(r.Models[m.model])
			if w == nil || m.Distances == nil {
				continue
			}
			table, err := cohort.Measure(groups, cohort.Trials{Comparisons: v.Comparisons(), Distances: m.Distances, Identities: identities},
				cohort.At{Threshold: w.Threshold, TargetFMR: target})
			if err != nil {
				return err
			}
			table.Model = r.Models[m.model].Model
			r.Cohorts = append(r.Cohorts, report.Cohort{Test: r.Models[m.model].Test, Table: table})
		}
	}
	return nil
}

// norms are the lengths of a teacher's embeddings of a test's faces, if a cohort asks for them.
func (o Options) norms(t *test) ([]float64, error) {
	set, ok := t.set.(*faces.Dataset)
	if !ok || !slices.ContainsFunc(o.Cohorts, func(c cohort.Spec) bool { return c.Column == cohort.Norm }) {
		return nil, nil
	}
	return cohort.Norms(set.Dataset(), o.Teachers[0], t.Faces())
}

// addAgreement says how far each subject agrees with the first.
func addAgreement(t *test, v protocol.Verification, of []measurement, r *report.Report) error {
	if len(of) < 2 {
		return nil
	}
	if slices.ContainsFunc(of, func(m measurement) bool { return m.rows == nil }) {
		r.Warnings = append(r.Warnings, fmt.Sprintf("%s: how far models agree is not told: the embeddings of %d faces are too many to keep", t.name, len(t.Faces())))
		return nil
	}
	key := func(face int) (string, error) {
		head, err := t.set.Head(t.Faces()[face])
		return head.Key, err
	}
	for _, m := range of[1:] {
		a, err := agreement.Of(v, of[0].rows, m.rows, key)
		if err != nil {
			return err
		}
		a.A, a.B = r.Models[of[0].model].Model, r.Models[m.model].Model
		r.Agreement = append(r.Agreement, report.Agreement{Test: r.Models[m.model].Test, Result: a})
	}
	return nil
}

// addCosts says what models cost: what their files tell, and with [Options].Cost what running
// them takes. A cost that cannot be told is a warning.
func addCosts(ctx context.Context, o Options, measured []measurement, r *report.Report) error {
	var subjects []cost.Subject
	seen := map[string]bool{}
	for _, m := range measured {
		model := &r.Models[m.model]
		if !slices.Contains(o.Models, model.Model) || seen[model.Model] {
			continue
		}
		seen[model.Model] = true
		options := cost.Options{}
		if o.Cost {
			options = cost.DefaultOptions()
			options.Command = o.CostCommand
		}
		done := progress.Phase(o.Progress, "cost of "+model.Model)
		c, err := cost.Measure(ctx, model.Model, embed.Options{Preprocess: o.Preprocess, Output: o.Output, Crop: m.test.set.CropSize(), Batch: o.Batch, Runtime: o.Runtime}, options)
		done()
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			r.Warnings = append(r.Warnings, fmt.Sprintf("what %s costs cannot be told: %v", model.Model, err))
			continue
		}
		model.Cost = c
		subjects = append(subjects, cost.Subject{Name: model.Model, Cost: c, Embeddings: m.rows})
	}
	if variants := cost.Group(subjects); len(variants) > 0 {
		r.Variants = variants
	}
	return nil
}
