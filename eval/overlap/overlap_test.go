package overlap_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"facepipe/eval/overlap"
	"facepipe/internal/vec"
	"facepipe/store"
	"facepipe/store/cache"
	"facepipe/store/storetest"
)

const dim = 64

// photo is a crop of a set that a test makes up: who it really shows decides its embedding.
type photo struct {
	key, identity string
	person        int
	number        int // of the photograph: equal ones are copies
	blank         bool
}

// embedding is a person's direction with the noise of one photograph.
func (p photo) embedding() []float32 {
	e := make([]float32, dim)
	if p.blank {
		return e
	}
	person, own := rand.New(rand.NewPCG(1, uint64(p.person))), rand.New(rand.NewPCG(2, uint64(p.person)<<20|uint64(p.number)))
	for i := range e {
		e[i] = float32(3*person.NormFloat64() + 2*own.NormFloat64())
	}
	return e
}

// write makes a dataset with a cache.
func write(t *testing.T, name string, photos []photo, change func(*cache.Info)) *store.Dataset {
	t.Helper()
	dir := filepath.Join(t.TempDir(), name)
	var crops []store.Crop
	for i, p := range photos {
		rng := rand.New(rand.NewPCG(uint64(len(photos)), uint64(i)))
		pixels := make([]byte, storetest.Contract.CropSize*storetest.Contract.CropSize*3)
		for k := range pixels {
			pixels[k] = byte(rng.Uint32())
		}
		crops = append(crops, storetest.Raw(storetest.Contract, pixels, p.key, p.identity))
	}
	storetest.Write(t, dir, storetest.Contract, 50, store.SourceInfo{Kind: "folder", Path: name, Detector: "none"}, crops)
	ds := storetest.Open(t, dir)
	info := cache.Info{Name: "big", ModelFile: "big.onnx", ModelDigest: "abc", Fingerprint: "print", Dim: dim, DType: cache.FP32}
	if change != nil {
		change(&info)
	}
	w, err := cache.Create(ds, info)
	if err != nil {
		t.Fatal(err)
	}
	defer storetest.Close(t, w)
	row := 0
	for _, shard := range w.MissingShards() {
		out, err := w.Shard(shard)
		if err != nil {
			t.Fatal(err)
		}
		for range ds.ShardRows(shard) {
			if err := out.Append(photos[row].embedding(), nil); err != nil {
				t.Fatal(err)
			}
			row++
		}
		if err := out.Commit(); err != nil {
			t.Fatal(err)
		}
	}
	return ds
}

// people are some photographs of each person from..to-1 under names that begin with a prefix.
func people(prefix string, from, to, each, firstPhoto int) (photos []photo) {
	for p := from; p < to; p++ {
		for n := range each {
			photos = append(photos, photo{key: fmt.Sprintf("%s%d/%d.png", prefix, p, n), identity: fmt.Sprintf("%s%d", prefix, p), person: p, number: firstPhoto + n})
		}
	}
	return photos
}

// all are the places of all crops of a dataset.
func all(ds *store.Dataset) (places []int) {
	for row := range ds.Rows() {
		places = append(places, row)
	}
	return places
}

func find(t *testing.T, test, train *store.Dataset, o overlap.Options) *overlap.Result {
	t.Helper()
	r, err := overlap.Find(t.Context(), test, train, "big", all(test), o)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// shared are the people 50..59: the test has 0..59, the training set 50..119.
func shared(t *testing.T) (test, train *store.Dataset) {
	tests := people("t", 0, 60, 3, 0)
	trains := people("n", 50, 120, 4, 100)
	trains[2].number = 1 // one photograph is the test's own
	return write(t, "test.ds", tests, nil), write(t, "train.ds", trains, nil)
}

// Whoever is in both sets is found by face, whatever the names are, and nobody else.
func TestFind(t *testing.T) {
	test, train := shared(t)
	r := find(t, test, train, overlap.Options{})
	var hits []string
	copies := 0
	for _, h := range r.Hits {
		if h.TestIdentity[1:] != h.TrainIdentity[1:] {
			t.Errorf("a false hit: %+v", h)
		}
		if h.By == overlap.ByCentre {
			hits = append(hits, h.TestIdentity)
		}
		if h.By == overlap.ByImage && h.Cosine > 0.9999 {
			copies++
			if h.TestKey != "t50/1.png" || h.TrainKey != "n50/2.png" {
				t.Errorf("the copy of a photograph is %+v", h)
			}
		}
	}
	slices.Sort(hits)
	if want := []string{"t50", "t51", "t52", "t53", "t54", "t55", "t56", "t57", "t58", "t59"}; !slices.Equal(hits, want) || copies != 1 {
		t.Errorf("found %v and %d copies, want %v and one", hits, copies, want)
	}
	if r.DirtyIdentities != 10 || r.DirtyCrops != 30 {
		t.Errorf("%d identities with %d crops are dirty", r.DirtyIdentities, r.DirtyCrops)
	}
	for i, dirty := range r.Dirty {
		if dirty != (i >= 150) {
			t.Errorf("place %d: dirty is %v", i, dirty)
		}
	}
	if c := r.Centres; c.Comparisons != 60*70 || *c.ExpectedFalseHits > overlap.Expected*1.001 || *c.ExpectedFalseHits <= 0 || len(c.Tails) != 2 || c.Tails[0].Pairs != 60*59/2 || c.Tails[1].People != 70 || c.Hits != 10 {
		t.Errorf("the search by centres: %+v, of the test's own %+v", c, c.Tails[0])
	}
	if r.Images.Comparisons != 180*280 || r.Images.Threshold <= 0 {
		t.Errorf("the search by images: %+v", r.Images)
	}
}

// What is found is what two loops over all pairs find.
func TestFindIsExhaustive(t *testing.T) {
	tests, trains := people("t", 0, 30, 2, 0), people("n", 20, 90, 3, 0)
	tests[7].blank, trains[11].blank = true, true
	for i := range trains {
		if i%5 == 0 {
			trains[i].identity = ""
		}
	}
	test, train := write(t, "test.ds", tests, nil), write(t, "train.ds", trains, nil)
	r := find(t, test, train, overlap.Options{Threshold: 0.3})
	type pair struct{ a, b string }
	want := map[pair]float64{}
	pairs := map[pair]int64{}
	for _, a := range tests {
		for _, b := range trains {
			if a.blank || b.blank {
				continue
			}
			if cosine := vec.Cosine(a.embedding(), b.embedding()); cosine >= 0.3 {
				at := pair{a.identity, b.identity}
				if b.identity == "" {
					at.b = b.key
				}
				want[at] = max(want[at], cosine)
				pairs[at]++
			}
		}
	}
	got := 0
	last := 2.0
	for _, h := range r.Hits {
		if h.Cosine > last {
			t.Errorf("hits are not in the order of their cosines")
		}
		if last = h.Cosine; h.By != overlap.ByImage {
			continue
		}
		at := pair{h.TestIdentity, h.TrainIdentity}
		if h.TrainIdentity == "" {
			at.b = h.TrainKey
		}
		got++
		if d := h.Cosine - want[at]; d > 1e-5 || d < -1e-5 || h.Pairs != pairs[at] {
			t.Errorf("%v has cosine %v in %d pairs, want %v in %d", at, h.Cosine, h.Pairs, want[at], pairs[at])
		}
	}
	if got != len(want) || r.Images.Hits != got || got < 20 {
		t.Errorf("%d hits by images, want %d", got, len(want))
	}
	if r.TestSide.Unusable != 1 || r.TrainSide.Unusable != 1 || r.TrainSide.Unnamed == 0 {
		t.Errorf("sides %+v and %+v", r.TestSide, r.TrainSide)
	}
	if r.Images.ExpectedFalseHits != nil {
		t.Error("a threshold that was given has an expectation")
	}
}

// The number of processors cannot be seen in the result.
func TestFindOnOneProcessor(t *testing.T) {
	test, train := shared(t)
	many := find(t, test, train, overlap.Options{})
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	one := find(t, test, train, overlap.Options{})
	if !slices.Equal(many.Hits, one.Hits) || many.Centres.Threshold != one.Centres.Threshold || !slices.Equal(many.Dirty, one.Dirty) {
		t.Error("another number of processors gives another result")
	}
}

// A training set without names is searched by photographs, and each one is named.
func TestFindInUnnamed(t *testing.T) {
	trains := people("n", 50, 70, 3, 0)
	for i := range trains {
		trains[i].identity = ""
	}
	test, train := write(t, "test.ds", people("t", 0, 60, 3, 0), nil), write(t, "train.ds", trains, nil)
	r := find(t, test, train, overlap.Options{})
	if r.Centres != nil || !strings.Contains(strings.Join(r.Notes, "; "), "no identities") {
		t.Errorf("centres of nobody: %+v, notes %q", r.Centres, r.Notes)
	}
	keys := map[string]bool{}
	for _, h := range r.Hits {
		keys[h.TrainKey] = true
	}
	if len(keys) != 30 || r.DirtyIdentities != 10 {
		t.Errorf("%d photographs of the training set are hits, and %d people dirty", len(keys), r.DirtyIdentities)
	}
	list := filepath.Join(t.TempDir(), "hits.csv")
	if err := r.WriteList(list); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(list)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	if lines[0] != "by,test_key,test_identity,train_key,train_identity,cosine,pairs" || len(lines) != len(r.Hits)+1 || !strings.HasPrefix(lines[1], "image,t5") || !strings.Contains(lines[1], ",,1.0000,") {
		t.Errorf("the list is %q", text)
	}
}

// Identities of the protocol's stand for the dataset's.
func TestFindWithOtherIdentities(t *testing.T) {
	tests := people("t", 0, 60, 3, 0)
	for i := range tests {
		tests[i].identity = ""
	}
	test, train := write(t, "test.ds", tests, nil), write(t, "train.ds", people("n", 50, 120, 4, 100), nil)
	numbers := make([]int32, len(tests))
	for i, p := range tests {
		numbers[i] = 7 * int32(p.person)
	}
	r := find(t, test, train, overlap.Options{Identities: numbers})
	if r.DirtyIdentities != 10 || r.DirtyCrops != 30 || r.TestSide.Identities != 60 {
		t.Errorf("%d identities with %d crops are dirty, of %+v", r.DirtyIdentities, r.DirtyCrops, r.TestSide)
	}
}

func TestFindRefuses(t *testing.T) {
	few := people("t", 0, 5, 2, 0)
	test, train := write(t, "test.ds", few, nil), write(t, "train.ds", people("n", 3, 9, 2, 0), nil)
	other := write(t, "other.ds", few, func(i *cache.Info) { i.ModelDigest, i.Fingerprint = "def", "print 2" })
	without := write(t, "without.ds", few, func(i *cache.Info) { i.Name = "small" })
	blank := write(t, "blank.ds", append(few[:1:1], photo{key: "x", identity: "x", blank: true}), nil)
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	for name, c := range map[string]struct {
		ctx         context.Context
		test, train *store.Dataset
		o           overlap.Options
		want        error
		say         string
	}{
		"no cache of the test":     {t.Context(), without, train, overlap.Options{}, store.ErrNotFound, "precompute-teacher " + without.Dir()},
		"no cache of the training": {t.Context(), test, without, overlap.Options{}, store.ErrNotFound, "pipe precompute-teacher " + without.Dir() + " --teacher big.onnx --name big"},
		"two models":               {t.Context(), test, other, overlap.Options{}, store.ErrFingerprint, "another model"},
		"nobody to learn from":     {t.Context(), test, train, overlap.Options{}, nil, "1000 or more pairs"},
		"identities of others":     {t.Context(), test, train, overlap.Options{Identities: []int32{1}}, nil, "1 identities of 10"},
		"cancelled":                {cancelled, test, blank, overlap.Options{Threshold: 0.5}, context.Canceled, ""},
	} {
		_, err := overlap.Find(c.ctx, c.test, c.train, "big", all(c.test), c.o)
		if err == nil || c.want != nil && !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.say) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := overlap.Find(t.Context(), test, train, "big", nil, overlap.Options{}); err == nil {
		t.Error("a test without photographs is taken")
	}
	if _, err := overlap.Find(t.Context(), test, train, "big", []int{0, 10}, overlap.Options{}); err == nil || !strings.Contains(err.Error(), "row 10 of the 10") {
		t.Errorf("a row that is not there: %v", err)
	}
	// A set that is its own training set is all dirty.
	if r := find(t, test, test, overlap.Options{Threshold: 0.9}); r.DirtyCrops != 10 || r.Hits[0].Cosine < 0.9999 || !strings.Contains(strings.Join(r.Notes, ";"), "is the test itself") {
		t.Errorf("of one set with itself %d crops are dirty", r.DirtyCrops)
	}
	// Without a vector of use there is nothing to find.
	if r := find(t, blank, train, overlap.Options{Threshold: 0.999999}); r.DirtyCrops != 0 || r.TestSide.Unusable != 1 {
		t.Errorf("%d crops dirty, %+v", r.DirtyCrops, r.TestSide)
	}
}

// Photographs of nobody in the test are compared with class centres one by one.
func TestFindUnnamedOfTheTest(t *testing.T) {
	tests := people("t", 0, 60, 3, 0)
	for i := range tests {
		if tests[i].person >= 55 {
			tests[i].identity = ""
		}
	}
	test, train := write(t, "test.ds", tests, nil), write(t, "train.ds", people("n", 50, 120, 4, 100), nil)
	r := find(t, test, train, overlap.Options{})
	single := map[string]bool{}
	for _, h := range r.Hits {
		if h.By == overlap.ByCentre && h.TestIdentity == "" {
			single[h.TestKey] = true
			if h.TestKey[1:3] != h.TrainIdentity[1:3] {
				t.Errorf("a false hit: %+v", h)
			}
		}
	}
	if len(single) != 15 || r.DirtyIdentities != 5 || r.DirtyCrops != 30 || r.TestSide.Unnamed != 15 || r.Centres.Comparisons != (55+15)*70 {
		t.Errorf("%d photographs of nobody are hits, %d identities and %d crops dirty, %+v, %+v", len(single), r.DirtyIdentities, r.DirtyCrops, r.TestSide, r.Centres)
	}
}
