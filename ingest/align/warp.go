package align

import (
	"math"

	"facepipe/internal/imgcodec"
)

// WarpName identifies the resampling of [Warp] in a dataset's contract.
const WarpName = "bilinear-border0"

// Crop aligns one face: it estimates the similarity from its landmarks to the
// template and samples a crop of size by size pixels.
func Crop(photo *imgcodec.Image, face Landmarks, size int) (*imgcodec.Image, error) {
	m, err := Estimate(face, Template(size))
	if err != nil {
		return nil, err
	}
	crop := imgcodec.NewImage(size, size)
	Warp(crop, photo, m)
	return crop, nil
}

// Warp fills dst: the pixel (u, v) takes src at the point that m maps to (u, v),
// interpolated bilinearly between its four neighbours and rounded to the nearest
// value. Outside src everything is black. Position and weights are exact to
// float64, where OpenCV's warpAffine rounds them to 1/32 pixel.
func Warp(dst, src *imgcodec.Image, m Similarity) {
	inv := m.Inverse()
	for v := range dst.H {
		l := newLine(src, inv, v)
		warpLine(dst.Pix[3*v*dst.W:3*(v+1)*dst.W], &l)
	}
}

// line is one row of a crop in its photograph.
type line struct {
	src *imgcodec.Image
	// Pixel u of the row is at x = a·u − bv + tx, y = b·u + av + ty.
	a, b, av, bv, tx, ty float64
}

func newLine(src *imgcodec.Image, inv Similarity, v int) line {
	return line{src: src, a: inv.A, b: inv.B, av: float64(inv.A * float64(v)), bv: float64(inv.B * float64(v)), tx: inv.Tx, ty: inv.Ty}
}

// at is where in the photograph pixel u is.
func (l *line) at(u int) (x, y float64) {
	return float64(l.a*float64(u)) - l.bv + l.tx, float64(l.b*float64(u)) + l.av + l.ty
}

// sample fills the pixels from u = from on, one after another; row begins with the first.
func (l *line) sample(row []byte, from int) {
	for i := 0; i < len(row); i += 3 {
		x, y := l.at(from + i/3)
		sample(row[i:i+3:i+3], l.src, x, y)
	}
}

// sample interpolates src at (x, y).
func sample(out []byte, src *imgcodec.Image, x, y float64) {
	// Beyond this there is no neighbour inside; the comparison is also false for
	// what would not fit an integer.
	if !(x > -1 && y > -1 && x < float64(src.W) && y < float64(src.H)) {
		out[0], out[1], out[2] = 0, 0, 0
		return
	}
	fx, fy := math.Floor(x), math.Floor(y)
	x0, y0 := int(fx), int(fy)
	wx, wy := x-fx, y-fy
	w00, w01 := float64((1-wx)*(1-wy)), float64(wx*(1-wy))
	w10, w11 := float64((1-wx)*wy), float64(wx*wy)
	if x0 >= 0 && y0 >= 0 && x0+1 < src.W && y0+1 < src.H {
		top := src.Pix[3*(y0*src.W+x0):][:6:6]
		bottom := src.Pix[3*((y0+1)*src.W+x0):][:6:6]
		for c := range 3 {
			out[c] = round8(float64(w00*float64(top[c])) + float64(w01*float64(top[c+3])) +
				float64(w10*float64(bottom[c])) + float64(w11*float64(bottom[c+3])))
		}
		return
	}
	sampleBorder(out, src, x0, y0, [4]float64{w00, w01, w10, w11})
}

// sampleBorder interpolates where at least one of the four neighbours is outside
// and counts as black.
func sampleBorder(out []byte, src *imgcodec.Image, x0, y0 int, weights [4]float64) {
	var sum [3]float64
	for i, w := range weights {
		x, y := x0+i%2, y0+i/2
		if x < 0 || y < 0 || x >= src.W || y >= src.H {
			continue
		}
		for c, v := range src.Pix[3*(y*src.W+x):][:3] {
			sum[c] += float64(w * float64(v))
		}
	}
	for c := range out {
		out[c] = round8(sum[c])
	}
}

// round8 rounds a weighted mean of 8-bit values.
func round8(v float64) byte { return byte(v + 0.5) }
