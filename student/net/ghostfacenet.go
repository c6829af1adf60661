package net

import (
	"fmt"

	"facepipe/student/net/layer"
)

// ghostBlocks are the bottlenecks of GhostNet (Han et al. 2020, arXiv 1911.11907, section 3.2)
// before they are widened: kernel, expanded and output channels, whether the channels are
// weighed, and stride.
var ghostBlocks = []struct {
	kernel, expand, out int
	weighed             bool
	stride              int
}{
	{3, 16, 16, false, 1},
	{3, 48, 24, false, 2},
	{3, 72, 24, false, 1},
	{5, 72, 40, true, 2},
	{5, 120, 40, true, 1},
	{3, 240, 80, false, 2},
	{3, 200, 80, false, 1},
	{3, 184, 80, false, 1},
	{3, 184, 80, false, 1},
	{3, 480, 112, true, 1},
	{3, 672, 112, true, 1},
	{5, 672, 160, true, 2},
	{5, 960, 160, false, 1},
	{5, 960, 160, true, 1},
	{5, 960, 160, false, 1},
	{5, 512, 160, true, 1},
}

// ghostFaceNet is GhostFaceNet-V1 (Alansari et al. 2023, GhostFaceNets, IEEE Access 11,
// section III): GhostNet of width 1.3 with PReLU in place of ReLU and, in place of its
// pooling and classifier, a global depthwise convolution and a linear layer with a norm.
// stride is that of the first convolution, 1 or 2: the last number in the paper's names
// such as GhostFaceNetV1-1.3-1, whose published weights have 4.09 million parameters.
//
// Convolutions are padded as in the paper's framework, Keras, where strided ones have more
// zeros at the far side of a map than at the near one.
func ghostFaceNet(stride int) func(Config) layer.Layer {
	return func(c Config) layer.Layer {
		ch := func(n int) int { return inFours(1.3 * c.Width * float64(n)) }
		q := &layer.Sequence{}
		in := ch(16)
		q.Add("stem", (&layer.ConvNorm{In: 3, Out: in, Kernel: 3, Stride: stride, Groups: 1, Activation: layer.PReLU}).PadAsKeras(InputSide))
		side := InputSide / stride
		for i, b := range ghostBlocks {
			q.Add(fmt.Sprintf("block%d", i+1), ghostBottleneck(in, ch(b.expand), ch(b.out), b.kernel, b.stride, b.weighed, side))
			in, side = ch(b.out), (side+b.stride-1)/b.stride
		}
		wide := ch(512)
		q.Add("head", layer.Pointwise(in, wide, layer.PReLU))
		q.Add("global", layer.Depthwise(wide, side, 1, 0, layer.Linear))
		q.Add("embed", &layer.Embedding{In: wide, Out: c.Dim})
		return q
	}
}

// inFours rounds a number of channels to a multiple of four, at least four and not more
// than a tenth below it, as MobileNet and its successors do.
func inFours(n float64) int {
	rounded := max(4, int(n+2)/4*4)
	if float64(rounded) < 0.9*n {
		rounded += 4
	}
	return rounded
}

// ghostBottleneck expands by one ghost module and projects by another (GhostNet, section
// 3.2), for maps of a side. The shortcut is the input itself where that has the output's
// shape.
func ghostBottleneck(in, expand, out, kernel, stride int, weighed bool, side int) layer.Layer {
	filter := func(channels int) layer.Layer {
		return layer.Depthwise(channels, kernel, stride, 0, layer.Linear).PadAsKeras(side)
	}
	body := &layer.Sequence{}
	body.Add("expand", layer.NewGhost(in, expand, layer.PReLU))
	if stride > 1 {
		body.Add("filter", filter(expand))
	}
	if weighed {
		body.Add("weigh", &layer.SqueezeExcite{Channels: expand, Reduced: inFours(float64(expand) / 4), Activation: layer.PReLU})
	}
	body.Add("project", layer.NewGhost(expand, out, layer.Linear))
	if in == out && stride == 1 {
		return layer.Residual{Body: body}
	}
	shortcut := &layer.Sequence{}
	shortcut.Add("filter", filter(in))
	shortcut.Add("project", layer.Pointwise(in, out, layer.Linear))
	return layer.Residual{Body: body, Shortcut: shortcut}
}
