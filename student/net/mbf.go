package net

import (
	"fmt"

	"facepipe/student/net/layer"
)

// mobileFaceNetLarge is the MobileFaceNet that insightface trains as mbf (arcface_torch,
// blocks 1, 4, 6, 2 and scale 2), as its published w600k_mbf.onnx has it: twice the
// channels of the paper's, of which the second convolution sees two at a time, and a
// linear layer with a norm over a map of 64 channels for the embedding.
func mobileFaceNetLarge(c Config) layer.Layer {
	ch := func(n int) int { return c.channels(2 * n) }
	q := &layer.Sequence{}
	q.Add("stem", layer.Conv3(3, ch(64), 2, layer.PReLU))
	q.Add("stem_grouped", &layer.ConvNorm{In: ch(64), Out: ch(64), Kernel: 3, Stride: 1, Padding: 1, Groups: ch(64) / 2, Activation: layer.PReLU})
	in := ch(64)
	for i, st := range []struct{ expand, inner, out, repeats int }{
		{64, 64, 64, 4}, {128, 128, 128, 6}, {256, 128, 128, 2},
	} {
		stage := &layer.Sequence{}
		stage.Add("down", bottleneck(in, ch(st.expand), ch(st.out), 2))
		for b := range st.repeats {
			stage.Add(fmt.Sprintf("block%d", b+1), layer.Residual{Body: bottleneck(ch(st.out), ch(st.inner), ch(st.out), 1)})
		}
		q.Add(fmt.Sprintf("stage%d", i+1), stage)
		in = ch(st.out)
	}
	wide := c.channels(512)
	narrow := c.channels(64)
	q.Add("head", layer.Pointwise(in, wide, layer.PReLU))
	q.Add("narrow", layer.Pointwise(wide, narrow, layer.PReLU))
	const side = InputSide / 16
	q.Add("embed", &layer.Embedding{In: narrow * side * side, Out: c.Dim})
	return q
}
