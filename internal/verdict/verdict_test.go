package verdict_test

import (
	"math"
	"math/rand/v2"
	"testing"

	"facepipe/internal/half"
	"facepipe/internal/vec"
	"facepipe/internal/verdict"
)

func TestFaults(t *testing.T) {
	nan, inf := float32(math.NaN()), float32(math.Inf(1))
	wide := make([]float32, 4096)
	for i := range wide {
		wide[i] = 2e-5
	}
	tiny := make([]float32, 512) // each below half of the smallest fp16
	for i := range tiny {
		tiny[i] = 2.5e-8
	}
	tiny[0] = 2e-6
	for _, c := range []struct {
		embedding  []float32
		half, full verdict.Fault
	}{
		{[]float32{3, 4}, verdict.None, verdict.None},
		{[]float32{nan, 1}, verdict.NotFinite, verdict.NotFinite},
		{[]float32{1, -inf}, verdict.NotFinite, verdict.NotFinite},
		{[]float32{0, 0}, verdict.Zero, verdict.Zero},
		{[]float32{1e-7, 0}, verdict.Zero, verdict.Zero},
		{[]float32{65504, 1}, verdict.None, verdict.None},
		{[]float32{65519, 1}, verdict.None, verdict.None},
		{[]float32{65520, 1}, verdict.TooLarge, verdict.None},
		{[]float32{1e9, 1}, verdict.TooLarge, verdict.None},
		{[]float32{math.MaxFloat32, math.MaxFloat32}, verdict.TooLarge, verdict.NotFinite},
		{[]float32{2e-6, 0}, verdict.TooSmall, verdict.None},
		{[]float32{2e-8, 3e-6}, verdict.None, verdict.None},
		{wide, verdict.None, verdict.None},
		{tiny, verdict.TooSmall, verdict.None},
	} {
		for ofHalf, want := range map[bool]verdict.Fault{true: c.half, false: c.full} {
			got := verdict.Of(c.embedding, ofHalf)
			if got.Fault != want || (got.Norm == 0) != (want != verdict.None) || (got.Reason == "") != (want == verdict.None) {
				t.Errorf("%v, fp16 %t: %+v, want %q", c.embedding[:2], ofHalf, got, want)
			}
		}
	}
}

// fp16 holds an embedding if and only if its norm changes by no more than a hundredth, also
// where it rounds up, underflows or overflows.
func TestHalfKeepsNorms(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	held := map[bool]int{}
	for range 20_000 {
		e, kept := make([]float32, 1+rng.IntN(300)), make([]float32, 300)
		scale := math.Pow(10, -9+15*rng.Float64())
		for i := range e {
			e[i] = float32(scale * rng.NormFloat64())
			kept[i] = half.ToFloat(half.FromFloat(e[i]))
		}
		norm := vec.Norm(e)
		if norm < 1.1*vec.MinNorm {
			continue
		}
		want := math.Abs(vec.Norm(kept)-float64(float32(norm))) <= verdict.MaxNormDrift*float64(float32(norm))
		if got := verdict.Of(e, true); (got.Fault == verdict.None) != want {
			t.Fatalf("norm %g of %d elements becomes %g: %+v", norm, len(e), vec.Norm(kept), got)
		}
		held[want]++
	}
	if held[true] < 1000 || held[false] < 1000 {
		t.Errorf("%d are held, %d are not", held[true], held[false])
	}
}
