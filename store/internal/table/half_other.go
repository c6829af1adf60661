//go:build !amd64

package table

// widen converts src to dst, which has the same length.
func widen(dst []float32, src []uint16) { widenByTable(dst, src) }
