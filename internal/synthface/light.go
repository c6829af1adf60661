package synthface

import "math"

// shading is the light that falls on each node of a relief.
type shading struct {
	ambient field // fraction of the surroundings' light that gets there
	key     field // fraction of the lamp's light
	shine   field // of the lamp's mirror image
}

// shade lights the relief by a lamp (Lambert, with cast shadows and Blinn-Phong
// gloss) and estimates how open each place is to the surroundings.
func shade(r *relief, v *view, l lamp) *shading {
	s := &shading{}
	toward := v.unturn(l.toward)
	viewer := v.unturn(vec3{0, 0, 1})
	half := vec3{toward.x + viewer.x, toward.y + viewer.y, toward.z + viewer.z}.unit()
	ray := newRay(toward)
	for k := range r.z {
		n := r.normal(k)
		lit := ray.reach(r, k)
		s.ambient[k] = float32(r.openness(k) * (0.85 - 0.15*n.y))
		s.key[k] = float32(lit * max(n.dot(toward)+0.12, 0) / 1.12)
		gloss := max(n.dot(half), 0)
		gloss *= gloss
		gloss *= gloss
		gloss *= gloss
		s.shine[k] = float32(lit * gloss * gloss * gloss)
	}
	return s
}

// openness is 1 on a plane and less in a hollow.
func (r *relief) openness(k int) float64 {
	const reach = 3
	if k < reach*reliefCols || k >= len(r.z)-reach*reliefCols {
		return 1
	}
	z := &r.z
	hollow := (z[k-reach]+z[k+reach]+z[k-reach*reliefCols]+z[k+reach*reliefCols])/4 - z[k]
	return min(max(1-0.09*float64(hollow), 0.45), 1.06)
}

// ray walks from a node towards the lamp over the grid.
type ray struct {
	step []int     // node offsets
	rise []float32 // height of the ray above its start there
}

func newRay(toward vec3) ray {
	var r ray
	flat := math.Hypot(toward.x, toward.y)
	if flat < 0.05 {
		return r
	}
	for _, t := range [...]float64{2, 3.5, 5.5, 8, 11, 15} {
		dx, dy := t*toward.x/flat, t*toward.y/flat
		r.step = append(r.step, int(math.Round(dy))*reliefCols+int(math.Round(dx)))
		r.rise = append(r.rise, float32(t*reliefStep*toward.z/flat))
	}
	return r
}

// reach is the fraction of the lamp's light that arrives at a node, 1 where nothing
// is in the way. Shadows have soft edges.
func (w *ray) reach(r *relief, k int) float64 {
	var blocked float32
	for i, step := range w.step {
		if at := k + step; at >= 0 && at < len(r.z) {
			blocked = max(blocked, r.z[at]-r.z[k]-w.rise[i])
		}
	}
	const softness = 4
	return 1 - float64(min(blocked/softness, 1))
}

// glow is light on the picture's pixels: the factors of red, green and blue in
// 1/glowOne, and the gloss that is added in linear light (white).
type glow struct {
	factor [3]int32
	gloss  int32
}

const (
	glowOne  = 1 << 12
	glowStep = 2 // pixels between two places where light is computed
)

// illuminate returns the light on a grid of pixels glowStep apart, one more
// column and row than the picture needs, for interpolation.
func (s *shading) illuminate(r *relief, v *view, l lamp, gain [3]float64, w, h int) []glow {
	cols, rows := glowNodes(w), glowNodes(h)
	grid := make([]glow, cols*rows)
	back := v.toImage.inverse()
	for i := range rows {
		depth := 40.0
		for j := range cols {
			var p vec2
			p, depth = v.surface(r, back.apply(vec2{float64(j*glowStep) + 0.5, float64(i*glowStep) + 0.5}), depth)
			grid[i*cols+j] = s.glowAt(locate(p), l, gain)
		}
	}
	return grid
}

func glowNodes(pixels int) int { return (pixels-1)/glowStep + 2 }

func (s *shading) glowAt(p cell, l lamp, gain [3]float64) glow {
	ambient, key := l.ambient*s.ambient.at(p), l.key*s.key.at(p)
	shine := s.shine.at(p) * l.shine * l.key * 0.22
	var g glow
	for k, c := range l.color {
		g.factor[k] = int32(min(gain[k]*(ambient+c*key), 16)*glowOne + 0.5)
	}
	g.gloss = int32(min(gain[1]*shine, 1)*full + 0.5)
	return g
}

// surface finds the place on the relief that is seen at a point of the picture
// (before the similarity) by a few steps along the line of sight. It starts from
// the depth found next to it and returns its own.
func (v *view) surface(r *relief, seen vec2, depth float64) (vec2, float64) {
	var p vec3
	for range 2 {
		scale := (v.distance - depth) / v.distance
		p = v.unturn(vec3{seen.x * scale, seen.y * scale, depth - pivot})
		p.z += pivot
		depth += 0.8 * (r.at(vec2{p.x, p.y}) - p.z)
	}
	return vec2{p.x, p.y}, depth
}
