package embed

import (
	"facepipe/internal/half"
	"facepipe/internal/onnx"
	"facepipe/internal/ort"
)

// filler writes crops into a model's input tensor. Every source byte has a place there, and a
// table of 256 results for its channel says what is written.
type filler struct {
	resampler *resampler // nil if crops have the model's size
	size      int        // of one crop in values
	area      int        // of one crop in pixels
	width     int
	planar    bool
	table     [3][256]float32 // by channel of the source
	halves    [3][256]uint16  // the same, rounded to float16
	mean, std [3]float32      // the same
	place     [3]int          // of a source channel in the target
}

// newFiller makes one for crops of a side, 0 for those of the contract's size.
func newFiller(p Preprocess, side int) *filler {
	f := &filler{area: p.Width * p.Height, size: 3 * p.Width * p.Height, planar: p.Layout == "NCHW", width: p.Width}
	if side > 0 {
		f.resampler = newResampler(side, p)
	}
	for c := range 3 {
		f.place[c] = c
		if p.ChannelOrder == "BGR" {
			f.place[c] = 2 - c
		}
		f.mean[c], f.std[c] = p.Mean[f.place[c]], p.Std[f.place[c]]
		for v := range 256 {
			f.table[c][v] = (float32(v) - f.mean[c]) / f.std[c]
			f.halves[c][v] = half.FromFloat(f.table[c][v])
		}
	}
	return f
}

// put writes one RGB crop into row k of a tensor, mirrored left to right if flip: normalised or,
// into one of uint8, as it is but for the order of the channels.
func (f *filler) put(t *ort.Tensor, k int, rgb []byte, flip bool) {
	from, to := k*f.size, (k+1)*f.size
	switch t.Type() {
	case onnx.Uint8:
		f.copy(t.Bytes()[from:to], rgb, flip)
	case onnx.Float16:
		fillBy(f, t.Halves()[from:to], &f.halves, rgb, flip)
	default:
		f.fill(t.Data()[from:to], rgb, flip)
	}
}

// copy copies one RGB crop in the contract's order of channels, mirrored left to right if flip.
func (f *filler) copy(dst, rgb []byte, flip bool) {
	if f.place[0] == 0 && !flip {
		copy(dst, rgb)
		return
	}
	for row := 0; row < f.area; row += f.width {
		from, step := row, 1
		if flip {
			from, step = row+f.width-1, -1
		}
		for to := row; to < row+f.width; to++ {
			d, s := dst[3*to:3*to+3], rgb[3*from:3*from+3]
			d[f.place[0]], d[1], d[2-f.place[0]] = s[0], s[1], s[2]
			from += step
		}
	}
}

// fill normalises one RGB crop into dst, mirrored left to right if flip.
func (f *filler) fill(dst []float32, rgb []byte, flip bool) {
	if !f.planar {
		fillBy(f, dst, &f.table, rgb, flip)
		return
	}
	run := f.area // pixels that follow each other in both
	if flip {
		run = f.width
	}
	for at := 0; at < f.area; at += run {
		plane := func(c int) []float32 { return dst[f.place[c]*f.area+at:][:run] }
		f.fillPlanes(plane(0), plane(1), plane(2), rgb[3*at:3*(at+run)], run, flip)
	}
}

// one normalises the first pixel of rgb into element to of each plane.
func (f *filler) one(r, g, b []float32, rgb []byte, to int) {
	r[to], g[to], b[to] = f.table[0][rgb[0]], f.table[1][rgb[1]], f.table[2][rgb[2]]
}

// fillBy normalises one RGB crop into dst by a table of each channel's values.
func fillBy[T float32 | uint16](f *filler, dst []T, table *[3][256]T, rgb []byte, flip bool) {
	first, stride := f.place, 3
	if f.planar {
		first, stride = [3]int{f.place[0] * f.area, f.place[1] * f.area, f.place[2] * f.area}, 1
	}
	for row := 0; row < f.area; row += f.width {
		from, step := row, 1
		if flip {
			from, step = row+f.width-1, -1
		}
		for to := row; to < row+f.width; to++ {
			for c := range 3 {
				dst[first[c]+stride*to] = table[c][rgb[3*from+c]]
			}
			from += step
		}
	}
}
