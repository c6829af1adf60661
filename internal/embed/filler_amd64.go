package embed

import "golang.org/x/sys/cpu"

// fillPlanes normalises n pixels of rgb into the planes r, g and b, mirrored if flip, with
// AVX2 if the processor has it. The tables give the same bits.
func (f *filler) fillPlanes(r, g, b []float32, rgb []byte, n int, flip bool) {
	done := 0
	if cpu.X86.HasAVX2 {
		done = n &^ (stride8 - 1)
	}
	if done > 0 {
		p := pixels8{src: &rgb[0], r: &r[0], g: &g[0], b: &b[0], n: done, step: 3 * stride8, order: [8]uint32{0, 1, 2, 3, 4, 5, 6, 7}, mean: f.mean, std: f.std}
		if flip {
			p.src, p.step, p.order = &rgb[3*(n-stride8)], -p.step, [8]uint32{7, 6, 5, 4, 3, 2, 1, 0}
		}
		fillAVX2(&p)
	}
	for to := done; to < n; to++ {
		from := to
		if flip {
			from = n - 1 - to
		}
		f.one(r, g, b, rgb[3*from:], to)
	}
}

// stride8 is the number of pixels that fillAVX2 takes at a time.
const stride8 = 8

// pixels8 is what fillAVX2 works on: n pixels, a positive multiple of 8. The assembler
// knows its layout.
type pixels8 struct {
	src       *byte // the first eight
	r, g, b   *float32
	n, step   int       // step in bytes from one eight to the next
	order     [8]uint32 // in which eight are written
	mean, std [3]float32
}

// fillAVX2 computes (value - mean) / std of each channel.
//
//go:noescape
func fillAVX2(p *pixels8)
