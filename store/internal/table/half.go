package table

import (
	"sync"

	"facepipe/internal/half"
)

// halfTable holds the float32 of every binary16. 256 KiB, so it stays in the second
// level cache while a training run reads row after row.
var halfTable = sync.OnceValue(func() *[1 << 16]float32 {
	t := new([1 << 16]float32)
	for i := range t {
		t[i] = half.ToFloat(uint16(i))
	}
	return t
})

// widenByTable converts src to dst, which has the same length. [widen] does so by what
// the processor has for it, where it has something.
func widenByTable(dst []float32, src []uint16) {
	t := halfTable()
	dst = dst[:len(src)]
	for i, h := range src {
		dst[i] = t[h]
	}
}
