package layer

import (
	"facepipe/internal/onnx"
	"facepipe/student/torch"
)

// MaxPool takes the largest value under a window of a map.
type MaxPool struct{ Kernel, Stride, Padding int }

// Register declares nothing.
func (MaxPool) Register(string, func(*Param)) {}

// Forward pools every channel.
func (l MaxPool) Forward(p *Pass, x torch.Tensor) torch.Tensor {
	return p.Scope.MaxPool(x, l.Kernel, l.Stride, l.Padding)
}

// Export writes the pooling.
func (l MaxPool) Export(g *Graph, prefix, input string) string {
	k, stride, pad := int64(l.Kernel), int64(l.Stride), int64(l.Padding)
	return g.Node("MaxPool", prefix+"pool", []string{input}, onnx.Ints("kernel_shape", k, k), onnx.Ints("strides", stride, stride), onnx.Ints("pads", pad, pad, pad, pad))
}

// Cost is nothing: nothing is multiplied.
func (l MaxPool) Cost(in Shape) (out Shape, macs int64) {
	places := func(side int) int { return (side+2*l.Padding-l.Kernel)/l.Stride + 1 }
	return Shape{in.Channels, places(in.Height), places(in.Width)}, 0
}
