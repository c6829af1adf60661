package store

import (
	"encoding/json"
	"errors"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

// testTeacher describes a teacher of 24 elements.
func testTeacher(dtype string, flip bool) TeacherInfo {
	return TeacherInfo{
		Name: "r50", ModelFile: "r50.onnx", ModelDigest: strings.Repeat("ab", 32),
		Fingerprint: "fp-" + dtype, Preprocess: json.RawMessage(`{"mean":[127.5],"layout":"NCHW"}`),
		PreprocessReason: "test", Dim: 24, DType: dtype, Flip: flip,
	}
}

// testEmbedding is what the test teacher says of a crop: a function of its id.
func testEmbedding(id ID, mirror bool) []float32 {
	rng := rand.New(rand.NewPCG(uint64(id[0])|uint64(id[1])<<8, uint64(id[2])))
	e := make([]float32, 24)
	for i := range e {
		e[i] = float32(rng.NormFloat64()) * 4
		if mirror {
			e[i] += 0.25
		}
	}
	return e
}

// embed fills the missing shards of a cache with testEmbedding; spoil may change an
// embedding. It stops after limit shards.
func embed(t testing.TB, d *Dataset, info TeacherInfo, limit int, spoil func(row int, e []float32)) {
	t.Helper()
	w, err := d.CreateTeacher(info)
	if err != nil {
		t.Fatal(err)
	}
	defer mustClose(t, w)
	for n, shard := range w.MissingShards() {
		if n == limit {
			return
		}
		embedShard(t, d, w, info, shard, spoil)
	}
}

func embedShard(t testing.TB, d *Dataset, w *TeacherWriter, info TeacherInfo, shard int, spoil func(row int, e []float32)) {
	t.Helper()
	e, err := w.Shard(shard)
	if err != nil {
		t.Fatal(err)
	}
	appendShard(t, d, e, info, shard, spoil)
	if err := e.Commit(); err != nil {
		t.Fatal(err)
	}
}

// appendShard embeds all crops of a shard.
func appendShard(t testing.TB, d *Dataset, e *EmbeddingWriter, info TeacherInfo, shard int, spoil func(row int, e []float32)) {
	t.Helper()
	crops, err := d.CropShard(shard)
	if err != nil {
		t.Fatal(err)
	}
	defer mustClose(t, crops)
	for k := range crops.Rows() {
		c, err := crops.Crop(k)
		if err != nil {
			t.Fatal(err)
		}
		plain := testEmbedding(c.ID, false)
		if spoil != nil {
			spoil(d.RowOf(Location{uint32(shard), uint32(k)}), plain)
		}
		var mirror []float32
		if info.Flip {
			mirror = testEmbedding(c.ID, true)
		}
		if err := e.Append(plain, mirror); err != nil {
			t.Fatal(err)
		}
	}
}

func mustTeacher(t testing.TB, d *Dataset, name string) *Teacher {
	t.Helper()
	teacher, err := d.OpenTeacher(name)
	if err != nil {
		t.Fatal(err)
	}
	return teacher
}

func TestTeacherRoundTrip(t *testing.T) {
	dir := buildDataset(t, 1100, 600) // two batches a shard
	d := mustOpen(t, dir)
	for _, tc := range []struct {
		dtype string
		flip  bool
		tol   float64 // relative rounding of an element
	}{{FP32, true, 0}, {FP16, true, 1.0 / 2048}, {FP16, false, 1.0 / 2048}} {
		info := testTeacher(tc.dtype, tc.flip)
		info.Name = tc.dtype + map[bool]string{true: "-flip"}[tc.flip]
		embed(t, d, info, -1, nil)
		teacher := mustTeacher(t, d, info.Name)
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
					want := testEmbedding(testCrop(0, row).ID, mirror)
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
			mustClose(t, s)
		}
	}
	names, err := d.Teachers()
	if err != nil || !reflect.DeepEqual(names, []string{"fp16", "fp16-flip", "fp32-flip"}) {
		t.Errorf("teachers are %v, %v", names, err)
	}
	cleanCheck(t, dir)
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
	for _, dtype := range []string{FP16, FP32} {
		d := mustOpen(t, buildDataset(t, 10, 8))
		info := testTeacher(dtype, true)
		embed(t, d, info, -1, func(row int, e []float32) {
			if f := spoil[row]; f != nil {
				f(e)
			}
			if row == 9 && dtype == FP16 {
				e[0] = 70000 // finite, and not in fp16
			}
			if row == 8 && dtype == FP16 {
				for i := range e {
					e[i] = 1e-6 // would lose most of its value
				}
			}
		})
		teacher := mustTeacher(t, d, "r50")
		bad := map[int]bool{1: true, 2: true, 5: true, 6: true, 7: true, 8: dtype == FP16, 9: dtype == FP16}
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
			mustClose(t, s)
		}
		if teacher.Invalid() != n {
			t.Errorf("%s: %d invalid, want %d", dtype, teacher.Invalid(), n)
		}
		cleanCheck(t, d.Dir())
	}
}

// A cache is continued, also after the dataset has grown, and its committed shards are
// left alone; the result is that of one run.
func TestTeacherContinues(t *testing.T) {
	dir := buildDataset(t, 40, 8)
	info := testTeacher(FP16, true)
	embed(t, mustOpen(t, dir), info, 2, nil)
	d := mustOpen(t, dir)
	teacher := mustTeacher(t, d, "r50")
	if got := teacher.MissingShards(); !reflect.DeepEqual(got, []int{2, 3, 4}) {
		t.Fatalf("missing are %v", got)
	}
	if _, err := teacher.Shard(3); !errors.Is(err, ErrNotFound) {
		t.Errorf("missing shard: %v", err)
	}
	if _, err := teacher.Digest(); err == nil {
		t.Error("an incomplete cache has a digest")
	}
	if r := cleanCheck(t, dir); !strings.Contains(strings.Join(r.Notes, "\n"), "3 shards are not embedded") {
		t.Errorf("notes are %q", r.Notes)
	}
	embed(t, d, info, -1, nil)
	w := mustWriter(t, dir, 8)
	ingest(t, w, testSource, 40, 50)
	mustClose(t, w)
	d = mustOpen(t, dir)
	embed(t, d, info, -1, nil)

	once := buildDataset(t, 40, 8)
	w = mustWriter(t, once, 8)
	ingest(t, w, testSource, 40, 50)
	mustClose(t, w)
	embed(t, mustOpen(t, once), info, -1, nil)
	sameContents(t, dir, once)
	a, err := mustTeacher(t, d, "r50").Digest()
	b, err2 := mustTeacher(t, mustOpen(t, once), "r50").Digest()
	if a != b || err != nil || err2 != nil || len(a) != 64 {
		t.Errorf("digests are %q, %q, %v, %v", a, b, err, err2)
	}
}

func TestTeacherRefuses(t *testing.T) {
	d := mustOpen(t, buildDataset(t, 20, 8))
	info := testTeacher(FP16, true)
	embed(t, d, info, 1, nil)

	other := info
	other.Fingerprint = "fp-other"
	if _, err := d.CreateTeacher(other); !errors.Is(err, ErrFingerprint) ||
		!strings.Contains(err.Error(), "fp-other") || !strings.Contains(err.Error(), info.Fingerprint) {
		t.Errorf("other fingerprint: %v", err)
	}
	other = info
	other.Dim = 25
	if _, err := d.CreateTeacher(other); !errors.Is(err, ErrFingerprint) {
		t.Errorf("other dim under one fingerprint: %v", err)
	}
	for _, name := range []string{"", "..", "a/b", ".hidden", strings.Repeat("n", 65)} {
		other := info
		other.Name = name
		if _, err := d.CreateTeacher(other); err == nil {
			t.Errorf("name %q was taken", name)
		}
		if _, err := d.OpenTeacher(name); !errors.Is(err, ErrNotFound) {
			t.Errorf("open %q: %v", name, err)
		}
	}
	if _, err := d.OpenTeacher("r100"); err == nil || !strings.Contains(err.Error(), "it has "+info.Name) {
		t.Errorf("open a teacher that is not there: %v", err)
	}
	if _, err := mustOpen(t, buildDataset(t, 3, 10)).OpenTeacher("r100"); err == nil || !strings.Contains(err.Error(), "it has none: run precompute-teacher") {
		t.Errorf("open a teacher of a dataset without: %v", err)
	}
	w, err := d.CreateTeacher(info)
	if err != nil {
		t.Fatal(err)
	}
	defer mustClose(t, w)
	if _, err := d.CreateTeacher(info); !errors.Is(err, ErrLocked) {
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
	mustAbort(t, e)
	if err := e.Commit(); err == nil {
		t.Error("commit after abort")
	}
	if e, err = w.Shard(1); err != nil {
		t.Fatal(err)
	}
	if err := e.Commit(); err == nil {
		t.Error("a shard without its rows was committed")
	}
	if temps, _ := filepath.Glob(filepath.Join(d.teacherFolder("r50"), ".tmp-*")); len(temps) > 0 {
		t.Errorf("left %v", temps)
	}
}

func mustAbort(t testing.TB, w interface{ Abort() error }) {
	t.Helper()
	if err := w.Abort(); err != nil {
		t.Fatal(err)
	}
}

// Embeddings belong to the crops they were made of, not to whatever has their name.
func TestTeacherOfOtherCrops(t *testing.T) {
	dir := buildDataset(t, 16, 8)
	embed(t, mustOpen(t, dir), testTeacher(FP16, false), -1, nil)
	other := filepath.Join(t.TempDir(), "other")
	w := mustWriter(t, other, 8)
	ingest(t, w, testSource, 100, 116)
	mustClose(t, w)
	if err := os.CopyFS(filepath.Join(other, teachersFolder), os.DirFS(filepath.Join(dir, teachersFolder))); err != nil {
		t.Fatal(err)
	}
	d := mustOpen(t, other)
	if _, err := d.OpenTeacher("r50"); !errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), "another crop shard") {
		t.Errorf("open: %v", err)
	}
	if r, err := Check(t.Context(), other, CheckOptions{}); err != nil || r.OK {
		t.Errorf("check: %+v, %v", r, err)
	}
}

// Several shards may be written at once.
func TestTeacherShardsInParallel(t *testing.T) {
	d := mustOpen(t, buildDataset(t, 64, 8))
	info := testTeacher(FP16, true)
	w, err := d.CreateTeacher(info)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	missing := w.MissingShards()
	for _, shard := range missing {
		go func() {
			embedShard(t, d, w, info, shard, nil)
			done <- struct{}{}
		}()
	}
	for range missing {
		<-done
	}
	if left := w.MissingShards(); len(left) > 0 {
		t.Errorf("missing are %v", left)
	}
	mustClose(t, w)
	cleanCheck(t, d.Dir())
}
