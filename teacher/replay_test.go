package teacher_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"facepipe/internal/embed"
	"facepipe/store"
	"facepipe/store/cache"
	"facepipe/teacher"
	"facepipe/teacher/teachertest"
)

func TestReplayAgrees(t *testing.T) {
	for _, o := range []teacher.Options{{DType: cache.FP16, Flip: true}, {DType: cache.FP32}} {
		o.Dataset, o.Model, o.Preprocess = dataset(t, upTo(20)...), tiny(t, nil), "raw"
		precompute(t, o)
		r, err := teacher.Replay(t.Context(), teacher.ReplayOptions{Dataset: o.Dataset, Teacher: "tiny", Model: o.Model, N: 9, Seed: 3})
		if err != nil {
			t.Fatal(err)
		}
		compared := 9
		if o.Flip {
			compared = 18
		}
		if !r.OK || r.Rows != 9 || r.Compared != compared || r.Changed != 0 || r.MinCosine < 0.99999 || r.MeanCosine < r.MinCosine-1e-12 || r.MaxNormError > 1e-4 {
			t.Errorf("%s: %+v", o.DType, r)
		}
	}
}

// lie writes a cache that claims to be the model's but holds other embeddings.
func lie(t *testing.T, dir, model string, change func(row int, e []float32)) {
	t.Helper()
	precompute(t, teacher.Options{Dataset: dir, Model: model, Name: "honest"})
	ds, honest := teachertest.OpenCache(t, dir, "honest")
	info := honest.Info()
	info.Name = "liar"
	w, err := cache.Create(ds, info)
	if err != nil {
		t.Fatal(err)
	}
	teachertest.Fill(t, ds, w, func(row int) []float32 {
		e, _ := rowOf(t, ds, honest, row, false)
		change(row, e)
		return e
	})
}

func TestReplayFindsLies(t *testing.T) {
	for name, c := range map[string]struct {
		change func(row int, e []float32)
		check  func(teacher.ReplayReport) bool
	}{
		"direction": {func(row int, e []float32) {
			if row == 5 {
				e[0], e[1] = e[1]+1, e[0]-1
			}
		}, func(r teacher.ReplayReport) bool {
			return r.MinCosine < 0.999 && r.MeanCosine > r.MinCosine && r.Changed == 0
		}},
		"length": {func(_ int, e []float32) {
			for i := range e {
				e[i] *= 2
			}
		}, func(r teacher.ReplayReport) bool { return r.MinCosine > 0.999 && r.MaxNormError > 0.4 }},
		"nothing": {func(row int, e []float32) {
			if row == 2 {
				clear(e)
			}
		}, func(r teacher.ReplayReport) bool { return r.Changed == 1 && r.Compared == 7 }},
		"everything": {func(_ int, e []float32) { clear(e) }, func(r teacher.ReplayReport) bool { return r.Changed == 8 && r.Compared == 0 }},
	} {
		dir, model := dataset(t, upTo(8)...), tiny(t, nil)
		lie(t, dir, model, c.change)
		r, err := teacher.Replay(t.Context(), teacher.ReplayOptions{Dataset: dir, Teacher: "liar", Model: model, N: 100})
		if err != nil || r.OK || r.Rows != 8 || !c.check(r) {
			t.Errorf("%s: %+v, %v", name, r, err)
		}
	}
}

func TestReplayThreshold(t *testing.T) {
	dir, model := dataset(t, upTo(6)...), tiny(t, nil)
	lie(t, dir, model, func(_ int, e []float32) { e[0], e[1] = e[1], -e[0] }) // turned, not longer
	for threshold, want := range map[float64]bool{0: false, 0.999: false, 0.5: true} {
		r, err := teacher.Replay(t.Context(), teacher.ReplayOptions{Dataset: dir, Teacher: "liar", Model: model, N: 6, MinCosine: threshold})
		if err != nil || r.OK != want {
			t.Errorf("threshold %g: %+v, %v", threshold, r, err)
		}
	}
}

// Where there is nothing to compare there is no disagreement.
func TestReplayOfNothing(t *testing.T) {
	o := teacher.Options{Dataset: dataset(t, append(upTo(12), teachertest.Dark)...), Model: tiny(t, plusRatio), Preprocess: "raw", MaxRejectRate: 1}
	precompute(t, o)
	for seed := range uint64(200) { // until it draws the one crop without an embedding
		r, err := teacher.Replay(t.Context(), teacher.ReplayOptions{Dataset: o.Dataset, Teacher: "tiny", Model: o.Model, N: 1, Seed: seed})
		if err != nil || !r.OK {
			t.Fatalf("seed %d: %+v, %v", seed, r, err)
		}
		if r.Compared == 0 {
			return
		}
	}
	t.Error("no seed draws the crop")
}

func TestReplayRefuses(t *testing.T) {
	dir, model := dataset(t, upTo(14)...), tiny(t, nil)
	precompute(t, teacher.Options{Dataset: dir, Model: model})
	other := tiny(t, times(1)) // the same embeddings, but not the same file
	half := dataset(t, upTo(14)...)
	interruptAt(t, teacher.Options{Dataset: half, Model: model}, 1)
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	for name, c := range map[string]struct {
		ctx  context.Context
		o    teacher.ReplayOptions
		want error
		say  string
	}{
		"no dataset":    {t.Context(), teacher.ReplayOptions{Dataset: t.TempDir(), Teacher: "tiny", Model: model, N: 1}, store.ErrNotFound, ""},
		"no cache":      {t.Context(), teacher.ReplayOptions{Dataset: dir, Teacher: "none", Model: model, N: 1}, store.ErrNotFound, "none"},
		"another model": {t.Context(), teacher.ReplayOptions{Dataset: dir, Teacher: "tiny", Model: other, N: 1}, store.ErrFingerprint, other},
		"half a cache":  {t.Context(), teacher.ReplayOptions{Dataset: half, Teacher: "tiny", Model: model, N: 1}, nil, "precompute-teacher"},
		"cancelled":     {cancelled, teacher.ReplayOptions{Dataset: dir, Teacher: "tiny", Model: model, N: 1}, context.Canceled, ""},
	} {
		r, err := teacher.Replay(c.ctx, c.o)
		if err == nil || c.want != nil && !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.say) || r.OK {
			t.Errorf("%s: %+v, %v", name, r, err)
		}
	}
}

// Where there is one cache it need not be named.
func TestReplayOfTheOnlyTeacher(t *testing.T) {
	dir, model := dataset(t, upTo(6)...), tiny(t, nil)
	if _, err := teacher.Replay(t.Context(), teacher.ReplayOptions{Dataset: dir, Model: model, N: 6}); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("of none: %v", err)
	}
	precompute(t, teacher.Options{Dataset: dir, Model: model, Name: "only"})
	r, err := teacher.Replay(t.Context(), teacher.ReplayOptions{Dataset: dir, Model: model, N: 6})
	if err != nil || !r.OK || r.Teacher != "only" {
		t.Errorf("%+v, %v", r, err)
	}
	precompute(t, teacher.Options{Dataset: dir, Model: model, Name: "second"})
	if _, err := teacher.Replay(t.Context(), teacher.ReplayOptions{Dataset: dir, Model: model, N: 6}); !errors.Is(err, teacher.ErrSeveral) || !strings.Contains(err.Error(), "only or second") {
		t.Errorf("of two: %v", err)
	}
}

// What half precision costs is told apart from what another machine does.
func TestReplayTellsDrift(t *testing.T) {
	dir, model := dataset(t, upTo(20)...), tiny(t, nil)
	precompute(t, teacher.Options{Dataset: dir, Model: model})
	precompute(t, teacher.Options{Dataset: dir, Model: model, Name: "full", DType: cache.FP32})
	r, err := teacher.Replay(t.Context(), teacher.ReplayOptions{Dataset: dir, Teacher: "tiny", Model: model, N: 20})
	if err != nil || r.Drift == nil || r.Drift.Embeddings != 20 || r.Drift.MinCosine >= 1 || r.Drift.MinCosine < 0.99999 {
		t.Fatalf("%+v, %v", r, err)
	}
	if diff := r.Drift.MinCosine - r.MinCosine; diff > 1e-9 || diff < -1e-9 {
		t.Errorf("the cache is %g off, rounding %g", 1-r.MinCosine, 1-r.Drift.MinCosine)
	}
	if r, err := teacher.Replay(t.Context(), teacher.ReplayOptions{Dataset: dir, Teacher: "full", Model: model, N: 20}); err != nil || r.Drift != nil {
		t.Errorf("fp32: %+v, %v", r, err)
	}
}

// A cache that was computed in half precision is replayed in half precision, whether it
// says so or, as an older one, only its fingerprint does.
func TestReplayOfHalfPrecision(t *testing.T) {
	dir, model := dataset(t, upTo(6)...), tiny(t, nil)
	precompute(t, teacher.Options{Dataset: dir, Model: model})
	ds, kept := teachertest.OpenCache(t, dir, "tiny")
	if kept.Info().Half {
		t.Error("single precision is recorded as half")
	}
	anything := make([]float32, kept.Info().Dim)
	anything[0] = 1
	for _, records := range []bool{true, false} {
		info := kept.Info()
		info.Name, info.Half = map[bool]string{true: "half", false: "old"}[records], records
		info.Fingerprint = embed.Fingerprint(info.ModelDigest, embed.ArcFace(), embed.Outputs{}, false, info.DType, embed.Rounding{Half: true})
		w, err := cache.Create(ds, info)
		if err != nil {
			t.Fatal(err)
		}
		teachertest.Fill(t, ds, w, func(int) []float32 { return anything })
		r, err := teacher.Replay(t.Context(), teacher.ReplayOptions{Dataset: dir, Teacher: info.Name, Model: model, N: 6})
		if err == nil || !strings.Contains(err.Error(), "computed in half precision") || !strings.Contains(err.Error(), "--provider") || r.OK {
			t.Errorf("%s on a processor: %+v, %v", info.Name, r, err)
		}
		// And written in the precision that it is of.
		if _, err := teacher.Precompute(t.Context(), teacher.Options{Dataset: dir, Model: model, Name: info.Name}); !errors.Is(err, store.ErrFingerprint) {
			t.Errorf("%s continued in single precision: %v", info.Name, err)
		}
	}
	info := kept.Info()
	info.Name, info.Fingerprint = "foreign", "f"
	w, err := cache.Create(ds, info)
	if err != nil {
		t.Fatal(err)
	}
	teachertest.Fill(t, ds, w, func(int) []float32 { return anything })
	if _, err := teacher.Replay(t.Context(), teacher.ReplayOptions{Dataset: dir, Teacher: "foreign", Model: model, N: 6}); !errors.Is(err, store.ErrFingerprint) {
		t.Errorf("another fingerprint: %v", err)
	}
}
