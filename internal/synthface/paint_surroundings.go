package synthface

import "math"

// background paints the gradient, its texture and the clutter.
func (s *scene) background() {
	p := &s.shot.place
	c := s.canvas
	w := float64(c.w)
	s.gradient(p)
	for _, q := range p.clutter {
		shape := ellipse(vec2{q.center.x * w, q.center.y * w}, q.rx*w, q.ry*w, q.angle, 24)
		c.paint(path(shape), ink{color: q.color, alpha: 0.8, soft: s.px(4), scene: true})
	}
}

// gradient fills the canvas from one colour to another, under a texture.
func (s *scene) gradient(p *surroundings) {
	c := s.canvas
	near, far := p.near.linear(), p.far.linear()
	sin, cos := math.Sincos(p.slope)
	texture := newGrain(p.seed, similarity{a: cos, b: sin}, s.px(p.cell), s.px(p.cell)*0.7, p.texture)
	const frac = 16
	stepX := int(math.Round(0.75 * cos / float64(c.w) * (1 << frac)))
	stepY := int(math.Round(0.75 * sin / float64(c.w) * (1 << frac)))
	for y := range c.h {
		t := 1<<frac/2 - c.w/2*stepX + (y-c.h/2)*stepY
		row := c.albedo[3*y*c.w : 3*(y+1)*c.w]
		for x := range c.w {
			part := int32(min(max(t, 0), 1<<frac) * opaque >> frac)
			light := opaque + texture.at(x, y)
			for k := range near {
				row[3*x+k] = (near[k] + (far[k]-near[k])*part>>opaqueBits) * light >> opaqueBits
			}
			t += stepX
		}
	}
}

// body paints neck and clothes.
func (s *scene) body() {
	w, chin := s.id.Head.HalfWidth, s.id.Head.ChinDrop
	neck := []vec2{{-0.66 * w, 10}, {0.66 * w, 10}, {0.62 * w, chin + 14}, {0.8 * w, chin + 40}, {-0.8 * w, chin + 40}, {-0.62 * w, chin + 14}}
	shade := s.id.Skin.Color.lerp(Color{30, 12, 10}, 0.38)
	s.canvas.paint(s.atDepth(neck, -14), ink{color: shade, alpha: 1, soft: s.px(0.5)})
	shoulder := []vec2{{0, chin + 36}, {0.45 * w, chin + 30}, {0.72 * w, chin + 20}, {1.5 * w, chin + 30}, {2.4 * w, chin + 46}, {2.9 * w, chin + 140}}
	shirt := spline(join(mirrored(shoulder[1:]), shoulder)...)
	s.canvas.paint(s.atDepth(shirt, -16), ink{
		color: s.shot.place.cloth, alpha: 1, soft: s.px(0.4),
		grain: s.patternOnFace(s.shot.place.seed+1, 4, 4, 0.2),
	})
}
