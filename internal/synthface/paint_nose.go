package synthface

// nose paints what light alone does not show: nostrils, wings, the shadow below.
func (s *scene) nose() {
	n, tip := &s.id.Nose, s.f.noseTip
	dark := s.id.Skin.Color.lerp(Color{40, 14, 12}, 0.72)
	shadow := s.id.Skin.Color.lerp(Color{60, 26, 20}, 0.5)
	base := tip.y + n.Tip*0.9
	s.canvas.paint(s.onFace(ellipse(vec2{tip.x, base + 2}, n.Width*0.42, 2, 0, 16)), ink{color: shadow, alpha: 0.45, soft: s.px(1)})
	for _, sign := range [2]float64{-1, 1} {
		nostril := ellipse(vec2{tip.x + sign*n.Width*0.23, base}, n.Width*0.13, 1.3, 0.3*sign, 12)
		s.canvas.paint(s.onFace(nostril), ink{color: dark, alpha: 0.9})
		wing := spline(
			vec2{tip.x + sign*n.Width*0.40, tip.y - 3},
			vec2{tip.x + sign*n.Width*0.52, tip.y + 1},
			vec2{tip.x + sign*n.Width*0.40, base + 1},
		)
		s.crease(wing, 1.3, shadow, 0.75)
		side := spline(
			vec2{sign * (n.Bridge*0.5 + 1), s.f.eye[0].y - 4},
			vec2{tip.x/2 + sign*n.Bridge*0.5, (s.f.eye[0].y + tip.y) / 2},
			vec2{tip.x + sign*n.Width*0.32, tip.y - 2},
		)
		s.crease(side, 2, shadow, 0.16+0.012*n.Height)
	}
}
