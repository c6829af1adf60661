package eval

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"

	"facepipe/eval/cohort"
	"facepipe/eval/embeddings"
	"facepipe/eval/faces"
	"facepipe/eval/protocol"
	"facepipe/eval/report"
	"facepipe/internal/durable"
	"facepipe/internal/regular"
	"facepipe/store"
)

// test is a set of comparisons with the faces that it needs.
type test struct {
	name string
	set  faces.Set
	protocol.Protocol
	// clean are the comparisons without what a training set holds; nil where that is not asked.
	clean protocol.Verification
	// groups are those of the options' Cohorts that there are.
	groups []*cohort.Groups
}

// faceOf is the face that a template is shown by, an index of Faces.
func (t *test) faceOf(templates protocol.Templates, template int32) int {
	if templates.Shown != nil {
		return int(templates.Shown[template])
	}
	return int(template)
}

// decode decodes face i of the protocol into rgb.
func (t *test) decode(i int, rgb []byte) error { return t.set.Decode(t.Faces()[i], rgb) }

// describe is the test in a report.
func (t *test) describe() report.Test {
	d := report.Test{Name: t.name, Dataset: t.set.Describe(), Pairs: t.Describe()}
	if v, ok := t.Protocol.(protocol.Verification); ok {
		d.FoldRule, d.Folds = v.Folds().Rule, v.Folds().Count
	}
	return d
}

// tests are all that models are measured on.
type tests struct {
	all    []*test
	common faces.Set            // of all but .bin files, nil if there is none
	tables []*embeddings.Table  // of the options' Embeddings
	failed []report.Failed      // tests and embeddings that could not be read, if others could
	faults error                // the same, and columns that make no groups
	lacks  protocol.Description // what is known of one whose images are missing
}

// close lets go of all sets.
func (s *tests) close() {
	for _, t := range s.all {
		if t.set != s.common {
			_ = t.set.Close()
		}
	}
	if s.common != nil {
		_ = s.common.Close()
	}
}

// openTests reads the sets and the lists. Where one of several tests is at fault the others are
// measured all the same.
func openTests(ctx context.Context, o Options) (s *tests, err error) {
	s = &tests{}
	defer func() {
		if err != nil {
			s.close()
		}
	}()
	if err := s.openTables(ctx, o); err != nil {
		return s, err
	}
	if err := s.openCommon(ctx, o); err != nil {
		return s, err
	}
	names := map[string]bool{}
	for _, spec := range o.Tests {
		t, err := s.openTest(ctx, o, spec)
		if missing := (*protocol.MissingError)(nil); errors.As(err, &missing) {
			s.lacks = missing.Describe()
		}
		name := unlike(names, protocol.NameOf(spec.path()))
		if err != nil && (len(o.Tests) == 1 || ctx.Err() != nil || errors.Is(err, store.ErrDamaged)) {
			return s, err
		}
		if err != nil {
			s.fail(report.Failed{Model: spec.path(), Test: name, Error: err.Error()}, fmt.Errorf("test %s: %w", name, err))
			continue
		}
		t.name = name
		s.all = append(s.all, t)
	}
	if len(s.all) == 0 {
		return s, s.faults
	}
	return s, nil
}

// unlike is a name that is none of the names, with a number if need be, and makes it one.
func unlike(names map[string]bool, name string) string {
	free := name
	for n := 2; names[free]; n++ {
		free = fmt.Sprintf("%s-%d", name, n)
	}
	names[free] = true
	return free
}

// fail notes what could not be read.
func (s *tests) fail(f report.Failed, err error) {
	s.failed, s.faults = append(s.failed, f), errors.Join(s.faults, err)
}

// openTables reads the files of embeddings. One that is at fault is an error only if there is
// nothing else to measure.
func (s *tests) openTables(ctx context.Context, o Options) error {
	for _, path := range o.Embeddings {
		table, err := embeddings.Open(ctx, path)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			s.fail(report.Failed{Model: path, Error: err.Error()}, err)
			continue
		}
		s.tables = append(s.tables, table)
	}
	if len(o.Models)+len(o.Teachers)+len(s.tables) == 0 {
		return s.faults
	}
	return nil
}

// openCommon opens what the tests with lists have in common.
func (s *tests) openCommon(ctx context.Context, o Options) (err error) {
	switch {
	case !slices.ContainsFunc(o.Tests, func(t Test) bool { return t.Bin == "" }):
	case o.Dataset != "":
		var set *faces.Dataset
		if set, err = faces.Open(o.Dataset, store.WithContext(ctx)); err == nil {
			s.common = set
		}
	default:
		var set *faces.Table
		if set, err = faces.OfTable(s.tables[0]); err == nil {
			s.common = set
		}
	}
	return err
}

func (s *tests) openTest(ctx context.Context, o Options, spec Test) (*test, error) {
	if spec.Bin != "" {
		bin, err := faces.OpenBin(ctx, spec.Bin)
		if err != nil {
			return nil, err
		}
		p, err := protocol.OfBin(ctx, bin, o.Options)
		if err != nil {
			return nil, errors.Join(err, bin.Close())
		}
		return &test{set: bin, Protocol: p}, nil
	}
	if spec.List == AutoList {
		p, err := o.draw(ctx, s.common)
		return &test{set: s.common, Protocol: p}, err
	}
	p, err := spec.Protocol.Load(ctx, s.common, spec.List, o.Options)
	return &test{set: s.common, Protocol: p}, err
}

// autoFile is the file in the report's folder that drawn pairs are written to.
const autoFile = "pairs.txt"

// draw draws pairs and writes them down.
func (o Options) draw(ctx context.Context, set faces.Set) (protocol.Protocol, error) {
	auto := o.Auto
	auto.Progress = o.Progress
	if o.Hard != "" {
		ds, ok := set.(*faces.Dataset)
		if !ok {
			return nil, fmt.Errorf("hard pairs by teacher %s: they need a dataset", o.Hard)
		}
		all := make([]int, set.Len())
		for i := range all {
			all[i] = i
		}
		hard, err := openCache(ds, o.Hard, all, o.Flip)
		if err != nil {
			return nil, fmt.Errorf("hard pairs: %w", err)
		}
		defer hard.close()
		auto.Hard = hard
	}
	list, err := auto.Draw(ctx, set)
	if err != nil {
		return nil, fmt.Errorf("draw pairs of %s: %w", set.Describe().Path, err)
	}
	list.Notes = append(list.Notes, fmt.Sprintf("pairs are drawn from identities, seed %d", o.Auto.Seed))
	if o.Hard != "" {
		list.Notes = append(list.Notes, fmt.Sprintf("different pairs are hard: nearest other identities of a fold by teacher %s, so that false accept rates are above those of people by chance", o.Hard))
	}
	text, err := list.Seal()
	if err != nil {
		return nil, err
	}
	path := AutoList
	if o.Out != "" {
		path = filepath.Join(o.Out, autoFile)
		if err := durable.MkdirAll(o.Out, 0o755); err != nil {
			return nil, err
		}
		if err := keepOthers(path, text); err != nil {
			return nil, err
		}
	}
	return protocol.Listed(ctx, set, path, list, o.Options)
}

// keepOthers writes a file, unless it is there and another.
func keepOthers(path string, text []byte) error {
	old, err := regular.Read(path, int64(len(text)))
	if err == nil && string(old) != string(text) || errors.Is(err, regular.ErrTooLarge) {
		return fmt.Errorf("pairs are to be written to %s, where another list is: give another --out, or that list as --pairs", path)
	}
	return durable.Replace(path, text, 0o644)
}
