package overlap

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"sync/atomic"

	"facepipe/internal/nearest"
	"facepipe/internal/progress"
	"facepipe/store"
)

// Options adjust [Find].
type Options struct {
	// Identities number the people of the test's photographs, below 0 where unknown; nil takes
	// the dataset's.
	Identities []int32
	// Threshold is the cosine from which on a comparison is a hit; 0 has it chosen so that
	// [Expected] false hits are to be expected.
	Threshold float64
	// Seed draws the samples of large sets.
	Seed uint64
	// Progress receives bars; nil is silent.
	Progress io.Writer
}

// Result is what a training set holds of a test.
type Result struct {
	// Train and Test are the datasets' folders, with the digests of their crops.
	Train       string `json:"train"`
	TrainDigest string `json:"train_digest"`
	Test        string `json:"test"`
	TestDigest  string `json:"test_digest"`
	// Teacher is the name of the caches, ModelFile and ModelDigest what made them. Mirrored
	// says that the mirror image's embedding was added to each.
	Teacher     string `json:"teacher"`
	ModelFile   string `json:"model_file"`
	ModelDigest string `json:"model_digest"`
	Mirrored    bool   `json:"mirrored"`
	// TestSide and TrainSide are what was compared.
	TestSide  Side `json:"test_side"`
	TrainSide Side `json:"train_side"`
	// Centres is the search by class centres, nil where the training set has no identities or
	// no threshold could be chosen, Images that by single photographs.
	Centres *Search `json:"centres,omitempty"`
	Images  *Search `json:"images,omitempty"`
	// Hits are the most alike first. Of more than a hundred thousand, and of more than a thousand
	// in a report beside a list of them, the others are only counted, Unlisted; they do make
	// crops dirty.
	Hits     []Hit `json:"hits"`
	Unlisted int   `json:"unlisted,omitempty"`
	// DirtyCrops of the test are in a hit, or show a person who is in one; DirtyIdentities are
	// these people.
	DirtyCrops      int `json:"dirty_crops"`
	DirtyIdentities int `json:"dirty_identities"`
	// Notes are for readers of the figures.
	Notes []string `json:"notes"`

	// Dirty tells it of each of the test's places. See [Clean].
	Dirty []bool `json:"-"`
}

// Side counts what is compared of a set.
type Side struct {
	Crops int `json:"crops"`
	// Unusable crops have no embedding of use: nothing is found of them.
	Unusable   int `json:"unusable"`
	Identities int `json:"identities"`
	// Unnamed crops are of nobody.
	Unnamed int `json:"unnamed"`
}

// Search is one way of looking for hits.
type Search struct {
	// Threshold is the cosine of the least alike hit that counts.
	Threshold   float64 `json:"threshold"`
	Comparisons int64   `json:"comparisons"`
	// ExpectedFalseHits is what chance gives at the threshold by the tail, nil for a threshold
	// that was given.
	ExpectedFalseHits *float64 `json:"expected_false_hits,omitempty"`
	// Tails are what was measured of different people; the threshold is the highest of theirs.
	Tails []*Tail `json:"tails"`
	// Hits of this search, Pairs of photographs (or centres) in them.
	Hits  int   `json:"hits"`
	Pairs int64 `json:"pairs"`
}

// The ways in which a [Hit] is found.
const (
	ByCentre = "centre"
	ByImage  = "image"
)

// Hit is a person, or a photograph of nobody, of the test who is in the training set.
type Hit struct {
	// By is [ByCentre] or [ByImage].
	By string `json:"by"`
	// TestKey is the photograph, of several the most alike one; of a hit by centres, one of
	// the person's.
	TestKey       string `json:"test_key"`
	TestIdentity  string `json:"test_identity,omitempty"`
	TrainKey      string `json:"train_key"`
	TrainIdentity string `json:"train_identity,omitempty"`
	// Cosine of the centres, or of the most alike photographs, -1 to 1.
	Cosine float64 `json:"cosine"`
	// Pairs of photographs that are as alike as the threshold; 1 of a hit by centres.
	Pairs int64 `json:"pairs"`
}

// maxHits are listed, and maxFound are kept by a worker.
const maxHits, maxFound = 100000, 1 << 21

// Find looks for people and photographs of a test in a training set: of the photographs in some
// rows of the dataset test, the places that a protocol needs, in all of train. Both need a complete
// cache of the teacher of that name, of one model and preprocessing: the error says which
// command makes one. Nothing is written. Memory holds the class centres of both sets, a block of
// vectors for each processor, and what is found. Errors: [store.ErrNotFound],
// [store.ErrFingerprint], [store.ErrDamaged], the context's.
func Find(ctx context.Context, test, train *store.Dataset, teacher string, places []int, o Options) (r *Result, err error) {
	f := &finder{ctx: ctx, o: o}
	if len(places) == 0 {
		return nil, errors.New("find overlap: the test has no photographs")
	}
	for _, row := range places {
		if row < 0 || row >= test.Rows() {
			return nil, fmt.Errorf("find overlap: row %d of the %d of %s", row, test.Rows(), test.Dir())
		}
	}
	if o.Identities != nil && len(o.Identities) != len(places) {
		return nil, fmt.Errorf("find overlap: %d identities of %d photographs", len(o.Identities), len(places))
	}
	if err := f.openSides(test, train, teacher, places); err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.test.close(), f.train.close()) }()
	if err := f.prepare(); err != nil {
		return nil, err
	}
	if err := f.byCentre(); err != nil {
		return nil, err
	}
	if err := f.byImage(); err != nil {
		return nil, err
	}
	if f.r.Centres == nil && f.r.Images == nil {
		return nil, fmt.Errorf("find overlap of %s and %s: a threshold cannot be chosen: %d or more pairs of photographs of different people must be known in one of the two, and neither has so many identities; give a threshold", test.Dir(), train.Dir(), fewestPairs)
	}
	return f.r, f.conclude()
}

// finder is a search on its way.
type finder struct {
	ctx         context.Context
	o           Options
	test, train *side
	// of the two sides
	tested, trained *units
	r               *Result
	found           []find
}

// find is a hit before its names are looked up.
type find struct {
	by          string
	test, train int32 // photographs
	unit        int32 // of the test
	cosine      float32
	pairs       int64
}

func (f *finder) openSides(test, train *store.Dataset, teacher string, places []int) (err error) {
	if f.test, err = openSide(test, teacher, nil); err != nil {
		return err
	}
	info := f.test.kept.Info()
	if f.train, err = openSide(train, teacher, &info); err != nil {
		return err
	}
	if err := sameSpace(f.test, f.train); err != nil {
		return err
	}
	f.test.rows = places
	both := info.Flip && f.train.kept.Info().Flip
	f.test.flip, f.train.flip = both, both
	if err := f.test.open(); err != nil {
		return err
	}
	if err := f.train.open(); err != nil {
		return errors.Join(err, f.test.close())
	}
	f.r = &Result{
		Train: train.Dir(), TrainDigest: train.CropsDigest(), Test: test.Dir(), TestDigest: test.CropsDigest(),
		Teacher: teacher, ModelFile: info.ModelFile, ModelDigest: info.ModelDigest, Mirrored: both, Hits: []Hit{}, Notes: []string{},
		Dirty: make([]bool, len(places)),
	}
	if f.r.TrainDigest == f.r.TestDigest {
		f.r.Notes = append(f.r.Notes, "the training set is the test itself")
	}
	if a, b := test.Contract(), train.Contract(); a.CropSize != b.CropSize || a.Template != b.Template || a.Warp != b.Warp {
		f.r.Notes = append(f.r.Notes, fmt.Sprintf("the crops of the two sets were made in two ways (%dx%[1]d %s %s, %dx%[4]d %s %s): faces are less alike than they would be", a.CropSize, a.Template, a.Warp, b.CropSize, b.Template, b.Warp))
	}
	return nil
}

// prepare numbers the people and makes class centres.
func (f *finder) prepare() (err error) {
	for _, of := range []struct {
		s      *side
		known  []int32
		single bool
		u      **units
		about  *Side
	}{
		{f.test, f.o.Identities, true, &f.tested, &f.r.TestSide},
		{f.train, nil, false, &f.trained, &f.r.TrainSide},
	} {
		if err := of.s.label(f.ctx, of.known); err != nil {
			return err
		}
		u, err := of.s.units(f.ctx, of.single)
		if err != nil {
			return err
		}
		*of.u = u
		*of.about = Side{Crops: of.s.Len(), Unusable: u.missing, Identities: u.people}
		for _, p := range of.s.person {
			if p == nobody {
				of.about.Unnamed++
			}
		}
	}
	return nil
}

// byCentre compares the people of both sets.
func (f *finder) byCentre() error {
	if f.trained.people == 0 {
		f.r.Notes = append(f.r.Notes, "the training set has no identities: it was searched by single photographs alone")
		return nil
	}
	person := func(u *units) func(i int) int32 {
		return func(i int) int32 {
			if i < u.people {
				return int32(i)
			}
			return nobody
		}
	}
	s, err := f.threshold("centres", int64(f.tested.Len())*int64(f.trained.Len()),
		f.tested, person(f.tested), f.trained, person(f.trained))
	if err != nil || s == nil {
		return err
	}
	f.r.Centres = s
	return f.collect(ByCentre, s, f.tested, f.trained, func(i int) int32 { return f.tested.first[i] }, func(i int) int32 { return f.trained.first[i] })
}

// byImage compares all photographs.
func (f *finder) byImage() error {
	person := func(s *side) func(i int) int32 { return func(i int) int32 { return s.person[i] } }
	s, err := f.threshold("images", int64(f.test.Len())*int64(f.train.Len()), f.test, person(f.test), f.train, person(f.train))
	if err != nil || s == nil {
		return err
	}
	f.r.Images = s
	own := func(i int) int32 { return int32(i) }
	return f.collect(ByImage, s, f.test, f.train, own, own)
}

// threshold chooses that of a search: the highest that a tail of the two sets gives. It is nil,
// with a note, where neither has pairs enough.
func (f *finder) threshold(what string, comparisons int64, test nearest.Vectors, tester func(int) int32, train nearest.Vectors, trainer func(int) int32) (*Search, error) {
	end := progress.Phase(f.o.Progress, "overlap: pairs of different people, by "+what)
	defer end()
	s := &Search{Comparisons: comparisons, Threshold: f.o.Threshold, Tails: []*Tail{}}
	known := int64(0)
	for _, of := range []struct {
		name   string
		v      nearest.Vectors
		person func(int) int32
	}{{"test", test, tester}, {"train", train, trainer}} {
		t, err := different(f.ctx, of.name, of.v, of.person, f.o.Seed)
		if err != nil {
			return nil, err
		}
		known = max(known, t.Pairs)
		if t.fit(Expected / float64(comparisons)) {
			s.Tails = append(s.Tails, t)
		}
	}
	if f.o.Threshold == 0 {
		if len(s.Tails) == 0 {
			f.r.Notes = append(f.r.Notes, fmt.Sprintf("search by %s: not measurable, a threshold needs %d pairs of different people in one of the sets, and the larger has %d", what, fewestPairs, known))
			return nil, nil
		}
		top := slices.MaxFunc(s.Tails, func(a, b *Tail) int { return cmp.Compare(a.Threshold, b.Threshold) })
		s.Threshold = top.Threshold
		expected := 0.0
		for _, t := range s.Tails {
			expected = max(expected, t.share(s.Threshold)*float64(comparisons))
		}
		s.ExpectedFalseHits = &expected
		f.r.Notes = append(f.r.Notes, fmt.Sprintf("search by %s: cosine %.4f is exceeded by chance %.2g times in %d comparisons, by %s", what, s.Threshold, expected, comparisons, top.describe()))
	}
	for _, t := range s.Tails {
		t.conclude(s.Threshold)
	}
	return s, nil
}

// key is a test's unit and a training set's, or photograph of nobody.
type key struct {
	test, train int32
	person      bool // train is a person's number
}

// collect compares two kinds of vectors and keeps what reaches the threshold: the most alike pair
// of photographs of each two people.
func (f *finder) collect(by string, s *Search, test, train nearest.Vectors, testPhoto, trainPhoto func(i int) int32) error {
	bar := progress.New(f.o.Progress, "overlap by "+by, int64(train.Len()))
	defer bar.Finish()
	var mu sync.Mutex
	var parts []map[key]find
	var tooMany atomic.Bool
	threshold := float32(s.Threshold)
	err := products(f.ctx, train, test, bar, func() sight {
		part := map[key]find{}
		mu.Lock()
		defer mu.Unlock()
		parts = append(parts, part)
		return func(i int, with []int32, cosines []float32) {
			for k, cosine := range cosines {
				if cosine >= threshold {
					a, b := testPhoto(int(with[k])), trainPhoto(i)
					at := key{f.tested.of[a], b, false}
					if p := f.train.person[b]; p != nobody {
						at.train, at.person = p, true
					}
					known, met := part[at]
					if !met && len(part) >= maxFound {
						tooMany.Store(true)
						continue
					}
					part[at] = known.or(find{by, a, b, at.test, min(1, cosine), 1})
				}
			}
		}
	})
	if err == nil && tooMany.Load() {
		err = fmt.Errorf("find overlap of %s and %s: more than %d pairs are above the cosine %.4f: one of them is the other, or the threshold is too low", f.test.ds.Dir(), f.train.ds.Dir(), maxFound, s.Threshold)
	}
	all := map[key]find{}
	for _, part := range parts {
		for at, hit := range part {
			all[at] = all[at].or(hit)
		}
	}
	for _, hit := range all {
		s.Pairs += hit.pairs
		f.found = append(f.found, hit)
	}
	s.Hits = len(all)
	return err
}

// or is the more alike of two, of all their pairs; of equals the one of the first photographs.
func (h find) or(other find) find {
	pairs := h.pairs + other.pairs
	if h.pairs == 0 || other.pairs > 0 && other.before(h) {
		h = other
	}
	h.pairs = pairs
	return h
}

func (h find) before(other find) bool { return h.compare(other) < 0 }

// compare orders finds, the most alike first.
func (h find) compare(other find) int {
	return cmp.Or(cmp.Compare(other.cosine, h.cosine), cmp.Compare(h.by, other.by), cmp.Compare(h.test, other.test), cmp.Compare(h.train, other.train))
}

// conclude looks up the names of what was found, and says which photographs are dirty.
func (f *finder) conclude() error {
	slices.SortFunc(f.found, find.compare)
	dirty := make([]bool, f.tested.Len())
	for _, hit := range f.found {
		dirty[hit.unit] = true
	}
	for u, is := range dirty {
		if is && u < f.tested.people {
			f.r.DirtyIdentities++
		}
	}
	for i, u := range f.tested.of {
		if f.r.Dirty[i] = dirty[u]; dirty[u] {
			f.r.DirtyCrops++
		}
	}
	f.r.Unlisted = max(0, len(f.found)-maxHits)
	for _, hit := range f.found[:len(f.found)-f.r.Unlisted] {
		a, err := f.test.crop(int(hit.test))
		if err != nil {
			return err
		}
		b, err := f.train.crop(int(hit.train))
		if err != nil {
			return err
		}
		f.r.Hits = append(f.r.Hits, Hit{
			By: hit.by, TestKey: a.Key, TestIdentity: a.Identity, TrainKey: b.Key, TrainIdentity: b.Identity,
			Cosine: float64(hit.cosine), Pairs: hit.pairs,
		})
	}
	if f.r.TestSide.Unusable+f.r.TrainSide.Unusable > 0 {
		f.r.Notes = append(f.r.Notes, fmt.Sprintf("%d test and %d training photographs have no embedding of use: nothing can be found of them", f.r.TestSide.Unusable, f.r.TrainSide.Unusable))
	}
	return nil
}
