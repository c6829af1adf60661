package eval

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

	"facepipe/eval/faces"
	"facepipe/eval/protocol"
	"facepipe/eval/report"
	"facepipe/eval/verification"
	"facepipe/internal/durable"
	"facepipe/internal/imgcodec"
	"facepipe/internal/ort"
)

// Run measures every model of o on every test and writes the report.
//
// A model that cannot be loaded or gives unusable embeddings is listed in the report's
// Failed and does not keep the others from being measured; the error then names it, and
// comes with the report. So it is with one of several tests that cannot be read. Nothing is
// written if no model succeeds, or if the run ends with any other error:
// [*protocol.MissingError] (whose images the report lists too), those of loading the protocol,
// [store.ErrDamaged], [ort.ErrRuntime], the context's.
func Run(ctx context.Context, o Options) (report.Report, error) {
	if err := o.Validate(); err != nil {
		return report.Report{}, fmt.Errorf("evaluate: %w", err)
	}
	s, err := openTests(ctx, o)
	if err != nil {
		r := report.Report{}
		if s.lacks.Listed > 0 {
			r = newReport(o, s.common)
			r.Pairs = s.lacks
		}
		return r, err
	}
	defer s.close()
	r := newReport(o, s.all[0].set)
	first := s.all[0].describe()
	r.Pairs, r.FoldRule, r.Folds, r.Failed = first.Pairs, first.FoldRule, first.Folds, s.failed
	for _, t := range s.all {
		if len(o.Tests) > 1 {
			r.Tests = append(r.Tests, t.describe())
		}
		printNotes(o.Progress, t.Describe())
	}
	if o.Out != "" { // should not fail after hours of work
		if err := durable.MkdirAll(o.Out, 0o755); err != nil {
			return r, err
		}
	}
	measured, failures, err := measure(ctx, o, s, &r)
	if err != nil {
		return r, err
	}
	failures = errors.Join(s.faults, failures)
	if len(r.Models) == 0 {
		return r, failures
	}
	return r, errors.Join(failures, conclude(o, s, measured, &r))
}

// newReport is the report of a run without its models.
func newReport(o Options, set faces.Set) report.Report {
	r := report.Report{
		Flip: o.Flip, Norm: "unit", Distance: "squared-euclidean", FARPick: string(cmp.Or(o.Rule.Pick, verification.Le)),
		Provider: cmp.Or(o.Runtime.Provider, ort.CPU), Detector: []string{}, Models: []report.Model{},
		Dataset: set.Describe(),
	}
	for _, s := range r.Dataset.Sources {
		if !slices.Contains(r.Detector, s.Detector) {
			r.Detector = append(r.Detector, s.Detector)
		}
	}
	return r
}

// printNotes says what was left out, and what was guessed.
func printNotes(w io.Writer, d protocol.Description) {
	if n := len(d.Missing); n > 0 && w != nil {
		fmt.Fprintf(w, "%d of %d pairs are left out: %d images are not in the dataset\n", d.MissingPairs, d.Listed, n)
	}
	d.PrintNotes(w)
}

// measurement is what was found of a subject on a test.
type measurement struct {
	test  *test
	model int // place in the report's models
	protocol.Result
}

// maxDistances is the number of comparisons up to which their distances are kept, for the worst
// errors.
const maxDistances = 1 << 24

// measure fills the report's Models and Failed. failures joins what is wrong with single
// models, err ends the run.
func measure(ctx context.Context, o Options, s *tests, r *report.Report) (all []measurement, failures, err error) {
	for _, sub := range o.subjects(s) {
		found, fault, err := measureSubject(ctx, o, s, sub, r)
		sub.close()
		if err != nil {
			return nil, nil, err
		}
		all, failures = append(all, found...), errors.Join(failures, fault)
	}
	return all, failures, nil
}

// measureSubject measures a subject on all tests that it has embeddings for.
func measureSubject(ctx context.Context, o Options, s *tests, sub subject, r *report.Report) (all []measurement, failures, err error) {
	for _, t := range s.all {
		name := ""
		if len(o.Tests) > 1 {
			name = t.name
		}
		if !sub.covers(t) {
			r.Warnings = append(r.Warnings, fmt.Sprintf("%s has no embeddings of test %s, which is not of the dataset", sub.name(), t.name))
			continue
		}
		m, result, err := evaluate(ctx, o, t, sub)
		if fault := (*modelError)(nil); errors.As(err, &fault) {
			f := fault.report()
			f.Test = name
			r.Failed = append(r.Failed, f)
			failures = errors.Join(failures, err)
			continue
		}
		if err != nil {
			return nil, nil, err
		}
		m.Test = name
		r.Models = append(r.Models, m)
		all = append(all, measurement{t, len(r.Models) - 1, result})
	}
	return all, failures, nil
}

// evaluate computes a subject's figures on a test.
func evaluate(ctx context.Context, o Options, t *test, sub subject) (report.Model, protocol.Result, error) {
	e, m, err := sub.embed(ctx, t)
	if err != nil {
		return m, protocol.Result{}, err
	}
	result, err := t.Evaluate(ctx, e, protocol.Settings{FAR: o.targets(), Rule: o.Rule, Flip: o.Flip, Distances: o.Scores != "" || t.Describe().Used <= maxDistances, Progress: o.Progress})
	if err != nil && ctx.Err() != nil {
		return m, result, ctx.Err()
	}
	if remedy := sub.remedy(); err != nil && remedy != "" {
		err = fmt.Errorf("%w; %s", err, remedy)
	}
	if err != nil {
		return m, result, &modelError{sub.name(), err}
	}
	m.Identification = result.Identification
	if result.Verification != nil {
		m.Result = *result.Verification
	}
	return m, result, nil
}

// conclude compares what was found, and writes all down.
func conclude(o Options, s *tests, measured []measurement, r *report.Report) error {
	r.Decoder = imgcodec.DecoderName()
	if len(o.Models) > len(o.Cached) {
		r.Runtime = ort.Version()
	}
	r.Warnings = append(r.Warnings, warnings(*r)...)
	for _, t := range s.all {
		v, ok := t.Protocol.(protocol.Verification)
		if !ok {
			continue
		}
		of := slices.DeleteFunc(slices.Clone(measured), func(m measurement) bool { return m.test != t || m.Distances == nil })
		if err := addWorst(o, t, v, of, r); err != nil {
			return err
		}
	}
	if o.Scores != "" {
		if err := writeScores(o.Scores, s, measured, *r); err != nil {
			return err
		}
	}
	if o.Out == "" {
		return nil
	}
	return r.Write(o.Out)
}

// warnings say what may keep the figures from meaning what they seem to.
func warnings(r report.Report) (all []string) {
	tests := r.Tests
	if len(tests) == 0 {
		tests = []report.Test{{Pairs: r.Pairs}}
	}
	for _, t := range tests {
		name := cmp.Or(t.Name, "the list")
		if n := t.Pairs.IdenticalPairs; n > 0 {
			all = append(all, fmt.Sprintf("%s: %d pairs compare an image with itself, which every model finds alike", name, n))
		}
		if n := t.Pairs.MissingPairs; n > 0 {
			all = append(all, fmt.Sprintf("%s: %d of %d pairs are left out for images that are missing: its figures are not those of the whole list", name, n, t.Pairs.Listed))
		}
		for _, n := range t.Pairs.Notes {
			if n.About != "Guess" && n.About != "Drawn" && n.About != "Persons" {
				all = append(all, fmt.Sprintf("%s: %s", name, n.Text))
			}
		}
	}
	dims := map[int]string{}
	var different []string
	for _, m := range r.Models {
		if dims[m.Dim] == "" {
			dims[m.Dim] = m.Model
			different = append(different, fmt.Sprintf("%s has %d", m.Model, m.Dim))
		}
	}
	if len(different) > 1 {
		all = append(all, fmt.Sprintf("embeddings differ in their dimension, each model's are compared among themselves: %s", protocol.FirstFew(different)))
	}
	return all
}

// cosine is a squared distance as a cosine.
func cosine(distance float64) float64 { return verification.Cosine(distance) }
