package derived_test

import (
	"errors"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"facepipe/internal/durable"
	"facepipe/internal/vec"
	"facepipe/store"
	"facepipe/store/cache"
	"facepipe/store/check"
	"facepipe/store/derived"
	"facepipe/store/info"
	"facepipe/store/internal/table"
	"facepipe/store/storetest"
)

// datasetOf is a dataset of n crops with a cache and its centres.
func datasetOf(t testing.TB, n int, teacher cache.Info, spoil func(row int, e []float32)) (string, derived.CentresSummary) {
	t.Helper()
	dir := storetest.Build(t, n, 8)
	storetest.Embed(t, storetest.Open(t, dir), teacher, -1, spoil)
	return dir, derive(t, dir, derived.CentresOptions{})
}

func derive(t testing.TB, dir string, o derived.CentresOptions) derived.CentresSummary {
	t.Helper()
	s, err := derived.DeriveCentres(t.Context(), dir, "r50", o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func mustCentres(t testing.TB, dir string) *derived.Centres {
	t.Helper()
	c, err := derived.OpenCentres(t.Context(), storetest.Cache(t, storetest.Open(t, dir), "r50"), io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { storetest.Close(t, c) })
	return c
}

// allEmbeddings are the stored embeddings of a dataset by row, plain and of the mirror
// image; nil for those without use.
func allEmbeddings(t testing.TB, dir string) (all [][2][]float32, norms [][2]float32, labels []int32) {
	t.Helper()
	d := storetest.Open(t, dir)
	teacher := storetest.Cache(t, d, "r50")
	labels, err := d.Labels(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for i := range d.Shards() {
		s, err := teacher.Shard(i)
		if err != nil {
			t.Fatal(err)
		}
		for k := range s.Rows() {
			var row [2][]float32
			var norm [2]float32
			for m, flip := range []bool{false, true}[:1+map[bool]int{true: 1}[teacher.Info().Flip]] {
				e := make([]float32, teacher.Info().Dim)
				n, valid, err := s.Row(k, flip, e)
				if err != nil {
					t.Fatal(err)
				}
				if valid {
					row[m], norm[m] = e, n
				}
			}
			all, norms = append(all, row), append(norms, norm)
		}
		storetest.Close(t, s)
	}
	return all, norms, labels
}

func cosineOf(a, b []float32) float64 {
	return vec.Dot(a, b) / math.Sqrt(vec.Dot(a, a)*vec.Dot(b, b))
}

// The tables hold what their definitions give, computed here the plain way.
func TestCentres(t *testing.T) {
	for _, about := range []cache.Info{storetest.Info(cache.FP16, true), storetest.Info(cache.FP32, false)} {
		dir, s := datasetOf(t, 60, about, func(row int, e []float32) {
			storetest.SpoilSome(row, e)
			if row < 5 {
				clear(e) // the first identity
			}
		})
		all, norms, labels := allEmbeddings(t, dir)
		c := mustCentres(t, dir)
		d := storetest.Open(t, dir)
		if c.Len() != d.Identities() || c.Dim() != 24 || s.Identities != c.Len() || s.Rows != 60 || s.Reused || s.Bytes == 0 {
			t.Fatalf("%d centres of %d, summary %+v", c.Len(), c.Dim(), s)
		}
		without, spreads := 0, 0.0
		centres := make([][]float32, c.Len())
		for l := range centres {
			mean := make([]float64, 24)
			count, vectors := 0, 0
			for row, e := range all {
				if int(labels[row]) != l {
					continue
				}
				any := 0
				for _, v := range e {
					if v == nil {
						continue
					}
					any, vectors = 1, vectors+1
					for i := range v {
						mean[i] += float64(v[i]) / math.Sqrt(vec.Dot(v, v))
					}
				}
				count += any
			}
			got := make([]float32, 24)
			centre, valid, err := c.Centre(int32(l), got)
			if err != nil || centre.Count != count || valid != (count > 0) || centre.Identity == "" {
				t.Errorf("label %d: %+v, valid %t, %v, want %d crops", l, centre, valid, err, count)
			}
			if !valid {
				without++
				if !math.IsNaN(float64(centre.Spread)) {
					t.Errorf("label %d has spread %g and no centre", l, centre.Spread)
				}
				continue
			}
			centres[l] = got
			if length := math.Sqrt(vec.Dot(got, got)); math.Abs(length-1) > 1e-6 {
				t.Errorf("label %d: centre of length %g", l, length)
			}
			// The direction of the mean, and the mean distance to it by a second look.
			along, spread := 0.0, 0.0
			for i := range mean {
				along += mean[i] * float64(got[i])
			}
			for row, e := range all {
				for _, v := range e {
					if int(labels[row]) == l && v != nil {
						spread += (1 - cosineOf(v, got)) / float64(vectors)
					}
				}
			}
			length := 0.0
			for _, x := range mean {
				length += x * x
			}
			if math.Abs(along/math.Sqrt(length)-1) > 1e-6 || math.Abs(float64(centre.Spread)-spread) > 1e-5 {
				t.Errorf("label %d: cosine %g to the mean, spread %g, want %g", l, along/math.Sqrt(length), centre.Spread, spread)
			}
			spreads += spread
		}
		if s.WithoutCentre != without || (without > 0) == about.Flip || math.Abs(s.MeanSpread-spreads/float64(c.Len()-without)) > 1e-5 {
			t.Errorf("summary %+v, want %d without a centre", s, without)
		}
		for row, e := range all {
			for m, flip := range []bool{false, true} {
				q, err := c.Quality(row, flip)
				if flip && !about.Flip {
					if err == nil {
						t.Fatal("a mirror image's quality came from nowhere")
					}
					continue
				}
				want := math.NaN()
				if e[m] != nil && labels[row] != store.NoLabel && centres[labels[row]] != nil {
					want = cosineOf(e[m], centres[labels[row]])
				}
				if err != nil || q.Norm != norms[row][m] || !(math.Abs(float64(q.Cosine)-want) < 1e-6 || math.IsNaN(float64(q.Cosine)) && math.IsNaN(want)) {
					t.Errorf("row %d, mirror %t: %+v, %v, want %g, %g", row, flip, q, err, norms[row][m], want)
				}
			}
		}
		storetest.CleanCheck(t, dir)
	}
}

// Embeddings that cancel out have no centre.
func TestCentreOfOpposites(t *testing.T) {
	about := storetest.Info(cache.FP32, false)
	dir, s := datasetOf(t, 4, about, func(row int, e []float32) {
		clear(e)
		e[row/2] = []float32{3, -3}[row%2] // of length 3, in pairs
	})
	c := mustCentres(t, dir)
	e := make([]float32, 24)
	centre, valid, err := c.Centre(0, e)
	if err != nil || valid || centre.Count != 4 || centre.Spread != 1 || s.WithoutCentre != 1 {
		t.Errorf("%+v, valid %t, %v, summary %+v", centre, valid, err, s)
	}
	if q, err := c.Quality(2, false); err != nil || q.Norm != 3 || !math.IsNaN(float64(q.Cosine)) {
		t.Errorf("%+v, %v", q, err)
	}
}

// However little memory there is, the bytes are the same.
func TestCentresInBlocks(t *testing.T) {
	about := storetest.Info(cache.FP16, true)
	whole, _ := datasetOf(t, 60, about, storetest.SpoilSome)
	for _, identities := range []int{1, 2, 5} {
		dir := storetest.Build(t, 60, 8)
		storetest.Embed(t, storetest.Open(t, dir), about, -1, storetest.SpoilSome)
		derive(t, dir, derived.CentresOptions{}.WithMemory(8*24*identities))
		storetest.SameContents(t, dir, whole)
	}
}

// They follow the cache, and are left alone while it is the same.
func TestCentresFollow(t *testing.T) {
	about := storetest.Info(cache.FP16, true)
	dir, first := datasetOf(t, 20, about, nil)
	before := storetest.Contents(t, dir)
	if s := derive(t, dir, derived.CentresOptions{}); !s.Reused || s.Cache != first.Cache || s.Bytes != first.Bytes || s.MeanSpread != first.MeanSpread {
		t.Errorf("again: %+v after %+v", s, first)
	}
	if s := derive(t, dir, derived.CentresOptions{Rebuild: true}); s.Reused {
		t.Errorf("rebuilt: %+v", s)
	}
	for name, data := range storetest.Contents(t, dir) {
		if string(before[name]) != string(data) {
			t.Errorf("%s has changed", name)
		}
	}
	open := mustCentres(t, dir)

	w := storetest.Writer(t, dir, 8)
	storetest.Ingest(t, w, storetest.Source, 20, 40)
	storetest.Close(t, w)
	if _, err := derived.DeriveCentres(t.Context(), dir, "r50", derived.CentresOptions{}); err == nil || !strings.Contains(err.Error(), "precompute-teacher") {
		t.Errorf("of half a cache: %v", err)
	}
	storetest.Embed(t, storetest.Open(t, dir), about, -1, nil)
	if r := storetest.CleanCheck(t, dir); !strings.Contains(strings.Join(r.Notes, "\n"), "centres") {
		t.Errorf("nothing is noted of old centres: %q", r.Notes)
	}
	if list, err := info.Caches(dir); err != nil || list[0].Centres != "outdated" {
		t.Errorf("state %+v, %v", list, err)
	}
	c := mustCentres(t, dir) // derives
	if s := derive(t, dir, derived.CentresOptions{}); c.Len() <= first.Identities || s.Rows != 40 || !s.Reused {
		t.Errorf("%d centres after an append, were %d; %+v", c.Len(), first.Identities, s)
	}
	if list, err := info.Caches(dir); err != nil || list[0].Centres != "current" || list[0].CentresBytes == 0 {
		t.Errorf("state %+v, %v", list, err)
	}
	if tables, _ := filepath.Glob(filepath.Join(dir, "teachers", "r50", "centres", "*.arrow")); len(tables) != 2 {
		t.Errorf("tables %v", tables)
	}
	// Who had the old ones open keeps them.
	if _, valid, err := open.Centre(0, make([]float32, 24)); err != nil || !valid {
		t.Errorf("the old centres: %v", err)
	}
	once, _ := datasetOf(t, 20, about, nil)
	w = storetest.Writer(t, once, 8)
	storetest.Ingest(t, w, storetest.Source, 20, 40)
	storetest.Close(t, w)
	storetest.Embed(t, storetest.Open(t, once), about, -1, nil)
	derive(t, once, derived.CentresOptions{})
	storetest.SameContents(t, dir, once)
	if r := storetest.CleanCheck(t, dir); len(r.Notes) > 0 {
		t.Errorf("notes %q", r.Notes)
	}
}

// Damage is found by check, and what was derived is derived again.
func TestCentresDamaged(t *testing.T) {
	about := storetest.Info(cache.FP16, true)
	whole, s := datasetOf(t, 20, about, nil)
	for _, name := range []string{"centres.json", "centres-" + s.Cache[:table.TableDigits] + ".arrow", "quality-" + s.Cache[:table.TableDigits] + ".arrow"} {
		for what, hurt := range map[string]func(path string){
			"bit":   func(path string) { storetest.FlipBit(t, path, 200) },
			"short": func(path string) { storetest.Truncate(t, path) },
			"gone": func(path string) {
				if err := os.Remove(path); err != nil {
					t.Fatal(err)
				}
			},
		} {
			dir := filepath.Join(t.TempDir(), "d")
			if err := os.CopyFS(dir, os.DirFS(whole)); err != nil {
				t.Fatal(err)
			}
			hurt(filepath.Join(dir, "teachers", "r50", "centres", name))
			r, err := check.Run(t.Context(), dir, check.Options{ReadData: true})
			if err != nil || r.OK != (name == "centres.json" && what == "gone") {
				t.Errorf("%s, %s: %+v, %v", name, what, r, err)
			}
			derive(t, dir, derived.CentresOptions{Rebuild: what == "bit"})
			storetest.SameContents(t, dir, whole)
			storetest.CleanCheck(t, dir)
		}
	}
}

// Without identities there are no centres, without crops there is nothing.
func TestCentresOfNothing(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "d")
	w := storetest.Writer(t, dir, 8)
	source := w.AddSource(storetest.Source)
	for i := range 5 {
		c := storetest.Crop(source, i)
		c.Identity = ""
		if _, err := w.Append(c); err != nil {
			t.Fatal(err)
		}
	}
	storetest.Close(t, w)
	storetest.Embed(t, storetest.Open(t, dir), storetest.Info(cache.FP16, true), -1, nil)
	s := derive(t, dir, derived.CentresOptions{})
	c := mustCentres(t, dir)
	if q, err := c.Quality(4, true); err != nil || q.Norm == 0 || !math.IsNaN(float64(q.Cosine)) || c.Len() != 0 || s.Identities != 0 {
		t.Errorf("%+v, %v, summary %+v", q, err, s)
	}
	empty := filepath.Join(t.TempDir(), "d")
	storetest.Close(t, storetest.Writer(t, empty, 8))
	storetest.Embed(t, storetest.Open(t, empty), storetest.Info(cache.FP16, true), -1, nil)
	if s := derive(t, empty, derived.CentresOptions{}); s.Rows != 0 || s.Bytes != 0 {
		t.Errorf("of nothing: %+v", s)
	}
	if s := derive(t, empty, derived.CentresOptions{}); !s.Reused {
		t.Errorf("again: %+v", s)
	}
	storetest.CleanCheck(t, empty)
}

func TestCentresRefuse(t *testing.T) {
	dir := storetest.Build(t, 10, 8)
	if _, err := derived.DeriveCentres(t.Context(), dir, "r50", derived.CentresOptions{}); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("without a cache: %v", err)
	}
	dir, _ = datasetOf(t, 10, storetest.Info(cache.FP16, true), nil)
	// Derived data of a dropped cache go with it, and not while they are made.
	teacher := storetest.Cache(t, storetest.Open(t, dir), "r50")
	lock, err := durable.TryLock(filepath.Join(teacher.Folder(), "centres", table.LockFile))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := cache.Drop(dir, "r50", false); !errors.Is(err, store.ErrLocked) {
		t.Errorf("dropped while centres are derived: %v", err)
	}
	if err := lock.Unlock(); err != nil {
		t.Fatal(err)
	}
	if _, err := cache.Drop(dir, "r50", false); err != nil {
		t.Error(err)
	}
	if _, err := derived.OpenCentres(t.Context(), teacher, nil); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("centres of a dropped cache: %v", err)
	}
	if _, err := os.Stat(teacher.Folder()); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a dropped cache has a folder again: %v", err)
	}
}

// Centres of some rows are means of their unit embeddings, and of all rows those of the table.
func TestCentresOf(t *testing.T) {
	d := storetest.Open(t, storetest.Build(t, 60, 25))
	storetest.Embed(t, d, storetest.Info(cache.FP32, true), -1, storetest.SpoilSome)
	kept := storetest.Cache(t, d, "r50")
	centres, err := derived.OpenCentres(t.Context(), kept, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer storetest.Close(t, centres)
	labels := map[int32]bool{}
	for l := range int32(d.Identities()) {
		labels[l] = true
	}
	all, err := derived.CentresOf(t.Context(), kept, labels, func(int) bool { return true })
	if err != nil {
		t.Fatal(err)
	}
	row := make([]float32, kept.Info().Dim)
	for l := range labels {
		_, ok, err := centres.Centre(l, row)
		if err != nil || ok != (all[l] != nil) || ok && !slices.Equal(all[l], row) {
			t.Fatalf("label %d: %v, want %v (%v, %v)", l, all[l], row, ok, err)
		}
	}
	of, err := d.Labels(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	keep := func(row int) bool { return row%3 != 0 }
	some, err := derived.CentresOf(t.Context(), kept, map[int32]bool{1: true, 2: true}, keep)
	if err != nil || len(some) > 2 {
		t.Fatal(some, err)
	}
	for _, l := range []int32{1, 2} {
		sum := make([]float64, len(row))
		for i := range d.Rows() {
			if of[i] != l || !keep(i) {
				continue
			}
			at := d.Locate(i)
			shard, err := kept.Shard(int(at.Shard))
			if err != nil {
				t.Fatal(err)
			}
			for _, flip := range []bool{false, true} {
				_, ok, err := shard.Row(int(at.Row), flip, row)
				if err != nil {
					t.Fatal(err)
				}
				for k := range row {
					if ok {
						sum[k] += float64(row[k]) / vec.Norm(row)
					}
				}
			}
			storetest.Close(t, shard)
		}
		length := vec.Norm(sum)
		if (length > 0) != (some[l] != nil) {
			t.Fatalf("label %d: %v", l, some[l])
		}
		for k, x := range some[l] {
			if d := float64(x) - sum[k]/length; d > 1e-6 || d < -1e-6 {
				t.Fatalf("label %d: %v, want %v", l, some[l], sum)
			}
		}
	}
}
