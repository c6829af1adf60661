package table

import (
	"golang.org/x/sys/cpu"
)

// widen converts src to dst, which has the same length.
func widen(dst []float32, src []uint16) {
	done := 0
	if cpu.X86.HasAVX && cpu.X86.HasF16C {
		// In steps of sixteen; reading what is not there is not asked for.
		if done = len(src) &^ 15; done > 0 {
			widenF16C(&dst[:len(src)][0], &src[0], done)
		}
	}
	if done < len(src) {
		widenByTable(dst[done:], src[done:])
	}
}

// widenF16C converts n numbers, n a positive multiple of 16, by VCVTPH2PS. Other than
// the table it makes signalling NaNs quiet, of which embeddings have none.
//
//go:noescape
func widenF16C(dst *float32, src *uint16, n int)
