package synthface

import "math"

// wear paints glasses and cap.
func (s *scene) wear() {
	if s.shot.occlusion.glasses != noGlasses {
		s.glasses()
	}
	if s.shot.occlusion.cap {
		s.cap()
	}
}

func (s *scene) glasses() {
	frame := s.shot.occlusion.color.lerp(Color{20, 20, 20}, 0.6)
	lens := ink{color: Color{210, 220, 230}, alpha: 0.12}
	if s.shot.occlusion.glasses == sunGlasses {
		lens = ink{color: Color{24, 22, 26}, alpha: 0.94}
	}
	const z = 46
	rx, ry := 12.5, 9.5
	if s.shot.occlusion.angle > math.Pi/2 {
		rx, ry = 11, 10.5
	}
	for side, sign := range [2]float64{-1, 1} {
		at := s.f.eye[side].plus(vec2{sign * 0.8, 1.5})
		s.canvas.paint(s.atDepth(ellipse(at, rx, ry, 0, 24), z), lens)
		rimOuter := ellipse(at, rx+0.9, ry+0.9, 0, 24)
		rimInner := reversed(ellipse(at, rx-0.5, ry-0.5, 0, 24))
		ring := join(rimOuter, rimOuter[:1], rimInner, rimInner[:1])
		s.canvas.paint(s.atDepth(ring, z), ink{color: frame, alpha: 1})
		temple := spline(at.plus(vec2{sign * rx, -3}), vec2{sign * s.id.Head.HalfWidth, at.y - 4})
		s.canvas.paint(s.atDepth(stroke(temple, 1.6, 1.6, 1.6), z*0.7), ink{color: frame, alpha: 1})
	}
	left, right := s.f.eye[0], s.f.eye[1]
	bridge := spline(left.plus(vec2{rx - 0.5, 0}), vec2{0, (left.y+right.y)/2 - 1.5}, right.plus(vec2{-rx + 0.5, 0}))
	s.canvas.paint(s.atDepth(stroke(bridge, 1.6, 1.6, 1.6), z+2), ink{color: frame, alpha: 1})
}

// cap paints a knitted cap down to its rim.
func (s *scene) cap() {
	w, rim := s.id.Head.HalfWidth+2, s.shot.occlusion.capY
	top := -s.id.Head.Crown - 6
	shape := symmetric(vec2{0, top}, vec2{0.7 * w, top + 8}, vec2{1.03 * w, -s.id.Head.Crown * 0.55}, vec2{1.05 * w, rim + 8}, vec2{0.6 * w, rim + 2}, vec2{0, rim})
	s.canvas.paint(s.rim(shape, s.hairDepth), ink{
		color: s.shot.occlusion.color, alpha: 1,
		grain: s.patternOnFace(s.shot.place.seed+2, 2, 5, 0.3),
	})
}

// hold paints what is held before the face: a bar or a hand.
func (s *scene) hold() {
	o := &s.shot.occlusion
	const z = 60
	switch o.object {
	case bar:
		sin, cos := math.Sincos(o.angle)
		from := o.spot.plus(vec2{-160 * cos, -160 * sin})
		to := o.spot.plus(vec2{160 * cos, 160 * sin})
		shape := stroke([]vec2{from, o.spot, to}, 2*o.size, 2*o.size, 2*o.size)
		s.canvas.paint(s.atDepth(shape, z), ink{
			color: o.color, alpha: 1,
			grain: s.patternOnFace(s.shot.place.seed+3, 5, 5, 0.25),
		})
	case hand:
		s.hand(z)
	case noObject:
	}
}

// hand paints a palm that reaches in from below and four fingers.
func (s *scene) hand(z float64) {
	o := &s.shot.occlusion
	edge := o.color.lerp(Color{40, 18, 14}, 0.45)
	lean := (o.angle - math.Pi/2) * 0.5
	palmCenter := o.spot.plus(vec2{0, o.size * 2.6})
	s.canvas.paint(s.atDepth(ellipse(palmCenter, o.size*1.58, o.size*2.08, lean, 24), z), ink{color: edge, alpha: 1})
	s.canvas.paint(s.atDepth(ellipse(palmCenter, o.size*1.5, o.size*2, lean, 24), z), ink{color: o.color, alpha: 1})
	for k := range 4 {
		slant := lean + 0.16*(float64(k)-1.5)
		sin, cos := math.Sincos(slant)
		base := o.spot.plus(vec2{(float64(k) - 1.5) * o.size * 0.72, o.size * 1.6})
		finger := ellipse(base.plus(vec2{sin * o.size, -cos * o.size}), o.size*0.40, o.size*1.8, slant, 20)
		s.canvas.paint(s.atDepth(finger, z), ink{color: edge, alpha: 1})
		inner := ellipse(base.plus(vec2{sin * o.size, -cos * o.size}), o.size*0.34, o.size*1.74, slant, 20)
		s.canvas.paint(s.atDepth(inner, z), ink{color: o.color, alpha: 1})
	}
}
