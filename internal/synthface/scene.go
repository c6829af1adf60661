package synthface

import "math"

// scene is one picture being painted.
type scene struct {
	id     *Identity
	shot   *shot
	f      features
	relief *relief
	view   view
	canvas *canvas
	scale  float64 // pixels a unit of head space
}

// newScene sets the stage for a picture; toImage is the similarity from the
// projected head to pixels, where pixel (x, y) covers x..x+1 and y..y+1.
func newScene(id *Identity, s *shot, toImage similarity, c *canvas) *scene {
	sc := &scene{
		id:     id,
		shot:   s,
		f:      arrange(id, s.expression),
		view:   newView(s.pose, toImage),
		canvas: c,
		scale:  math.Sqrt(toImage.scaleSquared()),
	}
	sc.relief = newRelief(id, &sc.f, s.expression)
	return sc
}

// landmarks are the five landmarks in pixels, x and y in turn. As everywhere in
// face alignment, and unlike in paths, whole numbers are centres of pixels. They
// are rounded to 1/1024 pixel, so that they are the same bits on every processor.
func (s *scene) landmarks() [10]float64 {
	var out [10]float64
	for k, p := range s.f.landmarks() {
		q := s.view.seen(vec3{p.x, p.y, s.relief.at(p)})
		out[2*k] = math.Round((q.x-0.5)*1024) / 1024
		out[2*k+1] = math.Round((q.y-0.5)*1024) / 1024
	}
	return out
}

// render paints everything from back to front and takes the picture.
func (s *scene) render() []byte {
	s.canvas.reset()
	s.background()
	s.backHair()
	s.body()
	s.ears()
	unclip := s.head()
	s.skin()
	s.beard()
	s.lines()
	s.nose()
	s.mouth()
	for side := range 2 {
		s.eye(side)
		s.brow(side)
	}
	unclip()
	s.frontHair()
	s.wear()
	s.hold()
	light := shade(s.relief, &s.view, s.shot.lamp)
	grid := light.illuminate(s.relief, &s.view, s.shot.lamp, s.shot.camera.gain, s.canvas.w, s.canvas.h)
	return s.shot.camera.develop(s.canvas, grid, s.shot.place.light, s.scale)
}

// onFace projects a curve that lies on the face.
func (s *scene) onFace(curve []vec2) path {
	p := make(path, len(curve))
	for k, q := range curve {
		p[k] = s.view.seen(vec3{q.x, q.y, s.relief.at(q)})
	}
	return p
}

// atDepth projects a curve of constant depth.
func (s *scene) atDepth(curve []vec2, z float64) path {
	p := make(path, len(curve))
	for k, q := range curve {
		p[k] = s.view.seen(vec3{q.x, q.y, z})
	}
	return p
}

// rim projects a curve around the skull. A turned ellipsoid keeps its width, so
// the points are moved outwards by what turning would take away; depth gives
// the z of a point.
func (s *scene) rim(curve []vec2, depth func(vec2) float64) path {
	const roundness = 1.2 // depth of the skull over its half width
	sin, cos := s.view.sinYaw, s.view.cosYaw
	widen := math.Sqrt(cos*cos+roundness*roundness*sin*sin) / cos
	p := make(path, len(curve))
	for k, q := range curve {
		p[k] = s.view.seen(vec3{q.x * widen, q.y, depth(q)})
	}
	return p
}

// jawDepth is how far the outline of the face comes forward: not at the temples,
// most at the chin.
func (s *scene) jawDepth(p vec2) float64 {
	t := min(max((p.y-5)/(s.f.chinY-5), 0), 1)
	return 34 * t * t
}

// patternOnFace is a grain that sticks to the head: cells of cu by cv in head space.
func (s *scene) patternOnFace(seed uint64, cu, cv, strength float64) *grain {
	back := s.view.toImage.inverse()
	middle := s.view.project(vec3{0, 0, 40})
	back.tx -= middle.x
	back.ty -= middle.y
	return newGrain(seed, back, cu, cv, strength)
}

// px is a length of head space in pixels.
func (s *scene) px(v float64) float64 { return v * s.scale }
