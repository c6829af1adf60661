package synthface

// lips are the four edges of the lips and what lies between them.
type lips struct {
	top, topInner []vec2 // of the upper lip, from left to right
	lowInner, low []vec2 // of the lower lip, from left to right
	middle        vec2   // of the corners
	half          float64
	sag           float64 // by how much the middle hangs below the corners of a smile
}

func (s *scene) lips() lips {
	left, right := s.f.mouth[0], s.f.mouth[1]
	l := lips{
		middle: vec2{(left.x + right.x) / 2, (left.y + right.y) / 2},
		half:   (right.x - left.x) / 2,
		sag:    1.6 * s.shot.expression.smile,
	}
	// at is a point of the mouth: u from -1 at the left corner to 1 at the right one.
	at := func(u, v float64) vec2 {
		t := (u + 1) / 2
		return vec2{l.middle.x + u*l.half, left.y*(1-t) + right.y*t + v}
	}
	side := l.sag * 0.7
	up, gap := s.f.lipUpper, s.f.gap
	low := gap + s.f.lipLower
	l.top = spline(left, at(-0.55, l.sag*0.6-up*0.75), at(-0.2, l.sag-up), at(0, l.sag-up*(1-0.6*s.id.Mouth.Bow)),
		at(0.2, l.sag-up), at(0.55, l.sag*0.6-up*0.75), right)
	l.topInner = spline(left, at(-0.5, side), at(0, l.sag+0.3), at(0.5, side), right)
	l.lowInner = spline(left, at(-0.5, side+gap*0.8), at(0, l.sag+gap), at(0.5, side+gap*0.8), right)
	l.low = spline(left, at(-0.5, side+low*0.8), at(0, l.sag+low), at(0.5, side+low*0.8), right)
	return l
}

// mouth paints the lips, and teeth behind open ones.
func (s *scene) mouth() {
	l := s.lips()
	inside := s.onFace(join(l.topInner, reversed(l.lowInner)))
	s.canvas.paint(inside, ink{color: Color{48, 16, 18}, alpha: 1})
	s.teeth(inside, l)
	lip := func(outline []vec2, color Color) {
		s.canvas.paint(s.onFace(outline), ink{color: color, alpha: 0.92, soft: s.px(0.25)})
	}
	lip(join(l.top, reversed(l.topInner)), s.id.Mouth.Color.lerp(Color{70, 20, 24}, 0.2))
	lip(join(l.lowInner, reversed(l.low)), s.id.Mouth.Color)
	s.canvas.paint(s.onFace(stroke(l.topInner, 0.8, 1.1, 0.8)), ink{color: Color{56, 18, 20}, alpha: 0.8})
	below := l.middle.plus(vec2{0, l.sag + s.f.gap + s.f.lipLower + 2.5})
	s.canvas.paint(s.onFace(ellipse(below, l.half*0.5, 1.6, 0, 14)), ink{
		color: s.id.Skin.Color.lerp(Color{50, 20, 16}, 0.5), alpha: 0.35, soft: s.px(1),
	})
}

// teeth paints the upper teeth inside an open mouth.
func (s *scene) teeth(inside path, l lips) {
	if s.f.gap < 1 {
		return
	}
	defer s.canvas.clipTo(inside)()
	row := ellipse(l.middle.plus(vec2{0, l.sag - 1.5}), l.half*0.8, 2+min(s.f.gap*0.4, 3), 0, 20)
	s.canvas.paint(s.onFace(row), ink{color: Color{226, 218, 204}, alpha: 0.9, soft: s.px(0.4)})
}
