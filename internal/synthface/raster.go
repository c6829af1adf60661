package synthface

import "math"

// path is a closed polygon in pixels of an image. Its inside is where the
// windings do not cancel.
type path []vec2

// Coverage is sampled on rowLines lines a pixel row, exactly along x. One unit of
// a fixed-point coordinate is 1/fixedOne pixel.
const (
	fixedOne   = 256
	rowLines   = 8
	lineStep   = fixedOne / rowLines
	opaqueBits = 8
	opaque     = 1 << opaqueBits // coverage or alpha of a full pixel
	farPixels  = 1 << 14         // coordinates are confined to that
)

// box is a rectangle of pixels: x0 <= x < x1, y0 <= y < y1.
type box struct{ x0, y0, x1, y1 int }

func (b box) empty() bool { return b.x0 >= b.x1 || b.y0 >= b.y1 }

func (b box) intersect(c box) box {
	return box{max(b.x0, c.x0), max(b.y0, c.y0), min(b.x1, c.x1), min(b.y1, c.y1)}
}

// raster turns paths into coverage, 0..opaque a pixel.
type raster struct {
	w, h int
	// edges collects, for one path, the change of coverage from each pixel to the
	// next one on its right, (w+2) a row. It is all zero between two paths.
	edges []int32
	// cover is the last path's coverage, w a row, valid in its box only.
	cover []uint16
}

func newRaster(w, h int) *raster {
	return &raster{w: w, h: h, edges: make([]int32, (w+2)*h), cover: make([]uint16, w*h)}
}

// fill computes the path's coverage and returns the box that holds it, which
// reaches margin pixels further than the path.
func (r *raster) fill(p path, margin int) box {
	b := r.bounds(p, margin)
	if b.empty() {
		return box{}
	}
	last := toFixed(p[len(p)-1])
	for _, q := range p {
		next := toFixed(q)
		r.edge(last, next)
		last = next
	}
	for y := b.y0; y < b.y1; y++ {
		r.sweep(y, b)
	}
	return b
}

type fixedPoint struct{ x, y int64 }

func toFixed(p vec2) fixedPoint {
	fix := func(v float64) int64 {
		return int64(math.Round(min(max(v, -farPixels), farPixels) * fixedOne))
	}
	return fixedPoint{fix(p.x), fix(p.y)}
}

func (r *raster) bounds(p path, margin int) box {
	if len(p) < 3 {
		return box{}
	}
	lo, hi := toFixed(p[0]), toFixed(p[0])
	for _, q := range p[1:] {
		f := toFixed(q)
		lo.x, lo.y = min(lo.x, f.x), min(lo.y, f.y)
		hi.x, hi.y = max(hi.x, f.x), max(hi.y, f.y)
	}
	b := box{
		int(lo.x/fixedOne) - margin - 1, int(lo.y/fixedOne) - margin - 1,
		int(hi.x/fixedOne) + margin + 2, int(hi.y/fixedOne) + margin + 2,
	}
	return b.intersect(box{0, 0, r.w, r.h})
}

// edge adds one side of the polygon: right of it, every sampling line that it
// crosses gains or loses its part of coverage, and the crossed pixel the part
// of it that lies to the right of the crossing.
func (r *raster) edge(from, to fixedPoint) {
	sign := int32(1)
	if from.y > to.y {
		from, to, sign = to, from, -1
	}
	first := max(firstLine(from.y), 0)
	end := min(firstLine(to.y), r.h*rowLines)
	if first >= end {
		return
	}
	const frac = 16
	slope := ((to.x - from.x) << frac) / (to.y - from.y)
	x := from.x<<frac + slope*(int64(first)*lineStep+lineStep/2-from.y)
	right := int64(r.w) * fixedOne
	for line := first; line < end; line++ {
		at := min(max(x>>frac, 0), right)
		cell := line/rowLines*(r.w+2) + int(at/fixedOne)
		part := int32(at % fixedOne)
		r.edges[cell] += sign * (fixedOne - part)
		r.edges[cell+1] += sign * part
		x += slope * lineStep
	}
}

// firstLine is the first sampling line at or below the fixed-point height y.
func firstLine(y int64) int {
	const half = lineStep / 2
	return int((y + half - 1) >> 5)
}

// sweep sums one row of edges into coverage and clears them.
func (r *raster) sweep(y int, b box) {
	edges := r.edges[y*(r.w+2) : (y+1)*(r.w+2)]
	cover := r.cover[y*r.w : (y+1)*r.w]
	var sum int32
	for x := b.x0; x < b.x1; x++ {
		sum += edges[x]
		edges[x] = 0
		c := sum
		if c < 0 {
			c = -c
		}
		cover[x] = uint16(min(c/rowLines, opaque))
	}
	clear(edges[b.x1:])
}

// soften blurs the coverage in the box by two box filters of the given radius
// in each direction, a close and cheap stand-in for a Gaussian of that spread.
func (r *raster) soften(b box, radius int) {
	line := make([]uint16, max(b.x1-b.x0, b.y1-b.y0)+2*radius+1)
	for range 2 {
		for y := b.y0; y < b.y1; y++ {
			boxFilter(r.cover[y*r.w+b.x0:], 1, b.x1-b.x0, radius, line)
		}
		for x := b.x0; x < b.x1; x++ {
			boxFilter(r.cover[b.y0*r.w+x:], r.w, b.y1-b.y0, radius, line)
		}
	}
}

// boxFilter replaces n values, stride apart, by the means of the 2·radius+1
// values around them; the ends repeat.
func boxFilter(v []uint16, stride, n, radius int, line []uint16) {
	for k := range n {
		line[radius+k] = v[k*stride]
	}
	for k := range radius {
		line[k] = v[0]
		line[radius+n+k] = v[(n-1)*stride]
	}
	size := 2*radius + 1
	var sum uint32
	for _, c := range line[:size-1] {
		sum += uint32(c)
	}
	reciprocal := (1<<16 + uint32(size) - 1) / uint32(size)
	for k := range n {
		sum += uint32(line[k+size-1])
		v[k*stride] = uint16(min(sum*reciprocal>>16, opaque))
		sum -= uint32(line[k])
	}
}
