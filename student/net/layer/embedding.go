package layer

import (
	"facepipe/internal/onnx"
	"facepipe/student/torch"
)

// Embedding is a linear layer over all of the last map, with a norm behind it.
type Embedding struct {
	In, Out int  // In is channels × height × width
	Fixed   bool // see Norm

	linear linear
	norm   Norm
}

// Register declares the matrix, the bias and what the norm has.
func (l *Embedding) Register(prefix string, add func(*Param)) {
	l.linear = newLinear(prefix+"linear.", l.In, l.Out, Spread(l.In), add)
	l.norm = Norm{Channels: l.Out, Fixed: l.Fixed}
	l.norm.Register(prefix, add)
}

// Forward makes N×Out×1×1 of the last map.
func (l *Embedding) Forward(p *Pass, x torch.Tensor) torch.Tensor {
	y := l.linear.forward(p, p.Scope.Reshape(x, -1, l.In))
	return l.norm.Forward(p, p.Scope.Reshape(y, -1, l.Out, 1, 1))
}

// Export folds the norm into the linear layer.
func (l *Embedding) Export(g *Graph, prefix, input string) string {
	flat := g.Node("Flatten", prefix+"flat", []string{input}, onnx.Int("axis", 1))
	folded := g.folded(prefix, l.linear.weight, l.linear.bias, &l.norm, int64(l.Out), int64(l.In))
	return g.Node("Gemm", prefix+"linear", append([]string{flat}, folded...), onnx.Int("transB", 1))
}

// Cost counts the matrix.
func (l *Embedding) Cost(Shape) (out Shape, macs int64) {
	return Shape{l.Out, 1, 1}, int64(l.In) * int64(l.Out)
}
