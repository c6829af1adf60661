package eval

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"path/filepath"
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
		if len(s.lacks.Missing) > 0 && s.common != nil {
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
		t.Describe().PrintNotes(o.Progress)
	}
	if err := o.makeFolders(); err != nil {
		return r, err
	}
	if err := s.readCohorts(ctx, o, &r); err != nil {
		return r, err
	}
	if err := findOverlap(ctx, o, s, &r); err != nil {
		return r, err
	}
	measured, failures, err := measure(ctx, o, s, &r)
	if err != nil {
		return r, err
	}
	failures = errors.Join(s.faults, failures)
	if len(r.Models) == 0 {
		return r, failures
	}
	return r, errors.Join(failures, conclude(ctx, o, s, measured, &r))
}

// makeFolders does what should not fail after hours of work.
func (o Options) makeFolders() error {
	var folders []string
	if o.Out != "" {
		folders = append(folders, o.Out)
	}
	if o.Scores != "" {
		folders = append(folders, filepath.Dir(o.Scores))
	}
	for _, dir := range folders {
		if err := durable.MkdirAll(dir, 0o755); err != nil {
			return err
		}
	}
	return nil
}

// newReport is the report of a run without its models.
func newReport(o Options, set faces.Set) report.Report {
	r := report.Report{
		Flip: o.Flip, Norm: "unit", Distance: "squared-euclidean", FARPick: string(cmp.Or(o.Rule.Pick, verification.Le)),
		Provider: cmp.Or(o.Runtime.Provider, ort.CPU), Detector: []string{}, Models: []report.Model{},
		Dataset: set.Describe(), Command: o.Command,
	}
	for _, s := range r.Dataset.Sources {
		if !slices.Contains(r.Detector, s.Detector) {
			r.Detector = append(r.Detector, s.Detector)
		}
	}
	return r
}

// measurement is what was found of a subject on a test.
type measurement struct {
	test  *test
	model int // place in the report's models
	protocol.Result
	rows  protocol.Rows        // the embeddings, if they are kept
	clean *verification.Scores // without what a training set holds
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
		m, found, err := evaluate(ctx, o, t, sub)
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
		found.test, found.model = t, len(r.Models)-1
		all = append(all, found)
	}
	return all, failures, nil
}

// evaluate computes a subject's figures on a test.
func evaluate(ctx context.Context, o Options, t *test, sub subject) (m report.Model, found measurement, err error) {
	e, m, err := sub.embed(ctx, t)
	if err != nil {
		return m, found, err
	}
	settings := protocol.Settings{FAR: o.targets(), Rule: o.Rule, Flip: o.Flip, Distances: o.Scores != "" || t.Describe().Used <= maxDistances, Progress: o.Progress}
	if found.Result, err = t.Evaluate(ctx, e, settings); err == nil && t.clean != nil {
		err = found.evaluateClean(ctx, t, e, settings, &m)
	}
	if err != nil && ctx.Err() != nil {
		return m, found, ctx.Err()
	}
	if remedy := sub.remedy(); err != nil && remedy != "" {
		err = fmt.Errorf("%w; %s", err, remedy)
	}
	if err != nil {
		return m, found, &modelError{sub.name(), err}
	}
	m.Identification = found.Identification
	if found.Verification != nil {
		m.Result = *found.Verification
	}
	if e.Len()*e.Dim() <= maxKept && o.several() {
		found.rows, err = protocol.InMemory(e)
	}
	return m, found, err
}

// several says whether there are subjects to compare.
func (o Options) several() bool { return len(o.Models)+len(o.Teachers)+len(o.Embeddings) > 1 }

// evaluateClean computes the figures without what a training set holds. Too few comparisons are
// a note.
func (found *measurement) evaluateClean(ctx context.Context, t *test, e protocol.Embeddings, s protocol.Settings, m *report.Model) error {
	s.Distances = false
	clean, err := t.clean.Evaluate(ctx, e, s)
	if errors.Is(err, verification.ErrTooFew) {
		m.Notes = append(m.Notes, fmt.Sprintf("no figures without what the training set holds: %v", err))
		return nil
	}
	if err != nil {
		return err
	}
	m.Clean, found.clean = &report.Clean{Result: *clean.Verification}, clean.Scores
	return nil
}

// conclude compares what was found, and writes all down.
func conclude(ctx context.Context, o Options, s *tests, measured []measurement, r *report.Report) error {
	r.Decoder = imgcodec.DecoderName()
	if slices.ContainsFunc(r.Models, func(m report.Model) bool { return m.Kind == "" }) {
		r.Runtime = ort.Version()
	}
	r.Warnings = append(r.Warnings, warnings(*r)...)
	if err := further(ctx, o, s, measured, r); err != nil {
		return err
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
