package study

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"

	"facepipe/eval/faces"
	"facepipe/eval/overlap"
	"facepipe/eval/protocol"
	"facepipe/eval/verification"
	"facepipe/internal/durable"
	"facepipe/internal/plain"
	"facepipe/store"
	"facepipe/student"
)

// cleanSuffix ends the name of a test without the faces that are trained on.
const cleanSuffix = " (clean)"

// test is an opened set of pairs.
type test struct {
	Test
	set      faces.Set
	protocol protocol.Verification
	// digest is of all that its figures depend on besides the model.
	digest string
	// again is of the faces of the test before.
	again bool
}

// openTests opens the tests, the validation first, and says what is to be known of them.
func (r *runner) openTests(ctx context.Context) error {
	all := r.Tests
	if r.Validation != nil {
		all = append([]Test{*r.Validation}, all...)
	}
	h := sha256.New()
	fmt.Fprintf(h, "select %s\n", r.Select)
	for _, t := range all {
		opened, err := r.openTest(ctx, t)
		r.tests = append(r.tests, opened...)
		if err != nil {
			return fmt.Errorf("test %s: %w", t.Name, err)
		}
		for _, one := range opened {
			fmt.Fprintf(h, "%s %s\n", one.Name, one.digest)
		}
		opened[0].protocol.Describe().PrintNotes(r.o.Progress)
	}
	r.measured = hex.EncodeToString(h.Sum(nil))
	return nil
}

// openTest opens a test, and a second one without what is trained on, if that is asked for. What
// is opened is given back with an error, too.
func (r *runner) openTest(ctx context.Context, t Test) ([]*test, error) {
	if t.Bin != "" {
		bin, err := faces.OpenBin(ctx, t.Bin)
		if err != nil {
			return nil, err
		}
		one := &test{Test: t, set: bin, digest: bin.Describe().Digest}
		one.protocol, err = protocol.OfBin(ctx, bin, protocol.Options{})
		return []*test{one}, err
	}
	set, err := faces.Open(t.Dataset, store.WithContext(ctx))
	if err != nil {
		return nil, err
	}
	one := &test{Test: t, set: set}
	p, err := protocol.Pairs.Load(ctx, set, t.Pairs, protocol.Options{})
	if err != nil {
		return []*test{one}, err
	}
	one.protocol, one.digest = p.(protocol.Verification), set.Dataset().CropsDigest()+" "+p.Describe().Digest
	if t.ExcludeOverlap == "" {
		return []*test{one}, nil
	}
	clean, err := r.openClean(ctx, one, set.Dataset())
	if err != nil {
		return []*test{one}, err
	}
	return []*test{one, clean}, nil
}

// openClean is a test without the faces that a teacher finds in the training set.
func (r *runner) openClean(ctx context.Context, t *test, ds *store.Dataset) (*test, error) {
	if durable.SameFile(ds.Dir(), r.train.Dir()) {
		return nil, fmt.Errorf("%w: exclude_overlap compares two datasets, and %s is the one that is trained on", ErrUsage, ds.Dir())
	}
	places := slices.Clone(t.protocol.Faces())
	slices.Sort(places)
	places = slices.Compact(places)
	found, err := overlap.Find(ctx, ds, r.train, t.ExcludeOverlap, places, overlap.Options{Progress: r.o.Progress})
	if err != nil {
		return nil, err
	}
	dirty := make([]bool, len(t.protocol.Faces()))
	h, n := sha256.New(), 0
	for i, place := range t.protocol.Faces() {
		at, _ := slices.BinarySearch(places, place)
		if dirty[i] = found.Dirty[at]; dirty[i] {
			n++
			fmt.Fprintln(h, i)
		}
	}
	clean := &test{Test: t.Test, set: t.set, protocol: overlap.Clean(t.protocol, dirty), digest: t.digest + " " + hex.EncodeToString(h.Sum(nil)), again: true}
	clean.Name += cleanSuffix
	left := 0
	for range clean.protocol.Comparisons() {
		left++
	}
	plain.Fprintf(r.o.Progress, "test %s: teacher %s finds %d of %d faces in %s; %d pairs are without them\n", t.Name, t.ExcludeOverlap, n, len(dirty), r.train.Dir(), left)
	if left == 0 {
		return nil, errors.New("no pair is left without the faces that are trained on")
	}
	return clean, nil
}

// close lets go of the datasets.
func (r *runner) close() (err error) {
	for _, t := range r.tests {
		if !t.again {
			err = errors.Join(err, t.set.Close())
		}
	}
	if r.train != nil {
		err = errors.Join(err, r.train.Close())
	}
	return err
}

// validation lets the trainer score a student on the test; nil if that is no dataset's.
func (t *test) validation() *student.Validation {
	set, ok := t.set.(*faces.Dataset)
	if !ok {
		return nil
	}
	ds := set.Dataset()
	var crops []store.Location
	for _, place := range t.protocol.Faces() {
		crops = append(crops, ds.Locate(place))
	}
	better := map[string]int{}
	for _, f := range verification.Figures(nil) {
		better[f.Name] = f.Better
	}
	return &student.Validation{Dataset: ds, Crops: crops, Better: better, Score: func(embeddings [][]float32) (map[string]float64, error) {
		result, err := t.protocol.Evaluate(context.Background(), protocol.Rows(embeddings), protocol.Settings{})
		if err != nil {
			return nil, err
		}
		return valuesOf(*result.Verification), nil
	}}
}

// shared are the faces of a test that the training set has, too, as rows of it.
type shared struct {
	test string
	// faces the test has; ids are rows of crops with the same pixels, keys of those with the same
	// key.
	faces     int
	ids, keys []int
}

// findShared looks for the test's faces in the training set, by their pixels and by their keys.
func (t *test) findShared(train *store.Dataset) (s shared, err error) {
	s = shared{test: t.Name, faces: len(t.protocol.Faces())}
	contract := train.Contract()
	rgb := make([]byte, 3*contract.CropSize*contract.CropSize)
	for _, place := range t.protocol.Faces() {
		head, err := t.set.Head(place)
		if err != nil {
			return s, err
		}
		if t.set.CropSize() == contract.CropSize {
			if ds, ok := t.set.(*faces.Dataset); !ok || ds.Dataset().Contract() != contract {
				if err := t.set.Decode(place, rgb); err != nil {
					return s, err
				}
				head.ID = store.CropID(contract, rgb)
			}
			if s.ids, err = appendRow(s.ids, train)(train.LookupID(head.ID)); err != nil {
				return s, err
			}
		}
		if t.Bin != "" {
			continue // its keys are numbers
		}
		if s.keys, err = appendRow(s.keys, train)(train.Lookup(head.Key)); err != nil {
			return s, err
		}
	}
	return s, nil
}

// appendRow appends the row that was looked up, if it was found.
func appendRow(rows []int, ds *store.Dataset) func(store.Location, error) ([]int, error) {
	return func(at store.Location, err error) ([]int, error) {
		if errors.Is(err, store.ErrNotFound) {
			return rows, nil
		}
		if err != nil {
			return rows, err
		}
		return append(rows, ds.RowOf(at)), nil
	}
}

// findAllShared is what all tests share with the training set, and the rows of it, ascending.
func (r *runner) findAllShared(ctx context.Context) (all []shared, rows []int, err error) {
	for _, t := range r.tests {
		if t.again {
			continue
		}
		if ctx.Err() != nil {
			return nil, nil, ctx.Err()
		}
		s, err := t.findShared(r.train)
		if err != nil {
			return nil, nil, fmt.Errorf("look for the faces of test %s in %s: %w", t.Name, r.train.Dir(), err)
		}
		all = append(all, s)
		rows = slices.Concat(rows, s.ids, s.keys)
	}
	slices.Sort(rows)
	return all, slices.Compact(rows), nil
}

// warn says which tests have faces that a row of the study is trained on.
func (r *runner) warn(all []shared, rows []int) {
	for _, s := range all {
		ids, keys := 0, 0
		for _, row := range r.rows {
			held := func(list []int) (n int) {
				for _, one := range list {
					if at, _ := slices.BinarySearch(rows, one); row.Outlook.Held[at] {
						n++
					}
				}
				return n
			}
			ids, keys = max(ids, held(s.ids)), max(keys, held(s.keys))
		}
		if ids+keys > 0 {
			r.warnings = append(r.warnings, fmt.Sprintf("test %s: of its %d faces %d are crops that are trained on, and %d have the keys of such: exclude them from the training, or measure without them by exclude_overlap",
				s.test, s.faces, ids, keys))
		}
	}
	for _, t := range r.tests[min(1, len(r.tests)):] {
		if r.Validation != nil && t.digest == r.tests[0].digest {
			r.warnings = append(r.warnings, fmt.Sprintf("test %s is the validation %s: what is chosen by it is not tested by it", t.Name, r.Validation.Name))
		}
	}
	if other := slices.IndexFunc(r.rows, func(row *Row) bool { return row.Outlook.Flip != r.rows[0].Outlook.Flip }); other >= 0 {
		r.warnings = append(r.warnings, fmt.Sprintf("rows %q and %q differ in whether crops are mirrored: set flip for all", r.rows[0].Name(), r.rows[other].Name()))
	}
	for _, text := range r.warnings {
		plain.Fprintf(r.o.Progress, "warning: %s\n", text)
	}
}
