package table

import (
	"math"
	"testing"

	"facepipe/internal/half"
)

// widen agrees with package half, whatever the length and the alignment.
func TestWiden(t *testing.T) {
	src := make([]uint16, 1<<16)
	for h := range src {
		src[h] = uint16(h)
	}
	dst := make([]float32, len(src)+1)
	check := func(dst []float32, src []uint16) {
		for i, h := range src {
			got, want := dst[i], half.ToFloat(h)
			if math.Float32bits(got) != math.Float32bits(want) && (got == got || want == want) {
				t.Fatalf("%d numbers: %#04x becomes %g, want %g", len(src), h, got, want)
			}
		}
	}
	widen(dst[:len(src)], src)
	check(dst, src)
	for n := range 70 {
		for offset := range 3 {
			part := src[0x3bf0+offset:][:n]
			dst[n] = -1
			widen(dst[:n], part)
			check(dst, part)
			if dst[n] != -1 {
				t.Fatalf("%d numbers: wrote beyond the end", n)
			}
		}
	}
}
