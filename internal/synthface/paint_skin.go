package synthface

// skin paints blush, freckles and marks.
func (s *scene) skin() {
	skin := &s.id.Skin
	red := skin.Color.lerp(Color{196, 70, 66}, 0.5)
	for side, sign := range [2]float64{-1, 1} {
		cheek := ellipse(vec2{sign * 23, s.f.eye[side].y + 22}, 9, 8, 0, 16)
		s.canvas.paint(s.onFace(cheek), ink{color: red, alpha: 0.5 * skin.Blush, soft: s.px(3)})
	}
	s.freckles()
	for _, m := range s.id.Marks {
		dot := ellipse(vec2{m.X, m.Y}, m.Radius, m.Radius, 0, 8)
		s.canvas.paint(s.onFace(dot), ink{color: m.Color, alpha: 0.9})
	}
}

func (s *scene) freckles() {
	r := stream{state: s.id.Skin.Pattern}
	color := s.id.Skin.Color.lerp(Color{110, 58, 30}, 0.55)
	for range s.id.Skin.Freckles {
		p := vec2{r.bell(30), s.f.noseTip.y - 8 + r.bell(17)}
		size := r.between(0.45, 0.95)
		s.canvas.paint(s.onFace(ellipse(p, size, size, 0, 6)), ink{color: color, alpha: 0.75})
	}
}
