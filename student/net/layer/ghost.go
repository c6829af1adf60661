package layer

import (
	"facepipe/internal/onnx"
	"facepipe/student/torch"
)

// Ghost is a ghost module (Han et al. 2020, arXiv 1911.11907, section 3.1): a pointwise
// convolution makes half of the channels, and a cheap depthwise one the other half of
// those.
type Ghost struct{ primary, cheap *ConvNorm }

// NewGhost is a module that makes an even number of channels.
func NewGhost(in, out int, a Activation) *Ghost {
	return &Ghost{primary: Pointwise(in, out/2, a), cheap: Depthwise(out/2, 3, 1, 1, a)}
}

// Register declares the parameters of both convolutions.
func (l *Ghost) Register(prefix string, add func(*Param)) {
	l.primary.Register(prefix+"primary.", add)
	l.cheap.Register(prefix+"cheap.", add)
}

// Forward makes both halves.
func (l *Ghost) Forward(p *Pass, x torch.Tensor) torch.Tensor {
	y := l.primary.Forward(p, x)
	return p.Scope.Concat([]torch.Tensor{y, l.cheap.Forward(p, y)}, 1)
}

// Export writes both halves.
func (l *Ghost) Export(g *Graph, prefix, input string) string {
	y := l.primary.Export(g, prefix+"primary.", input)
	z := l.cheap.Export(g, prefix+"cheap.", y)
	return g.Node("Concat", prefix+"concat", []string{y, z}, onnx.Int("axis", 1))
}

// Cost is the sum of both convolutions'.
func (l *Ghost) Cost(in Shape) (out Shape, macs int64) {
	half, first := l.primary.Cost(in)
	out, second := l.cheap.Cost(half)
	out.Channels *= 2
	return out, first + second
}
