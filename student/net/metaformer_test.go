package net

import (
	"slices"
	"strings"
	"testing"

	"facepipe/student/net/layer"
	"facepipe/student/torch"
	"facepipe/student/torch/torchtest"
)

// trainOnce gives a MetaFormer's embeddings in training, and the length of its gradient.
func trainOnce(t *testing.T, e *torch.Engine, dtype torch.DType, rate float64, step int) (y []float32, length float64) {
	t.Helper()
	size := small
	size.DropPath = rate
	n := drawnOf(t, e, "metaformer-0", size, 1)
	s := e.NewScope()
	defer s.Close()
	x := torch.FromData(s, "cpu", pixels(), testRows, 3, InputSide, InputSide)
	out := n.Train(s, x, dtype, layer.Chance{Seed: 1, Step: step, Crops: []int64{5, 6, 7}})
	s.Backward(s.Mean(s.Mul(out, out)))
	if err := s.Err(); err != nil && dtype == torch.Float16 && strings.Contains(err.Error(), "batch_norm") {
		return nil, 0 // some versions of libtorch have no such norms for processors
	} else if err != nil {
		t.Fatal(err)
	}
	var gradients []torch.Tensor
	for _, p := range n.Params() {
		if !p.Trained {
			continue
		}
		g := s.Grad(p.Tensor())
		if g.IsNone() {
			t.Fatalf("%s has no gradient", p.Name)
		}
		if s.DType(g) != torch.Float32 {
			t.Errorf("the gradient of %s is %v", p.Name, s.DType(g))
		}
		gradients = append(gradients, g)
	}
	y, length = s.Floats(out), s.Norm(gradients)
	if s.Err() != nil {
		t.Fatal(s.Err())
	}
	return y, length
}

// A MetaFormer is trained in every precision, whole or with blocks left out.
func TestMetaFormerTrains(t *testing.T) {
	e := torchtest.Open(t)
	want, long := trainOnce(t, e, torch.Float32, 0.5, 3)
	for dtype, limit := range map[torch.DType]float64{torch.BFloat16: 0.99, torch.Float16: 0.9995} {
		got, length := trainOnce(t, e, dtype, 0.5, 3)
		if got == nil {
			continue
		}
		agree(t, got, want, limit)
		if !(length > 0.8*long && length < 1.25*long) {
			t.Errorf("%v: a gradient of length %g, in float32 %g", dtype, length, long)
		}
	}
	if again, _ := trainOnce(t, e, torch.Float32, 0.5, 3); !slices.Equal(again, want) {
		t.Error("the same step gives another embedding")
	}
	whole, _ := trainOnce(t, e, torch.Float32, 0, 3)
	other, _ := trainOnce(t, e, torch.Float32, 0.5, 4)
	if slices.Equal(whole, want) || slices.Equal(other, want) {
		t.Error("nothing is dropped, or the same in another step")
	}
}
