package detect

import (
	"math"

	"facepipe/internal/imgcodec"
)

// placement says where a photograph lies on the canvas that a model looks at.
type placement struct {
	// w and h are the size of the canvas.
	w, h int
	// left and top are where the photograph begins.
	left, top int
	// photoW and photoH are its size on the canvas.
	photoW, photoH int
}

// canvasSize chooses the size of a canvas.
type canvasSize struct {
	// fixedW and fixedH are the model's own input size; 0 if it takes any.
	fixedW, fixedH int
	// limit is the longest side, in pixels, of a canvas of free size.
	limit int
	// step is what its sides are multiples of.
	step int
}

// minSide is the smallest side of a canvas of free size: coarser levels would be
// left with too few cells.
const minSide = 128

// square is the side of the smallest canvas that holds content pixels.
func (c canvasSize) square(content float64) int {
	side := max(ceilDiv(int(math.Ceil(content)), c.step)*c.step, ceilDiv(minSide, c.step)*c.step)
	return min(side, max(c.step, c.limit/c.step*c.step))
}

// place puts a photograph of w by h pixels on a canvas. At a shrink of 1 the
// photograph lies in the top left corner, as the models' own tools place it, at
// its own size or as much smaller as the canvas demands: enlarging finds nothing
// new. A smaller shrink makes it smaller by that factor and puts it in the middle
// of twice the room it needs.
func (c canvasSize) place(w, h int, shrink float64) placement {
	p := placement{w: c.fixedW, h: c.fixedH}
	if p.w == 0 {
		full := c.square(float64(max(w, h)))
		p.w = full
		if shrink < 1 {
			fitted := min(float64(max(w, h)), float64(full)) * shrink
			p.w = c.square(2 * fitted)
		}
		p.h = p.w
	}
	scale := c.fit(w, h) * shrink
	p.photoW = max(1, int(math.Round(float64(w)*scale)))
	p.photoH = max(1, int(math.Round(float64(h)*scale)))
	if shrink < 1 {
		p.left, p.top = (p.w-p.photoW)/2, (p.h-p.photoH)/2
	}
	return p
}

// fit is the factor, at most 1, that makes a photograph fit the largest canvas.
func (c canvasSize) fit(w, h int) float64 {
	maxW, maxH := c.fixedW, c.fixedH
	if maxW == 0 {
		maxW = c.square(math.MaxInt32)
		maxH = maxW
	}
	return min(1, float64(maxW)/float64(w), float64(maxH)/float64(h))
}

// toPhoto maps a face from canvas pixels to pixels of the photograph of w by h.
func (p placement) toPhoto(f Face, w, h int) Face {
	sx, sy := float64(w)/float64(p.photoW), float64(h)/float64(p.photoH)
	x := func(v float64) float64 { return (v - float64(p.left)) * sx }
	y := func(v float64) float64 { return (v - float64(p.top)) * sy }
	f.X1, f.Y1, f.X2, f.Y2 = x(f.X1), y(f.Y1), x(f.X2), y(f.Y2)
	for i, q := range f.Landmarks {
		f.Landmarks[i].X, f.Landmarks[i].Y = x(q.X), y(q.Y)
	}
	return f
}

// inputLayout is how a model wants its pixels: planar, (value − mean) / std.
type inputLayout struct {
	mean, std float32
	bgr       bool
}

// paint fills dst, three planes of p.w by p.h values, with the photograph, which
// is already of the size p gives it, on black.
func (l inputLayout) paint(dst []float32, p placement, photo *imgcodec.Image) {
	plane := p.w * p.h
	var table [256]float32
	for v := range table {
		table[v] = (float32(v) - l.mean) / l.std
	}
	for i := range dst[:3*plane] {
		dst[i] = table[0]
	}
	for c := range 3 {
		channel := dst[c*plane : (c+1)*plane]
		source := c
		if l.bgr {
			source = 2 - c
		}
		for y := range photo.H {
			row := channel[(p.top+y)*p.w+p.left:][:photo.W]
			pix := photo.Pix[3*y*photo.W:][:3*photo.W]
			for x := range row {
				row[x] = table[pix[3*x+source]]
			}
		}
	}
}
