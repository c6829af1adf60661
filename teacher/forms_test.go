package teacher_test

import (
	"bytes"
	"errors"
	"math"
	"strings"
	"testing"

	"facepipe/internal/embed"
	"facepipe/internal/onnx"
	"facepipe/internal/worker"
	"facepipe/store"
	"facepipe/store/cache"
	"facepipe/store/check"
	"facepipe/teacher"
	"facepipe/teacher/teachertest"
)

// plusHalved gives the model a second output with an embedding's shape.
func plusHalved(g *onnx.Graph) {
	g.Initializers = append(g.Initializers, onnx.FloatTensor("half", []float32{0.5}, 1))
	g.Nodes = append(g.Nodes, onnx.Node{Name: "halved", OpType: "Mul", Inputs: []string{"embedding", "half"}, Outputs: []string{"halved"}})
	g.Outputs = append(g.Outputs, onnx.ValueInfo{Name: "halved", Type: onnx.Float32, Dims: g.Outputs[0].Dims})
}

// The output that was chosen is in the cache's description and in a plan, and whoever embeds
// later takes the same.
func TestChosenOutput(t *testing.T) {
	o := teacher.Options{Dataset: dataset(t, upTo(8)...), Model: tiny(t, plusHalved), Preprocess: "raw", NoSelfTest: true}
	if _, err := teacher.Precompute(t.Context(), o); !errors.Is(err, embed.ErrShape) {
		t.Errorf("none of two outputs is named: %v", err)
	}
	o.Output = "halved"
	dir, planned := plannedCacheOf(t, o)
	if planned.Output != "halved" {
		t.Errorf("planned %+v", planned)
	}
	if _, err := teacher.Work(t.Context(), dir, worker.Worker{Count: 1}, teacher.Options{}); err != nil {
		t.Fatal(err)
	}
	if _, err := teacher.MergePlan(t.Context(), dir, teacher.MergeOptions{}); err != nil {
		t.Fatal(err)
	}
	ds, kept := teachertest.OpenCache(t, o.Dataset, "tiny")
	want := float32(teachertest.Crop(3)[0]) / 2 // of the average of the first block's red
	if got, _ := rowOf(t, ds, kept, 3, false); kept.Info().Output != "halved" || got[0] != want {
		t.Errorf("%+v, first value %g, want %g", kept.Info(), got[0], want)
	}
	if s := precompute(t, o); s.Reused != 8 {
		t.Errorf("the same again: %+v", s)
	}
	r, err := teacher.Replay(t.Context(), teacher.ReplayOptions{Dataset: o.Dataset, Model: o.Model, N: 8})
	if err != nil || !r.OK || r.Compared != 8 {
		t.Errorf("%+v, %v", r, err)
	}
	o.Output = "embedding"
	if _, err := teacher.Precompute(t.Context(), o); !errors.Is(err, store.ErrFingerprint) {
		t.Errorf("another output: %v", err)
	}
}

// The cache of a model of another size says how crops were resampled, in one process or by a
// plan's workers, and can be replayed.
func TestModelOfAnotherSize(t *testing.T) {
	model := tiny(t, func(g *onnx.Graph) {
		g.Inputs[0].Dims = append([]onnx.Dim{onnx.Variable("N")}, onnx.Fixed(3, 160, 96)...)
		g.Outputs[0].Dims = nil
	})
	o := teacher.Options{Dataset: dataset(t, upTo(8)...), Model: model, Flip: true, DType: cache.FP32}
	var notes bytes.Buffer
	o.Progress = &notes
	s := precompute(t, o)
	m, err := embed.Open(t.Context(), model, embed.Options{Crop: teachertest.Side})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	ds, kept := teachertest.OpenCache(t, o.Dataset, "tiny")
	if s.Dim != 3*10*6 || s.Preprocess.Resample == "" || s.Preprocess != m.Preprocess() || !strings.Contains(string(kept.Info().Preprocess), `"resample":"`+s.Preprocess.Resample) {
		t.Errorf("%+v, recorded %s", s.Preprocess, kept.Info().Preprocess)
	}
	if !strings.Contains(notes.String(), "the model takes 96x160, the crops are 112x112") {
		t.Errorf("said %s", &notes)
	}
	for _, flip := range []bool{false, true} {
		want := make([]float32, s.Dim)
		if err := m.Embed(1, teachertest.Crop(5), flip, want); err != nil {
			t.Fatal(err)
		}
		if got, _ := rowOf(t, ds, kept, 5, flip); !near(got, want, cache.FP32) {
			t.Errorf("mirrored %v: got %v, want %v", flip, got[:4], want[:4])
		}
	}
	if r, err := teacher.Replay(t.Context(), teacher.ReplayOptions{Dataset: o.Dataset, Model: model, N: 8}); err != nil || !r.OK || r.Compared != 16 {
		t.Errorf("%+v, %v", r, err)
	}
	o.Dataset = dataset(t, upTo(8)...)
	dir, planned := plannedCacheOf(t, o)
	if _, err := teacher.Work(t.Context(), dir, worker.Worker{Count: 1}, teacher.Options{}); err != nil {
		t.Fatal(err)
	}
	if merged, err := teacher.MergePlan(t.Context(), dir, teacher.MergeOptions{}); err != nil || merged.Digest != s.Digest || planned.Fingerprint != s.Fingerprint {
		t.Errorf("the workers made %+v, %v", merged, err)
	}
}

// plusNorm makes the model give its embedding with length 1, and the length beside it.
func plusNorm(g *onnx.Graph) {
	g.Nodes[1].Outputs[0] = "raw"
	g.Nodes = append(g.Nodes,
		onnx.Node{Name: "norm", OpType: "ReduceL2", Inputs: []string{"raw"}, Outputs: []string{"norm"}, Attributes: []onnx.Attribute{onnx.Ints("axes", 1)}},
		onnx.Node{Name: "unit", OpType: "Div", Inputs: []string{"raw", "norm"}, Outputs: []string{"embedding"}})
	g.Outputs = append(g.Outputs, onnx.ValueInfo{Name: "norm", Type: onnx.Float32})
}

// A norm that the model gives is the cached one, with the raw embedding: the cache is that of the
// model without its last two nodes, and whole to whoever checks it or embeds later.
func TestNormOutput(t *testing.T) {
	o := teacher.Options{Dataset: dataset(t, upTo(8)...), Model: tiny(t, nil), Name: "raw", Flip: true, Preprocess: "raw", NoSelfTest: true}
	precompute(t, o)
	ds, want := teachertest.OpenCache(t, o.Dataset, "raw")
	o.Name, o.Model = "unit", tiny(t, plusNorm)
	dir, planned := plannedCacheOf(t, o)
	if _, err := teacher.Work(t.Context(), dir, worker.Worker{Count: 1}, teacher.Options{}); err != nil {
		t.Fatal(err)
	}
	if _, err := teacher.MergePlan(t.Context(), dir, teacher.MergeOptions{}); err != nil {
		t.Fatal(err)
	}
	if s := precompute(t, o); s.Reused != 8 || s.Fingerprint != planned.Fingerprint {
		t.Errorf("the same again: %+v", s)
	}
	_, got := teachertest.OpenCache(t, o.Dataset, "unit")
	if got.Info().NormOutput != "norm" || want.Info().NormOutput != "" {
		t.Errorf("recorded %+v", got.Info())
	}
	for row := range 8 {
		for _, flip := range []bool{false, true} {
			a, normA := rowOf(t, ds, want, row, flip)
			b, normB := rowOf(t, ds, got, row, flip)
			if !near(b, a, cache.FP16) || math.Abs(float64(normB/normA)-1) > 1e-5 {
				t.Errorf("row %d, mirrored %v: norm %g, want %g", row, flip, normB, normA)
			}
		}
	}
	if report, err := check.Run(t.Context(), o.Dataset, check.Options{ReadData: true}); err != nil || !report.OK {
		t.Errorf("check: %+v, %v", report, err)
	}
	if r, err := teacher.Replay(t.Context(), teacher.ReplayOptions{Dataset: o.Dataset, Teacher: "unit", Model: o.Model, N: 8}); err != nil || !r.OK || r.Compared != 16 {
		t.Errorf("%+v, %v", r, err)
	}
}

// A model that takes pixels as bytes, interleaved, is one like any other.
func TestBytesInterleaved(t *testing.T) {
	model := tiny(t, func(g *onnx.Graph) {
		g.Inputs[0].Type, g.Inputs[0].Dims = onnx.Uint8, append([]onnx.Dim{onnx.Variable("N")}, onnx.Fixed(teachertest.Side, teachertest.Side, 3)...)
		g.Nodes[0].Inputs[0] = "image"
		g.Nodes = append([]onnx.Node{
			{Name: "planes", OpType: "Transpose", Inputs: []string{"input"}, Outputs: []string{"planes"}, Attributes: []onnx.Attribute{onnx.Ints("perm", 0, 3, 1, 2)}},
			{Name: "cast", OpType: "Cast", Inputs: []string{"planes"}, Outputs: []string{"image"}, Attributes: []onnx.Attribute{onnx.Int("to", int64(onnx.Float32))}},
		}, g.Nodes...)
	})
	o := teacher.Options{Dataset: teachertest.People(t, 14, 2), Model: model, DType: cache.FP32}
	s := precompute(t, o)
	want := embed.Raw()
	want.Layout = "NHWC"
	if s.Preprocess != want || s.SelfTest == nil || s.SelfTest.Best != 0 {
		t.Errorf("%v because %q, self-test %+v", s.Preprocess, s.PreprocessReason, s.SelfTest)
	}
	ds, kept := teachertest.OpenCache(t, o.Dataset, "tiny")
	if got, _ := rowOf(t, ds, kept, 3, false); got[0] != float32(teachertest.Crop(3)[0]) {
		t.Errorf("the first block's red is %g, want %d", got[0], teachertest.Crop(3)[0])
	}
	o.Preprocess, o.Name = "arcface", "other"
	if _, err := teacher.Precompute(t.Context(), o); !errors.Is(err, embed.ErrPreprocess) {
		t.Errorf("arcface for bytes: %v", err)
	}
}
