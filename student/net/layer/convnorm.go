package layer

import (
	"facepipe/internal/onnx"
	"facepipe/student/torch"
)

// ConvNorm is a convolution without bias, batch normalisation and an activation: the brick
// that mobile face networks are built of.
type ConvNorm struct {
	In, Out                         int
	Kernel, Stride, Padding, Groups int
	// Far is how many more rows and columns of zeros there are below and to the right.
	Far        int
	Activation Activation
	// Eps is the norm's; see [Norm].
	Eps float64

	weight *Param
	norm   Norm
	act    activation
}

// Conv3 is a convolution with a kernel of three, padded so that a stride of one keeps a map's
// size.
func Conv3(in, out, stride int, a Activation) *ConvNorm {
	return &ConvNorm{In: in, Out: out, Kernel: 3, Stride: stride, Padding: 1, Groups: 1, Activation: a}
}

// Pointwise is a convolution with a kernel of one.
func Pointwise(in, out int, a Activation) *ConvNorm {
	return &ConvNorm{In: in, Out: out, Kernel: 1, Stride: 1, Groups: 1, Activation: a}
}

// Depthwise filters each channel alone.
func Depthwise(channels, kernel, stride, padding int, a Activation) *ConvNorm {
	return &ConvNorm{In: channels, Out: channels, Kernel: kernel, Stride: stride, Padding: padding, Groups: channels, Activation: a}
}

// PadAsKeras pads the convolution, of maps of a side, as Keras' "same" does: there are as
// many places as strides fit into the side, and of an odd number of zeros the far side gets
// one more.
func (l *ConvNorm) PadAsKeras(side int) *ConvNorm {
	places := (side + l.Stride - 1) / l.Stride
	zeros := max(0, (places-1)*l.Stride+l.Kernel-side)
	l.Padding, l.Far = zeros/2, zeros%2
	return l
}

// Register declares the kernel and what the norm and the activation have.
func (l *ConvNorm) Register(prefix string, add func(*Param)) {
	l.weight = NewParam(prefix+"conv.weight", []int{l.Out, l.In / l.Groups, l.Kernel, l.Kernel}, heNormal(l.Kernel*l.Kernel*l.Out/l.Groups))
	add(l.weight)
	l.norm = Norm{Channels: l.Out, Eps: l.Eps}
	l.norm.Register(prefix, add)
	l.act = newActivation(l.Activation, prefix+"prelu.weight", l.Out, add)
}

// Forward convolves, normalises and activates.
func (l *ConvNorm) Forward(p *Pass, x torch.Tensor) torch.Tensor {
	return l.forwardAdd(p, x, torch.Tensor{})
}

// forwardAdd adds a residual to the output, unless it is none.
func (l *ConvNorm) forwardAdd(p *Pass, x, residual torch.Tensor) torch.Tensor {
	return l.norm.activated(p, l.Convolve(p, x), &l.act, residual)
}

// Convolve is the convolution alone.
func (l *ConvNorm) Convolve(p *Pass, x torch.Tensor) torch.Tensor {
	if l.Far > 0 {
		x = p.Scope.PadFar(x, l.Far)
	}
	return p.Scope.Conv2D(x, l.weight.tensor, l.Stride, l.Padding, l.Groups)
}

// Export writes the convolution with the norm folded in, then the activation.
func (l *ConvNorm) Export(g *Graph, prefix, input string) string {
	k, near, far := int64(l.Kernel), int64(l.Padding), int64(l.Padding+l.Far)
	y := g.Node("Conv", prefix+"conv", append([]string{input}, g.folded(prefix, l.weight, nil, &l.norm, int64(l.Out), int64(l.In/l.Groups), k, k)...),
		onnx.Ints("kernel_shape", k, k), onnx.Ints("strides", int64(l.Stride), int64(l.Stride)),
		onnx.Ints("pads", near, near, far, far), onnx.Ints("dilations", 1, 1), onnx.Int("group", int64(l.Groups)))
	return l.act.export(g, prefix, prefix+"slope", y)
}

// Cost counts the kernel at each place of the output.
func (l *ConvNorm) Cost(in Shape) (out Shape, macs int64) {
	zeros := 2*l.Padding + l.Far
	out = Shape{l.Out, (in.Height+zeros-l.Kernel)/l.Stride + 1, (in.Width+zeros-l.Kernel)/l.Stride + 1}
	return out, int64(out.Height) * int64(out.Width) * int64(l.Out) * int64(l.In/l.Groups) * int64(l.Kernel*l.Kernel)
}
