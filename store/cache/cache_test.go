package cache_test

import (
	"errors"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"facepipe/store"
	"facepipe/store/cache"
	"facepipe/store/check"
	"facepipe/store/storetest"
)

func TestTeacherRoundTrip(t *testing.T) {
	dir := storetest.Build(t, 1100, 600) // two batches a shard
	d := storetest.Open(t, dir)
	for _, tc := range []struct {
		dtype string
		flip  bool
		tol   float64 // relative rounding of an element
	}{{cache.FP32, true, 0}, {cache.FP16, true, 1.0 / 2048}, {cache.FP16, false, 1.0 / 2048}} {
		info := storetest.Info(tc.dtype, tc.flip)
		info.Name = tc.dtype + map[bool]string{true: "-flip"}[tc.flip]
		storetest.Embed(t, d, info, -1, nil)
		teacher := storetest.Cache(t, d, info.Name)
		if !reflect.DeepEqual(teacher.Info(), info) || len(teacher.MissingShards()) != 0 || teacher.Invalid() != 0 {
			t.Fatalf("teacher is %+v", teacher.Info())
		}
		row := 0
		got := make([]float32, info.Dim)
		for i := range d.Shards() {
			s, err := teacher.Shard(i)
			if err != nil {
				t.Fatal(err)
			}
			for k := range s.Rows() {
				for _, mirror := range []bool{false, true} {
					norm, valid, err := s.Row(k, mirror, got)
					if mirror && !tc.flip {
						if err == nil {
							t.Fatal("a mirror image's embedding came from nowhere")
						}
						continue
					}
					want := storetest.Embedding(storetest.Crop(0, row).ID, mirror)
					sum := 0.0
					for e := range want {
						sum += float64(want[e]) * float64(want[e])
						if math.Abs(float64(got[e]-want[e])) > tc.tol*math.Abs(float64(want[e])) {
							t.Fatalf("row %d, element %d: %g, want %g", row, e, got[e], want[e])
						}
					}
					if err != nil || !valid || norm != float32(math.Sqrt(sum)) {
						t.Fatalf("row %d: norm %g, valid %t, %v", row, norm, valid, err)
					}
				}
				row++
			}
			storetest.Close(t, s)
		}
	}
	names, err := cache.Names(d)
	if err != nil || !reflect.DeepEqual(names, []string{"fp16", "fp16-flip", "fp32-flip"}) {
		t.Errorf("teachers are %v, %v", names, err)
	}
	storetest.CleanCheck(t, dir)
}

// Embeddings without use are zeros, invalid, and named in the manifest.
func TestInvalidEmbeddings(t *testing.T) {
	nan, inf := float32(math.NaN()), float32(math.Inf(1))
	spoil := map[int]func(e []float32){
		1: func(e []float32) { e[3] = nan },
		2: func(e []float32) { e[0] = -inf },
		5: func(e []float32) { clear(e) },
		6: func(e []float32) { clear(e); e[0] = 1e-7 },
		7: func(e []float32) { e[9] = math.MaxFloat32; e[10] = math.MaxFloat32 },
	}
	for _, dtype := range []string{cache.FP16, cache.FP32} {
		d := storetest.Open(t, storetest.Build(t, 10, 8))
		info := storetest.Info(dtype, true)
		storetest.Embed(t, d, info, -1, func(row int, e []float32) {
			if f := spoil[row]; f != nil {
				f(e)
			}
			if row == 9 && dtype == cache.FP16 {
				e[0] = 70000 // finite, and not in fp16
			}
			if row == 8 && dtype == cache.FP16 {
				for i := range e {
					e[i] = 1e-6 // would lose most of its value
				}
			}
		})
		teacher := storetest.Cache(t, d, "r50")
		bad := map[int]bool{1: true, 2: true, 5: true, 6: true, 7: true, 8: dtype == cache.FP16, 9: dtype == cache.FP16}
		n := 0
		for row := range d.Rows() {
			l := d.Locate(row)
			s, err := teacher.Shard(int(l.Shard))
			if err != nil {
				t.Fatal(err)
			}
			got := []float32{0: 1, 23: 1}
			norm, valid, err := s.Row(int(l.Row), false, got)
			if err != nil || valid == bad[row] || (norm == 0) != bad[row] {
				t.Errorf("%s row %d: norm %g, valid %t, %v", dtype, row, norm, valid, err)
			}
			if bad[row] {
				n++
				if !reflect.DeepEqual(got, make([]float32, 24)) {
					t.Errorf("%s row %d is %v", dtype, row, got)
				}
			}
			if _, valid, err := s.Row(int(l.Row), true, got); err != nil || !valid {
				t.Errorf("%s row %d: the mirror image suffers too: %v", dtype, row, err)
			}
			storetest.Close(t, s)
		}
		least, most := float32(math.Inf(1)), float32(0)
		for i := range d.Shards() {
			s, err := teacher.Shard(i)
			if err != nil {
				t.Fatal(err)
			}
			for k := range s.Rows() {
				for _, mirror := range []bool{false, true} {
					if norm, valid, err := s.Row(k, mirror, make([]float32, 24)); err != nil {
						t.Fatal(err)
					} else if valid {
						least, most = min(least, norm), max(most, norm)
					}
				}
			}
			storetest.Close(t, s)
		}
		if a, b := teacher.Norms(); a != least || b != most {
			t.Errorf("%s: norms from %g to %g, want %g to %g", dtype, a, b, least, most)
		}
		if teacher.Invalid() != n {
			t.Errorf("%s: %d invalid, want %d", dtype, teacher.Invalid(), n)
		}
		storetest.CleanCheck(t, d.Dir())
	}
}

// A cache is continued, also after the dataset has grown, and its committed shards are
// left alone; the result is that of one run.
func TestTeacherContinues(t *testing.T) {
	dir := storetest.Build(t, 40, 8)
	info := storetest.Info(cache.FP16, true)
	storetest.Embed(t, storetest.Open(t, dir), info, 2, nil)
	d := storetest.Open(t, dir)
	teacher := storetest.Cache(t, d, "r50")
	if got := teacher.MissingShards(); !reflect.DeepEqual(got, []int{2, 3, 4}) {
		t.Fatalf("missing are %v", got)
	}
	if _, err := teacher.Shard(3); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("missing shard: %v", err)
	}
	if _, err := teacher.Digest(); err == nil {
		t.Error("an incomplete cache has a digest")
	}
	if r := storetest.CleanCheck(t, dir); !strings.Contains(strings.Join(r.Notes, "\n"), "3 shards are not embedded") {
		t.Errorf("notes are %q", r.Notes)
	}
	storetest.Embed(t, d, info, -1, nil)
	w := storetest.Writer(t, dir, 8)
	storetest.Ingest(t, w, storetest.Source, 40, 50)
	storetest.Close(t, w)
	d = storetest.Open(t, dir)
	storetest.Embed(t, d, info, -1, nil)

	once := storetest.Build(t, 40, 8)
	w = storetest.Writer(t, once, 8)
	storetest.Ingest(t, w, storetest.Source, 40, 50)
	storetest.Close(t, w)
	storetest.Embed(t, storetest.Open(t, once), info, -1, nil)
	storetest.SameContents(t, dir, once)
	a, err := storetest.Cache(t, d, "r50").Digest()
	b, err2 := storetest.Cache(t, storetest.Open(t, once), "r50").Digest()
	if a != b || err != nil || err2 != nil || len(a) != 64 {
		t.Errorf("digests are %q, %q, %v, %v", a, b, err, err2)
	}
}

func TestTeacherRefuses(t *testing.T) {
	d := storetest.Open(t, storetest.Build(t, 20, 8))
	info := storetest.Info(cache.FP16, true)
	storetest.Embed(t, d, info, 1, nil)

	other := info
	other.Fingerprint = "fp-other"
	if _, err := cache.Create(d, other); !errors.Is(err, store.ErrFingerprint) ||
		!strings.Contains(err.Error(), "fp-other") || !strings.Contains(err.Error(), info.Fingerprint) {
		t.Errorf("other fingerprint: %v", err)
	}
	other = info
	other.Dim = 25
	if _, err := cache.Create(d, other); !errors.Is(err, store.ErrFingerprint) {
		t.Errorf("other dim under one fingerprint: %v", err)
	}
	for _, name := range []string{"", "..", "a/b", ".hidden", strings.Repeat("n", 65)} {
		other := info
		other.Name = name
		if _, err := cache.Create(d, other); err == nil {
			t.Errorf("name %q was taken", name)
		}
		if _, err := cache.Open(d, name); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("open %q: %v", name, err)
		}
	}
	if _, err := cache.Open(d, "r100"); err == nil || !strings.Contains(err.Error(), "it has "+info.Name) {
		t.Errorf("open a teacher that is not there: %v", err)
	}
	if _, err := cache.Open(storetest.Open(t, storetest.Build(t, 3, 10)), "r100"); err == nil || !strings.Contains(err.Error(), "it has none: run precompute-teacher") {
		t.Errorf("open a teacher of a dataset without: %v", err)
	}
	w, err := cache.Create(d, info)
	if err != nil {
		t.Fatal(err)
	}
	defer storetest.Close(t, w)
	if _, err := cache.Create(d, info); !errors.Is(err, store.ErrLocked) {
		t.Errorf("second writer: %v", err)
	}
	if _, err := w.Shard(0); err == nil {
		t.Error("a committed shard was begun again")
	}
	e, err := w.Shard(1)
	if err != nil {
		t.Fatal(err)
	}
	v := make([]float32, 24)
	if e.Append(v[:23], v) == nil || e.Append(v, nil) == nil || e.Append(nil, v) == nil {
		t.Error("a wrong length was taken")
	}
	for range 8 {
		if err := e.Append(v, v); err != nil {
			t.Fatal(err)
		}
	}
	if err := e.Append(v, v); err == nil {
		t.Error("one row too many was taken")
	}
	storetest.Abort(t, e)
	if err := e.Commit(); err == nil {
		t.Error("commit after abort")
	}
	if e, err = w.Shard(1); err != nil {
		t.Fatal(err)
	}
	if err := e.Commit(); err == nil {
		t.Error("a shard without its rows was committed")
	}
	if temps, _ := filepath.Glob(filepath.Join(d.Dir(), "teachers", "r50", ".tmp-*")); len(temps) > 0 {
		t.Errorf("left %v", temps)
	}
}

// Embeddings belong to the crops they were made of, not to whatever has their name.
func TestTeacherOfOtherCrops(t *testing.T) {
	dir := storetest.Build(t, 16, 8)
	storetest.Embed(t, storetest.Open(t, dir), storetest.Info(cache.FP16, false), -1, nil)
	other := filepath.Join(t.TempDir(), "other")
	w := storetest.Writer(t, other, 8)
	storetest.Ingest(t, w, storetest.Source, 100, 116)
	storetest.Close(t, w)
	if err := os.CopyFS(filepath.Join(other, "teachers"), os.DirFS(filepath.Join(dir, "teachers"))); err != nil {
		t.Fatal(err)
	}
	d := storetest.Open(t, other)
	if _, err := cache.Open(d, "r50"); !errors.Is(err, store.ErrDamaged) || !strings.Contains(err.Error(), "another crop shard") {
		t.Errorf("open: %v", err)
	}
	if r, err := check.Run(t.Context(), other, check.Options{}); err != nil || r.OK {
		t.Errorf("check: %+v, %v", r, err)
	}
}

// Several shards may be written at once.
func TestTeacherShardsInParallel(t *testing.T) {
	d := storetest.Open(t, storetest.Build(t, 64, 8))
	info := storetest.Info(cache.FP16, true)
	w, err := cache.Create(d, info)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	missing := w.MissingShards()
	for _, shard := range missing {
		go func() {
			storetest.EmbedShard(t, d, w, info, shard, nil)
			done <- struct{}{}
		}()
	}
	for range missing {
		<-done
	}
	if left := w.MissingShards(); len(left) > 0 {
		t.Errorf("missing are %v", left)
	}
	storetest.Close(t, w)
	storetest.CleanCheck(t, d.Dir())
}
