package teacher_test

import (
	"errors"
	"testing"

	"facepipe/internal/embed"
	"facepipe/internal/onnx"
	"facepipe/internal/worker"
	"facepipe/store"
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
	ds, cache := teachertest.OpenCache(t, o.Dataset, "tiny")
	want := float32(teachertest.Crop(3)[0]) / 2 // of the average of the first block's red
	if got, _ := rowOf(t, ds, cache, 3, false); cache.Info().Output != "halved" || got[0] != want {
		t.Errorf("%+v, first value %g, want %g", cache.Info(), got[0], want)
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
