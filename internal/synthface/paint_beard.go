package synthface

// beard paints facial hair as shade with a grain.
func (s *scene) beard() {
	b := &s.id.Beard
	color := s.id.Hair.Color
	mouthY := (s.f.mouth[0].y + s.f.mouth[1].y) / 2
	hair := func(alpha float64) ink {
		return ink{
			color: color, alpha: alpha, soft: s.px(1.4),
			grain: s.patternOnFace(s.id.Skin.Pattern+1, 0.9, 2.2, 0.5),
		}
	}
	if b.Moustache > 0 {
		w := s.id.Mouth.Width * 0.55
		top, low := s.f.noseTip.y+7, mouthY-s.f.lipUpper*0.8
		s.canvas.paint(s.onFace(loop(
			vec2{-w, low + 3}, vec2{-w * 0.6, low - 2.5}, vec2{0, top}, vec2{w * 0.6, low - 2.5},
			vec2{w, low + 3}, vec2{w * 0.45, low + 0.5}, vec2{0, low}, vec2{-w * 0.45, low + 0.5},
		)), hair(b.Moustache))
	}
	if b.Chin > 0 {
		at := vec2{0, (mouthY+s.f.chinY)/2 + 6}
		s.canvas.paint(s.onFace(ellipse(at, 13, (s.f.chinY-mouthY)*0.5, 0, 20)), hair(b.Chin))
	}
	if b.Cheeks > 0 {
		s.canvas.paint(s.rim(s.jawBand(), s.jawDepth), hair(b.Cheeks))
	}
}

// jawBand is the outline of a full beard: along the jaw from ear to ear.
func (s *scene) jawBand() []vec2 {
	w, chin := s.id.Head.HalfWidth, s.f.chinY
	mouth := s.f.mouth[1]
	outer := []vec2{{1.05 * w, -8}, {w, 0.55 * chin}, {0.5 * w, chin + 3}, {0, chin + 4}}
	inner := []vec2{{0.88 * w, -8}, {0.72 * w, mouth.y - 8}, {mouth.x + 3, mouth.y + 2}, {0, mouth.y + s.f.gap + s.f.lipLower + 5}}
	return join(
		spline(join(outer, mirrored(outer[:3]))...),
		reversed(spline(join(inner, mirrored(inner[:3]))...)),
	)
}
