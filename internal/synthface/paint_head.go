package synthface

// outline is the outline of the face without hair, clockwise from the crown.
func (s *scene) outline() []vec2 {
	h := &s.id.Head
	w, chin := h.HalfWidth, s.f.chinY
	return symmetric(
		vec2{0, -h.Crown},
		vec2{0.55 * w, -h.Crown + 7},
		vec2{0.92 * w, -h.Crown * 0.62},
		vec2{w, -22},
		vec2{h.Cheek * w, 4},
		vec2{h.Jaw * w, 0.58 * chin},
		vec2{h.Chin * w, chin - 3.5},
		vec2{0, chin},
	)
}

// head paints the bare head and confines what follows to it.
func (s *scene) head() (unclip func()) {
	p := s.rim(s.outline(), s.jawDepth)
	skin := &s.id.Skin
	s.canvas.paint(p, ink{
		color: skin.Color,
		alpha: 1,
		grain: s.patternOnFace(skin.Pattern, 5, 5, 0.03+0.10*skin.Mottle),
	})
	return s.canvas.clipTo(p)
}

// ears paints the ears, behind the head.
func (s *scene) ears() {
	h := &s.id.Head
	inner := s.id.Skin.Color.lerp(Color{90, 40, 30}, 0.3)
	depth := func(vec2) float64 { return -4 }
	for _, sign := range [2]float64{-1, 1} {
		at := vec2{sign * (h.HalfWidth + 1.5*h.Ears), -6}
		s.canvas.paint(s.rim(ellipse(at, 5*h.Ears, 11*h.Ears, 0.15*sign, 20), depth), ink{color: s.id.Skin.Color, alpha: 1})
		s.canvas.paint(s.rim(ellipse(at, 2.5*h.Ears, 7*h.Ears, 0.15*sign, 14), depth), ink{color: inner, alpha: 0.6})
	}
}

// lines paints folds and wrinkles, which a smile deepens.
func (s *scene) lines() {
	depth := s.id.Skin.Lines
	color := s.id.Skin.Color.lerp(Color{60, 25, 20}, 0.55)
	for side, sign := range [2]float64{-1, 1} {
		mouth, eye := s.f.mouth[side], s.f.eye[side]
		fold := spline(
			vec2{s.f.noseTip.x + sign*s.id.Nose.Width*0.55, s.f.noseTip.y - 1},
			vec2{(mouth.x+sign*s.id.Nose.Width*0.55)/2 + sign*3, (mouth.y+s.f.noseTip.y)/2 - 2},
			vec2{mouth.x + sign*4, mouth.y + 1},
		)
		strength := 0.5*depth + 0.35*max(s.shot.expression.smile, 0)
		s.crease(fold, 1.6, color, strength)
		bag := spline(
			vec2{eye.x - sign*s.f.half*0.9, eye.y + 4},
			vec2{eye.x, eye.y + 7},
			vec2{eye.x + sign*s.f.half*0.9, eye.y + 4.5},
		)
		s.crease(bag, 1.2, color, 0.5*depth)
	}
	for k := range 2 {
		y := s.f.eye[0].y - 22 - 6*float64(k) - 2*s.shot.expression.brow
		s.crease(spline(vec2{-20, y + 1}, vec2{0, y - 1}, vec2{20, y + 1}), 1.1, color, 0.6*depth*depth)
	}
}

// crease paints a soft line on the face.
func (s *scene) crease(spine []vec2, width float64, color Color, alpha float64) {
	s.canvas.paint(s.onFace(stroke(spine, 0.4, width, 0.4)), ink{color: color, alpha: alpha, soft: s.px(0.6)})
}
