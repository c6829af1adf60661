package synthface

import (
	"math"
	"testing"
)

// area sums the coverage in a box, in pixels.
func (r *raster) area(b box) (sum float64) {
	for y := b.y0; y < b.y1; y++ {
		for x := b.x0; x < b.x1; x++ {
			sum += float64(r.cover[y*r.w+x]) / opaque
		}
	}
	return sum
}

func TestCoverageIsArea(t *testing.T) {
	outer, inner := ellipse(vec2{30, 30}, 20, 20, 0, 100), reversed(ellipse(vec2{30, 30}, 10, 10, 0, 100))
	ring := join(outer, outer[:1], inner, inner[:1])
	tests := []struct {
		name string
		p    path
		want float64
	}{
		{"pixel", path{{5, 5}, {6, 5}, {6, 6}, {5, 6}}, 1},
		{"half a pixel", path{{5.5, 5}, {6, 5}, {6, 6}, {5.5, 6}}, 0.5},
		{"rectangle between pixels", path{{3.25, 7.5}, {20.75, 7.5}, {20.75, 30.25}, {3.25, 30.25}}, 17.5 * 22.75},
		{"other winding", path{{3, 30}, {20, 30}, {20, 7}, {3, 7}}, 17 * 23},
		{"triangle", path{{2, 2}, {52, 2}, {2, 42}}, 1000},
		{"circle", ellipse(vec2{30, 30}, 20, 20, 0, 200), math.Pi * 400},
		{"turned ellipse", ellipse(vec2{30, 30}, 20, 5, 0.7, 200), math.Pi * 100},
		{"ring", ring, math.Pi * 300},
		{"over the left edge", path{{-50, 10}, {10, 10}, {10, 20}, {-50, 20}}, 100},
		{"over the right edge", path{{50, 10}, {200, 10}, {200, 20}, {50, 20}}, 140},
		{"over all edges", path{{-1e9, -1e9}, {1e9, -1e9}, {1e9, 1e9}, {-1e9, 1e9}}, 64 * 64},
		{"outside", path{{100, 100}, {120, 100}, {110, 140}}, 0},
		{"line", path{{1, 1}, {40, 40}}, 0},
		{"empty", nil, 0},
	}
	r := newRaster(64, 64)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := r.area(r.fill(tt.p, 0))
			if math.Abs(got-tt.want) > 0.005*tt.want+0.01 {
				t.Errorf("covers %.3f pixels, want %.3f", got, tt.want)
			}
			for k, e := range r.edges {
				if e != 0 {
					t.Fatalf("edge %d is left behind", k)
				}
			}
		})
	}
}

func TestSoftenKeepsArea(t *testing.T) {
	r := newRaster(64, 64)
	for radius := 1; radius <= 5; radius++ {
		b := r.fill(ellipse(vec2{30, 31}, 9, 6, 0.3, 40), 2*radius)
		before := r.area(b)
		r.soften(b, radius)
		if after := r.area(b); math.Abs(after-before) > 0.03*before {
			t.Errorf("radius %d: %.1f pixels become %.1f", radius, before, after)
		}
	}
}

func TestClipsNest(t *testing.T) {
	c := newCanvas(32, 32)
	c.reset()
	square := func(lo, hi float64) path { return path{{lo, lo}, {hi, lo}, {hi, hi}, {lo, hi}} }
	painted := func() (n int) {
		for _, m := range c.person {
			if m == opaque {
				n++
			}
		}
		clear(c.person)
		return n
	}
	everywhere := ink{alpha: 1}
	outer := c.clipTo(square(4, 20))
	inner := c.clipTo(square(10, 30))
	c.paint(square(0, 32), everywhere)
	if got := painted(); got != 100 {
		t.Errorf("two clips let %d pixels through, want 100", got)
	}
	inner()
	c.paint(square(0, 32), everywhere)
	if got := painted(); got != 256 {
		t.Errorf("one clip lets %d pixels through, want 256", got)
	}
	outer()
	c.paint(square(0, 32), everywhere)
	if got := painted(); got != 1024 {
		t.Errorf("no clip lets %d pixels through, want 1024", got)
	}
}

func TestBlurKeepsLevel(t *testing.T) {
	const w, h, level = 20, 12, 1000
	for _, sigma := range []float64{0, 0.3, 1, 4} {
		half := kernel(sigma)
		sum := half[0]
		for _, k := range half[1:] {
			sum += 2 * k
		}
		if sum != kernelOne {
			t.Errorf("sigma %g: weights sum to %d", sigma, sum)
		}
		v := make([]int32, 3*w*h)
		for i := range v {
			v[i] = level
		}
		blurAcross(v, w, half)
		blurDown(v, w, half)
		for i := range v {
			if v[i] != level {
				t.Fatalf("sigma %g: an even picture changes to %d", sigma, v[i])
			}
		}
	}
}
