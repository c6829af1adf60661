package synthface

// strands is the ink of the hair: straight hair has long cells, curls round ones.
func (s *scene) strands() ink {
	h := &s.id.Hair
	return ink{
		color: h.Color, alpha: 1, soft: s.px(0.3),
		grain: s.patternOnFace(s.id.Skin.Pattern+3, 1.6+2*h.Curl, 14-9*h.Curl, 0.45),
	}
}

// hairOutline is the outer edge of the hair from the image's left over the crown
// to its right, ending at the height low.
func (s *scene) hairOutline(low, flare float64) []vec2 {
	h := &s.id.Head
	w, v := h.HalfWidth, s.id.Hair.Volume
	right := []vec2{
		{0, -h.Crown - v},
		{0.6*w + 0.5*v, -h.Crown + 6 - 0.8*v},
		{w + 0.8*v, -h.Crown*0.6 - 0.3*v},
		{w + 1.2 + v, -18},
		{w + v + flare, (low - 18) / 2},
		{w + 0.6*v + flare, low},
	}
	return spline(join(mirrored(right[1:]), right)...)
}

// backHair paints the hair behind the head.
func (s *scene) backHair() {
	switch s.id.Hair.Style {
	case Long:
		s.canvas.paint(s.atDepth(s.hairOutline(s.id.Hair.Length, 5), -12), s.strands())
	case Short:
		s.canvas.paint(s.atDepth(s.hairOutline(-4, 0), -12), s.strands())
	case Bald:
	}
}

// frontHair paints the hair above the hairline, over the forehead.
func (s *scene) frontHair() {
	h := &s.id.Hair
	if h.Style == Bald {
		return
	}
	w, part := s.id.Head.HalfWidth, h.Parting*0.5
	line := spline(
		vec2{w * 1.02, -8},
		vec2{w * 0.90, -26},
		vec2{w * 0.72, -h.Line + 4 - h.Temple - h.Sweep},
		vec2{w * (part + 0.36), -h.Line - 0.5*h.Sweep},
		vec2{w * part, -h.Line - 3},
		vec2{w * (part - 0.36), -h.Line + 0.5*h.Sweep},
		vec2{-w * 0.72, -h.Line + 4 - h.Temple + h.Sweep},
		vec2{-w * 0.90, -26},
		vec2{-w * 1.02, -8},
	)
	cap := join(s.hairOutline(-8, 0), line)
	s.canvas.paint(s.rim(cap, s.hairDepth), s.strands())
}

// hairDepth is the depth of the hair: on the forehead near its middle, beside the
// head at the edges.
func (s *scene) hairDepth(p vec2) float64 {
	if p.y < -s.id.Head.Crown+4 {
		return 0
	}
	return max(s.relief.at(p)*0.9, 0)
}
