package half

import (
	"math"
	"testing"
)

// FromFloat is the nearest of all binary16 values, ties to the even one, and ToFloat
// its inverse.
func TestHalf(t *testing.T) {
	for h := range 1 << 16 {
		f := ToFloat(uint16(h))
		if exp := h >> 10 & 0x1f; exp == 0x1f && h&0x3ff != 0 {
			if f == f || FromFloat(f)&0x7fff != 0x7e00 {
				t.Fatalf("%#04x is no NaN", h)
			}
			continue
		}
		if got := FromFloat(f); got != uint16(h) {
			t.Fatalf("%#04x becomes %#04x by way of %g", h, got, f)
		}
		if h&0x7fff >= 0x7bff {
			continue // no finite neighbour above
		}
		// Between neighbours a, b: the midpoint goes to the even one, its
		// surroundings to the nearer.
		a, b := float64(f), float64(ToFloat(uint16(h+1)))
		mid := float32((a + b) / 2)
		even := uint16(h + h&1)
		toward := func(to float64) uint16 { return FromFloat(math.Nextafter32(mid, float32(to))) }
		if got := FromFloat(mid); got != even {
			t.Fatalf("midpoint %g of %#04x becomes %#04x", mid, h, got)
		}
		if toward(a) != uint16(h) || toward(b) != uint16(h+1) {
			t.Fatalf("around midpoint %g of %#04x: %#04x, %#04x", mid, h, toward(a), toward(b))
		}
	}
	inf := float32(math.Inf(1))
	for f, want := range map[float32]uint16{
		1: 0x3c00, -2: 0xc000, 65504: 0x7bff, 65519.996: 0x7bff, 65520: 0x7c00, 1e9: 0x7c00, inf: 0x7c00, -inf: 0xfc00,
		1.0 / (1 << 24): 1, 1.0 / (1 << 25): 0, 1.0000001 / (1 << 25): 1, 1e-30: 0,
	} {
		if got := FromFloat(f); got != want {
			t.Errorf("%g becomes %#04x, want %#04x", f, got, want)
		}
	}
	if FromFloat(float32(math.Copysign(0, -1))) != 0x8000 {
		t.Error("the sign of zero is lost")
	}
}
