package align

import "golang.org/x/sys/cpu"

// warpLine fills a row of a crop: what lies well inside the photograph with AVX2, where
// the processor has it, the rest pixel by pixel. The result is the same to the bit.
func warpLine(row []byte, l *line) {
	if !cpu.X86.HasAVX2 {
		l.sample(row, 0)
		return
	}
	from, to := l.inner(len(row) / 3)
	l.sample(row[:3*from], 0)
	if from < to {
		warpAVX2(&row[3*from], &span{
			src: &l.src.Pix[0], stride: 3 * l.src.W, n: to - from,
			u: float64(from), a: l.a, b: l.b, bv: l.bv, av: l.av, tx: l.tx, ty: l.ty,
		})
	}
	l.sample(row[3*to:], to)
}

// inner is the stretch of n pixels that warpAVX2 can fill. It reads a byte more than a
// pixel has, so the last column is left out, and writes one more, so the last pixel is.
func (l *line) inner(n int) (from, to int) {
	w, h := float64(l.src.W-2), float64(l.src.H-1)
	inside := func(u int) bool {
		x, y := l.at(u)
		return x >= 0 && y >= 0 && x < w && y < h
	}
	// Rounding keeps the order of the points, so those inside are one stretch.
	for to = n - 1; from < to && !inside(from); from++ {
	}
	for ; from < to && !inside(to-1); to-- {
	}
	return from, max(from, to)
}

// span is what warpAVX2 fills: n pixels from u on, at the points of [line.at], of which
// all four neighbours are in the photograph. The assembler knows its layout.
type span struct {
	src       *byte
	stride, n int // n at least 1
	u, a, b   float64
	bv, av    float64
	tx, ty    float64
}

// warpAVX2 computes what sample does, in the same order and precision, the channels of a
// pixel side by side. It also writes the byte after the last pixel.
//
//go:noescape
func warpAVX2(dst *byte, s *span)
