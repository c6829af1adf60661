package synthface

import "math"

// eye paints one eye: ball, iris, lids and lashes.
func (s *scene) eye(side int) {
	e, c := &s.id.Eyes, s.f.eye[side]
	sign := float64(2*side - 1)
	lift := math.Tan(e.Tilt)
	at := func(u, v float64) vec2 { // u from the inner to the outer corner
		return vec2{c.x + sign*u*s.f.half, c.y - v - u*lift*s.f.half}
	}
	inner, outer := at(-1, -0.4), at(1, 0.4)
	upper := spline(inner, at(-0.5, s.f.upper*0.75), at(0.1, s.f.upper), at(0.65, s.f.upper*0.72), outer)
	lower := spline(outer, at(0.5, -s.f.lower*0.9), at(-0.2, -s.f.lower), at(-0.7, -s.f.lower*0.6), inner)
	s.eyeball(join(upper, lower), vec2{c.x, c.y - (s.f.upper-s.f.lower)*0.3})

	lash := Color{26, 18, 16}
	s.canvas.paint(s.onFace(stroke(upper, 0.5*e.Lashes, 1.5*e.Lashes, 1.3*e.Lashes)), ink{color: lash, alpha: 0.9})
	s.canvas.paint(s.onFace(stroke(lower, 0.5, 0.6, 0.3)), ink{color: s.id.Skin.Color.lerp(Color{60, 24, 20}, 0.6), alpha: 0.6})
	fold := make([]vec2, len(upper))
	for k, p := range upper {
		fold[k] = vec2{p.x, p.y - e.Crease*(0.5+0.5*s.aperture())}
	}
	s.crease(fold, 1.1, s.id.Skin.Color.lerp(Color{60, 26, 20}, 0.6), 0.7)
}

// aperture is how far the eyes are open, 0..1.
func (s *scene) aperture() float64 { return 1 - s.shot.expression.blink }

// eyeball paints what the lids leave free.
func (s *scene) eyeball(lids []vec2, center vec2) {
	opening := s.onFace(lids)
	s.canvas.paint(opening, ink{color: Color{226, 218, 212}, alpha: 1})
	defer s.canvas.clipTo(opening)()
	e := &s.id.Eyes
	iris := center.plus(s.shot.expression.gaze)
	disc := func(p vec2, radius float64, color Color) {
		s.canvas.paint(s.onFace(ellipse(p, radius, radius, 0, 18)), ink{color: color, alpha: 1})
	}
	disc(iris, e.Radius, e.Iris.lerp(Color{12, 10, 10}, 0.55))
	disc(iris, e.Radius*0.82, e.Iris)
	disc(iris, e.Radius*0.42, Color{8, 6, 6})
	toward := s.shot.lamp.toward
	disc(iris.plus(vec2{toward.x * 1.6, toward.y*1.2 - 0.3}), 0.75, Color{250, 250, 250})
}

// brow paints one eyebrow.
func (s *scene) brow(side int) {
	b, c := &s.id.Brows, s.f.brow[side]
	sign := float64(2*side - 1)
	at := func(u, v float64) vec2 {
		x := u * b.Length / 2
		return vec2{c.x + sign*x, c.y - v - x*math.Tan(b.Tilt)}
	}
	inward := 1.2 * max(-s.shot.expression.brow, 0) // a frown lowers the inner ends
	spine := spline(at(-1, -inward-b.Arch*0.3), at(-0.2, b.Arch*0.6), at(0.4, b.Arch), at(1, -b.Arch*0.2))
	color := s.id.Hair.Color.lerp(Color{50, 34, 26}, 0.45)
	s.canvas.paint(s.onFace(stroke(spine, b.Thickness*0.9, b.Thickness, 0.5)), ink{
		color: color, alpha: b.Density, soft: s.px(0.5),
		grain: s.patternOnFace(s.id.Skin.Pattern+2, 1.1, 2, 0.4),
	})
}
