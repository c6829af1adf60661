package teacher_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"facepipe/internal/embed"
	"facepipe/internal/imgcodec"
	"facepipe/internal/onnx"
	"facepipe/internal/ort"
	"facepipe/internal/vec"
	"facepipe/store"
	"facepipe/store/cache"
	"facepipe/teacher"
	"facepipe/teacher/teachertest"
)

// Every row of the cache is what the model says of that crop, and of its mirror image.
func TestCacheHoldsTheModelsEmbeddings(t *testing.T) {
	numbers := upTo(20)
	for _, dtype := range []string{cache.FP16, cache.FP32} {
		dir, model := dataset(t, numbers...), tiny(t, nil)
		s := precompute(t, teacher.Options{Dataset: dir, Model: model, Flip: true, DType: dtype, Batch: 4})
		if s.Teacher != "tiny" || s.Rows != 20 || s.Computed != 20 || s.Reused != 0 || s.Dim != 147 || s.DType != dtype || !s.Flip || s.Invalid != 0 {
			t.Errorf("%s: %+v", dtype, s)
		}
		m, err := embed.Open(t.Context(), model, embed.Options{})
		if err != nil {
			t.Fatal(err)
		}
		defer m.Close()
		ds, cache := teachertest.OpenCache(t, dir, "tiny")
		for row, number := range numbers {
			for _, flip := range []bool{false, true} {
				want := make([]float32, 147)
				if err := m.Embed(1, teachertest.Crop(number), flip, want); err != nil {
					t.Fatal(err)
				}
				got, norm := rowOf(t, ds, cache, row, flip)
				if !near(got, want, dtype) {
					t.Fatalf("%s: crop %d, mirrored %v: got %v, want %v", dtype, number, flip, got[:4], want[:4])
				}
				if math.Abs(float64(norm)-vec.Norm(want)) > 1e-3 {
					t.Errorf("%s: crop %d: norm %g, want %g", dtype, number, norm, vec.Norm(want))
				}
			}
		}
	}
}

func rowOf(t *testing.T, ds *store.Dataset, cache *cache.Cache, row int, flip bool) ([]float32, float32) {
	t.Helper()
	at := ds.Locate(row)
	shard, err := cache.Shard(int(at.Shard))
	if err != nil {
		t.Fatal(err)
	}
	defer shard.Close()
	e := make([]float32, cache.Info().Dim)
	norm, _, err := shard.Row(int(at.Row), flip, e)
	if err != nil {
		t.Fatal(err)
	}
	return e, norm
}

// near allows for the rounding of the element type and of a sum in another order.
func near(got, want []float32, dtype string) bool {
	relative := 1e-5
	if dtype == cache.FP16 {
		relative = 1.0 / 2048
	}
	for i, w := range want {
		if math.Abs(float64(got[i]-w)) > relative*math.Abs(float64(w))+1e-5 {
			return false
		}
	}
	return true
}

func TestSecondRunComputesNothing(t *testing.T) {
	dir := dataset(t, upTo(14)...)
	o := teacher.Options{Dataset: dir, Model: tiny(t, nil), Name: "first"}
	first := precompute(t, o)
	before := teachertest.Files(t, dir, "first")
	again := precompute(t, o)
	if again.Computed != 0 || again.Reused != 14 || again.Digest != first.Digest || again.ImagesPerSecond != 0 {
		t.Errorf("first %+v\nagain %+v", first, again)
	}
	if !maps.Equal(before, teachertest.Files(t, dir, "first")) {
		t.Error("a run with nothing to do changed the cache")
	}
	// What is appended to the dataset is embedded, and only that.
	appendTo(t, dir, 20, 21, 22)
	more := precompute(t, o)
	if more.Computed != 3 || more.Reused != 14 || more.Digest == first.Digest {
		t.Errorf("after an append: %+v", more)
	}
}

// The bytes do not depend on how many workers or devices there are, nor on an
// interruption.
func TestSameBytes(t *testing.T) {
	model := tiny(t, nil)
	var want map[string]string
	for _, workers := range []int{1, 5} {
		dir := dataset(t, upTo(20)...)
		precompute(t, teacher.Options{Dataset: dir, Model: model, Flip: true, Workers: workers, Devices: make([]int, workers)})
		if got := teachertest.Files(t, dir, "tiny"); want == nil {
			want = got
		} else if !maps.Equal(got, want) {
			t.Errorf("%d workers made other files", workers)
		}
	}
	dir := dataset(t, upTo(20)...)
	o := teacher.Options{Dataset: dir, Model: model, Flip: true}
	interrupted := interruptAt(t, o, 2)
	if interrupted.Computed != 12 {
		t.Fatalf("%d crops were computed before the interruption", interrupted.Computed)
	}
	rest := precompute(t, o)
	if rest.Reused != 12 || rest.Computed != 8 {
		t.Errorf("the run after the interruption: %+v", rest)
	}
	if !maps.Equal(teachertest.Files(t, dir, "tiny"), want) {
		t.Error("an interrupted run and another made other files than one run")
	}
}

// interruptAt cancels a run while it embeds the shard of that number.
func interruptAt(t *testing.T, o teacher.Options, shard int) teacher.Summary {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	s, err := teacher.Precompute(ctx, teacher.WithBegin(o, func(begun int) {
		if begun != shard {
			return
		}
		// Those before it are committed beside the embedding of the next.
		for {
			manifests, err := filepath.Glob(filepath.Join(o.Dataset, "teachers", "tiny", "0*.json"))
			if err != nil || len(manifests) == shard {
				break
			}
			time.Sleep(time.Millisecond)
		}
		cancel()
	}))
	if !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), "run the same command again") {
		t.Fatalf("cancelled: %v", err)
	}
	return s
}

func TestAnotherFingerprintUnderOneName(t *testing.T) {
	dir := dataset(t, upTo(7)...)
	model := tiny(t, nil)
	precompute(t, teacher.Options{Dataset: dir, Model: model})
	before := teachertest.Files(t, dir, "tiny")
	for name, o := range map[string]teacher.Options{
		"model":         {Model: tiny(t, times(2))},
		"preprocessing": {Model: model, Preprocess: "raw"},
		"flip":          {Model: model, Flip: true},
		"dtype":         {Model: model, DType: cache.FP32},
	} {
		o.Dataset, o.Name = dir, "tiny"
		_, err := teacher.Precompute(t.Context(), o)
		if !errors.Is(err, store.ErrFingerprint) || !strings.Contains(err.Error(), "--name") {
			t.Errorf("%s: %v", name, err)
		}
		if o.Name = "other_" + name; precompute(t, o).Computed != 7 {
			t.Errorf("%s: not computed under a name of its own", name)
		}
	}
	if !maps.Equal(before, teachertest.Files(t, dir, "tiny")) {
		t.Error("the cache was changed")
	}
	// The batch is no part of what an embedding is.
	if s := precompute(t, teacher.Options{Dataset: dir, Model: model, Batch: 3, Runtime: ort.Options{Threads: 1}}); s.Reused != 7 {
		t.Errorf("another batch: %+v", s)
	}
}

func TestSomeCropsWithoutUse(t *testing.T) {
	numbers := append(upTo(8), teachertest.Dark)
	o := teacher.Options{Dataset: dataset(t, numbers...), Model: tiny(t, plusRatio), Preprocess: "raw", Flip: true, MaxRejectRate: 0.1}
	s, err := teacher.Precompute(t.Context(), o)
	var rate *teacher.RejectRateError
	if !errors.As(err, &rate) || rate.Invalid != 2 || rate.Embeddings != 18 || rate.Max != o.MaxRejectRate {
		t.Fatalf("2 of 18: %v", err)
	}
	if s.Invalid != 2 || s.Computed != 9 || s.Digest == "" {
		t.Errorf("the cache is complete all the same: %+v", s)
	}
	o.MaxRejectRate = 0.2
	if s := precompute(t, o); s.Invalid != 2 || s.Reused != 9 {
		t.Errorf("tolerated: %+v", s)
	}
	ds, cache := teachertest.OpenCache(t, o.Dataset, "tiny")
	for row, number := range numbers {
		if e, norm := rowOf(t, ds, cache, row, true); (norm == 0) != (number == teachertest.Dark) || (vec.Norm(e) == 0) != (number == teachertest.Dark) {
			t.Errorf("crop %d has norm %g", number, norm)
		}
	}
	report, err := teacher.Replay(t.Context(), teacher.ReplayOptions{Dataset: o.Dataset, Teacher: "tiny", Model: o.Model, N: 100})
	if err != nil || !report.OK || report.Rows != 9 || report.Compared != 16 {
		t.Errorf("replay: %+v, %v", report, err)
	}
}

// A model that gives nothing of use is refused before its cache takes the name.
func TestModelWithoutUse(t *testing.T) {
	nan := float32(math.NaN())
	for name, c := range map[string]struct {
		factor float32
		dtype  string
		say    string
	}{
		"NaN":       {nan, cache.FP32, "NaN or infinity for 10 of 10"},
		"infinity":  {float32(math.Inf(1)), cache.FP16, "NaN or infinity for 10 of 10"},
		"zeros":     {0, cache.FP16, "zeros for 10 of 10"},
		"too large": {1e9, cache.FP16, "--dtype fp32"},
	} {
		dir := dataset(t, upTo(10)...)
		model := tiny(t, times(c.factor))
		_, err := teacher.Precompute(t.Context(), teacher.Options{Dataset: dir, Model: model, DType: c.dtype})
		if !errors.Is(err, teacher.ErrEmbeddings) || !strings.Contains(err.Error(), c.say) || !strings.Contains(err.Error(), model) {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := os.Stat(filepath.Join(dir, "teachers")); !os.IsNotExist(err) {
			t.Errorf("%s: the cache was begun (%v)", name, err)
		}
	}
}

// A model that takes statistics over its batch makes nothing of single crops: it needs another
// export, not another preprocessing.
func TestModelOfBatchStatistics(t *testing.T) {
	for name, last := range map[string]onnx.Node{
		"zeros": {OpType: "Identity", Inputs: []string{"centred"}},
		"NaN":   {OpType: "Div", Inputs: []string{"centred", "centred"}},
	} {
		model := tiny(t, func(g *onnx.Graph) {
			g.Nodes[1].Outputs[0], last.Outputs = "flat", []string{"embedding"}
			g.Nodes = append(g.Nodes,
				onnx.Node{OpType: "ReduceMean", Inputs: []string{"flat"}, Outputs: []string{"mean"}, Attributes: []onnx.Attribute{onnx.Ints("axes", 0)}},
				onnx.Node{OpType: "Sub", Inputs: []string{"flat", "mean"}, Outputs: []string{"centred"}}, last)
		})
		_, err := teacher.Precompute(t.Context(), teacher.Options{Dataset: dataset(t, upTo(8)...), Model: model})
		if !errors.Is(err, teacher.ErrEmbeddings) || !strings.Contains(err.Error(), "statistics over the batch") || !strings.Contains(err.Error(), "export it in evaluation mode") || strings.Contains(err.Error(), "--preprocess") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// So is one that fails later: that shard is not stored, those before it are.
func TestModelThatFailsLater(t *testing.T) {
	dir := dataset(t, spoilt...)
	_, err := teacher.Precompute(t.Context(), teacher.Options{Dataset: dir, Model: tiny(t, plusRatio), Preprocess: "raw"})
	if !errors.Is(err, teacher.ErrEmbeddings) || !strings.Contains(err.Error(), "shard 10") || !strings.Contains(err.Error(), "55 of 66") {
		t.Errorf("got %v", err)
	}
	_, cache := teachertest.OpenCache(t, dir, "tiny")
	if got := cache.MissingShards(); !slices.Equal(got, []int{10, 11}) {
		t.Errorf("missing shards %v", got)
	}
}

// A bad crop that is alone in its shard, or first of all, does not condemn the model; the
// rate of rejects tells.
func TestBadCropAlone(t *testing.T) {
	for name, numbers := range map[string][]int{
		"in the last shard":      append(upTo(6), teachertest.Dark),
		"behind a large sample":  append(upTo(66), teachertest.Dark),
		"before the good ones":   append([]int{teachertest.Dark, teachertest.Dark + 1, teachertest.Dark + 2}, upTo(4)...),
		"with most of a dataset": append(upTo(2), teachertest.Dark, teachertest.Dark+1, teachertest.Dark+2, teachertest.Dark+3, teachertest.Dark+4),
	} {
		for _, batch := range []int{1, 3} {
			bad := 0
			for _, n := range numbers {
				if n >= teachertest.Dark {
					bad++
				}
			}
			o := teacher.Options{Dataset: dataset(t, numbers...), Model: tiny(t, plusRatio), Preprocess: "raw", Batch: batch}
			var rate *teacher.RejectRateError
			s, err := teacher.Precompute(t.Context(), o)
			if !errors.As(err, &rate) || rate.Invalid != bad || s.Digest == "" {
				t.Errorf("%s, batch %d: %v", name, batch, err)
			}
		}
	}
	// An append of one.
	o := teacher.Options{Dataset: dataset(t, upTo(66)...), Model: tiny(t, plusRatio), Preprocess: "raw", MaxRejectRate: 0.1}
	precompute(t, o)
	appendTo(t, o.Dataset, teachertest.Dark)
	if s := precompute(t, o); s.Invalid != 1 || s.Computed != 1 {
		t.Errorf("append: %+v", s)
	}
}

// A shard that is large enough is judged by itself, small ones together.
func TestVerdict(t *testing.T) {
	bad, good := []float32{0}, []float32{1}
	type shard struct{ bad, good int }
	for name, c := range map[string]struct {
		shards []shard
		fails  int // shard, -1 for none
	}{
		"large and bad":           {[]shard{{0, 100}, {51, 49}}, 1},
		"large and half bad":      {[]shard{{50, 50}}, -1},
		"small and bad":           {[]shard{{63, 0}}, -1},
		"small after large":       {[]shard{{0, 100}, {63, 0}}, -1},
		"several small":           {[]shard{{20, 0}, {20, 0}, {20, 0}, {4, 0}}, 3},
		"several small, half bad": {[]shard{{10, 10}, {10, 10}, {10, 10}, {10, 10}, {10, 10}}, -1},
	} {
		failed := teacher.Judge(len(c.shards), func(i int) (embeddings [][]float32) {
			embeddings = append(embeddings, slices.Repeat([][]float32{bad}, c.shards[i].bad)...)
			return append(embeddings, slices.Repeat([][]float32{good}, c.shards[i].good)...)
		})
		if failed != c.fails {
			t.Errorf("%s: shard %d fails, want %d", name, failed, c.fails)
		}
	}
}

func TestWhatCannotBeRun(t *testing.T) {
	dir := dataset(t, upTo(3)...)
	text := filepath.Join(t.TempDir(), "text.onnx")
	if err := os.WriteFile(text, []byte("text"), 0o644); err != nil {
		t.Fatal(err)
	}
	small := tiny(t, func(g *onnx.Graph) {
		g.Inputs[0].Dims = append([]onnx.Dim{onnx.Variable("N")}, onnx.Fixed(3, 96, 96)...)
	})
	data, err := json.Marshal(embed.ArcFace())
	if err != nil {
		t.Fatal(err)
	}
	spec := filepath.Join(t.TempDir(), "112.json")
	if err := os.WriteFile(spec, data, 0o644); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		o    teacher.Options
		want error
		say  string
	}{
		"no dataset":     {teacher.Options{Dataset: filepath.Join(dir, "no"), Model: tiny(t, nil)}, store.ErrNotFound, "no"},
		"no model":       {teacher.Options{Dataset: dir, Model: "/no/such.onnx"}, os.ErrNotExist, "/no/such.onnx"},
		"text":           {teacher.Options{Dataset: dir, Model: text}, onnx.ErrFormat, text},
		"shape":          {teacher.Options{Dataset: dir, Model: small, Preprocess: spec}, embed.ErrShape, small},
		"preprocessing":  {teacher.Options{Dataset: dir, Model: tiny(t, nil), Preprocess: "sepia"}, embed.ErrPreprocess, "sepia"},
		"provider":       {teacher.Options{Dataset: dir, Model: tiny(t, nil), Runtime: ort.Options{Provider: "abacus"}}, ort.ErrRuntime, "abacus"},
		"name":           {teacher.Options{Dataset: dir, Model: tiny(t, nil), Name: "../up"}, nil, "../up"},
		"element type":   {teacher.Options{Dataset: dir, Model: tiny(t, nil), DType: "fp8"}, nil, "fp8"},
		"negative batch": {teacher.Options{Dataset: dir, Model: tiny(t, nil), Batch: -4}, nil, "-4"},
	} {
		_, err := teacher.Precompute(t.Context(), c.o)
		if err == nil || c.want != nil && !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.say) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := os.Stat(filepath.Join(dir, "teachers")); !os.IsNotExist(err) {
		t.Errorf("a cache was begun (%v)", err)
	}
}

func TestTwoRunsAtOnce(t *testing.T) {
	dir := dataset(t, upTo(3)...)
	model := tiny(t, nil)
	precompute(t, teacher.Options{Dataset: dir, Model: model})
	ds, kept := teachertest.OpenCache(t, dir, "tiny")
	w, err := cache.Create(ds, kept.Info())
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	if _, err := teacher.Precompute(t.Context(), teacher.Options{Dataset: dir, Model: model}); !errors.Is(err, store.ErrLocked) {
		t.Errorf("got %v", err)
	}
}

func TestDamagedCropStopsTheRun(t *testing.T) {
	dir := dataset(t, upTo(12)...)
	path := filepath.Join(dir, "crops", "000001.arrow")
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	data[len(data)/2] ^= 1
	if err := os.Chmod(path, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, data, 0o644); err != nil {
		t.Fatal(err)
	}
	_, err = teacher.Precompute(t.Context(), teacher.Options{Dataset: dir, Model: tiny(t, nil), Batch: 4, NoSelfTest: true})
	if !errors.Is(err, store.ErrDamaged) || !strings.Contains(err.Error(), "000001.arrow") {
		t.Errorf("got %v", err)
	}
	_, cache := teachertest.OpenCache(t, dir, "tiny")
	if got := cache.MissingShards(); !slices.Equal(got, []int{1}) {
		t.Errorf("missing shards %v", got)
	}
}

// A user sees what preprocessing was chosen and why; scripts find it in the summary.
func TestSaysWhatItDoes(t *testing.T) {
	var out bytes.Buffer
	dir := dataset(t, upTo(3)...)
	s := precompute(t, teacher.Options{Dataset: dir, Model: tiny(t, nil), Progress: &out})
	for _, want := range []string{"teacher tiny: RGB NCHW 112x112", "auto: the graph does not normalise", "batch 8", "precompute: 3/3"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q is not in %q", want, out.String())
		}
	}
	text, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	var keys map[string]any
	if err := json.Unmarshal(text, &keys); err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{"teacher", "rows", "computed", "reused", "dim", "seconds", "images_per_second", "dtype", "flip", "preprocess", "invalid", "digest", "stages"} {
		if _, ok := keys[key]; !ok {
			t.Errorf("the summary has no %s: %s", key, text)
		}
	}
	if s.Stages.Infer <= 0 || s.ImagesPerSecond <= 0 || s.Runtime == "" {
		t.Errorf("summary %+v", s)
	}
	_, cache := teachertest.OpenCache(t, dir, "tiny")
	if info := cache.Info(); info.ModelDigest != s.ModelDigest || info.Fingerprint != s.Fingerprint || info.PreprocessReason != s.PreprocessReason || info.ModelFile != "tiny.onnx" {
		t.Errorf("recorded %+v", info)
	}
}

// The batch is measured once, whatever the number of devices, and that is said.
func TestSaysWhatWasMeasured(t *testing.T) {
	var out bytes.Buffer
	o := teacher.Options{Dataset: dataset(t, upTo(3)...), Model: tiny(t, nil), Batch: embed.AutoBatch, Devices: []int{0, 0}, Progress: &out}
	s := precompute(t, o)
	said := fmt.Sprintf("a batch of %d is taken; crops/s measured: ", s.Batch)
	if len(s.Notes) != 1 || !strings.HasPrefix(s.Notes[0], said) || strings.Count(out.String(), "note: "+said) != 1 {
		t.Errorf("notes %q; said %q", s.Notes, out.String())
	}
}

// What a run allocates depends on the shards and the batches in flight, not on the crops.
func TestPrecomputeAllocatesNothingForACrop(t *testing.T) {
	model := tiny(t, nil)
	count := func(crops int) uint64 {
		dir := filepath.Join(t.TempDir(), "faces.ds")
		keys, encoded := rawCrops(upTo(crops))
		writeShards(t, dir, crops, keys, encoded, imgcodec.Raw)
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		precompute(t, teacher.Options{Dataset: dir, Model: model, Flip: true, NoSelfTest: true})
		runtime.ReadMemStats(&after)
		return after.Mallocs - before.Mallocs
	}
	const more = 400
	count(1) // the runtime's and Go's own first allocations
	few, many := count(100), count(100+more)
	if per := (float64(many) - float64(few)) / more; per > 0.5 {
		t.Errorf("%.2f allocations for a crop", per)
	}
}

// A file may have any name; the cache gets one that it can have.
func TestNameOfFile(t *testing.T) {
	for file, want := range map[string]string{
		"r50":                      "r50",
		"glint r50 (1)":            "glint-r50-1",
		"..[best]":                 "best",
		"учитель":                  "teacher",
		strings.Repeat("long", 20): strings.Repeat("long", 16),
	} {
		model := filepath.Join(t.TempDir(), file+".onnx")
		if err := os.Rename(tiny(t, nil), model); err != nil {
			t.Fatal(err)
		}
		s := precompute(t, teacher.Options{Dataset: dataset(t, 1, 2), Model: model})
		said := slices.ContainsFunc(s.Notes, func(note string) bool { return strings.Contains(note, "is called "+want+",") })
		if s.Teacher != want || said != (want != file) {
			t.Errorf("%q is called %q, want %q; notes %q", file, s.Teacher, want, s.Notes)
		}
	}
}
