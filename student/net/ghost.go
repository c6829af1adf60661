package net

import (
	"facepipe/internal/onnx"
	"facepipe/student/torch"
)

// ghost is a ghost module (Han et al. 2020, arXiv 1911.11907, section 3.1): a pointwise
// convolution makes half of the channels, and a cheap depthwise one the other half of
// those.
type ghost struct{ primary, cheap *convNorm }

func newGhost(in, out int, linear bool) *ghost {
	cheap := depthwise(out/2, 3, 1, 1)
	cheap.linear = linear
	return &ghost{primary: pointwise(in, out/2, linear), cheap: cheap}
}

func (l *ghost) register(prefix string, add func(*Param)) {
	l.primary.register(prefix+"primary.", add)
	l.cheap.register(prefix+"cheap.", add)
}

func (l *ghost) forward(r *run, x torch.Tensor) torch.Tensor {
	y := l.primary.forward(r, x)
	return r.s.Concat([]torch.Tensor{y, l.cheap.forward(r, y)}, 1)
}

func (l *ghost) export(g *graphWriter, prefix, input string) string {
	y := l.primary.export(g, prefix+"primary.", input)
	z := l.cheap.export(g, prefix+"cheap.", y)
	return g.node("Concat", prefix+"concat", []string{y, z}, onnx.Int("axis", 1))
}

func (l *ghost) cost(in shape) (out shape, macs int64) {
	half, first := l.primary.cost(in)
	out, second := l.cheap.cost(half)
	out.channels *= 2
	return out, first + second
}
