package teacher

import (
	"math"
	"testing"

	"facepipe/store/cache"
)

// What is said of an embedding agrees with what the store does to it, also where fp16 rounds
// up, underflows or overflows.
func TestFaultAgreesWithTheStore(t *testing.T) {
	nan, inf := float32(math.NaN()), float32(math.Inf(1))
	wide := make([]float32, 4096)
	for i := range wide {
		wide[i] = 2e-5
	}
	for _, c := range []struct {
		embedding  []float32
		half, full fault
	}{
		{[]float32{3, 4}, none, none},
		{[]float32{nan, 1}, notFinite, notFinite},
		{[]float32{1, -inf}, notFinite, notFinite},
		{[]float32{0, 0}, zero, zero},
		{[]float32{1e-7, 0}, zero, zero},
		{[]float32{65504, 1}, none, none},
		{[]float32{65519, 1}, none, none},
		{[]float32{65520, 1}, tooLarge, none},
		{[]float32{1e9, 1}, tooLarge, none},
		{[]float32{math.MaxFloat32, math.MaxFloat32}, tooLarge, notFinite},
		{[]float32{2e-6, 0}, tooSmall, none},
		{[]float32{2e-8, 3e-6}, none, none},
		{wide, none, none},
	} {
		for dtype, want := range map[string]fault{cache.FP16: c.half, cache.FP32: c.full} {
			got := faultOf(c.embedding, dtype)
			if (got == none) != (cache.Usable(c.embedding, dtype) == nil) {
				t.Errorf("%v in %s: %q, the store says %v", c.embedding[:2], dtype, got, cache.Usable(c.embedding, dtype))
			}
			if got != want {
				t.Errorf("%v in %s: %q, want %q", c.embedding[:2], dtype, got, want)
			}
		}
	}
	tiny := make([]float32, 512) // each below half of the smallest fp16
	for i := range tiny {
		tiny[i] = 2.5e-8
	}
	tiny[0] = 2e-6
	if got := faultOf(tiny, cache.FP16); (got == none) != (cache.Usable(tiny, cache.FP16) == nil) || got == zero {
		t.Errorf("mostly lost in fp16: %q, the store says %v", got, cache.Usable(tiny, cache.FP16))
	}
}
