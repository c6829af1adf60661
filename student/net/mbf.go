package net

import "fmt"

// mobileFaceNetLarge is the MobileFaceNet that insightface trains as mbf (arcface_torch,
// blocks 1, 4, 6, 2 and scale 2), as its published w600k_mbf.onnx has it: twice the
// channels of the paper's, of which the second convolution sees two at a time, and a
// linear layer with a norm over a map of 64 channels for the embedding.
func mobileFaceNetLarge(c Config) layer {
	ch := func(n int) int { return c.channels(2 * n) }
	q := &sequence{}
	q.add("stem", &convNorm{in: 3, out: ch(64), kernel: 3, stride: 2, padding: 1, groups: 1})
	q.add("stem_grouped", &convNorm{in: ch(64), out: ch(64), kernel: 3, stride: 1, padding: 1, groups: ch(64) / 2})
	in := ch(64)
	for i, st := range []struct{ expand, inner, out, repeats int }{
		{64, 64, 64, 4}, {128, 128, 128, 6}, {256, 128, 128, 2},
	} {
		stage := &sequence{}
		stage.add("down", bottleneck(in, ch(st.expand), ch(st.out), 2))
		for b := range st.repeats {
			stage.add(fmt.Sprintf("block%d", b+1), residual{body: bottleneck(ch(st.out), ch(st.inner), ch(st.out), 1)})
		}
		q.add(fmt.Sprintf("stage%d", i+1), stage)
		in = ch(st.out)
	}
	wide := c.channels(512)
	narrow := c.channels(64)
	q.add("head", pointwise(in, wide, false))
	q.add("narrow", pointwise(wide, narrow, false))
	const side = cropSide / 16
	q.add("embed", &embedding{in: narrow * side * side, out: c.Dim, bias: true})
	return q
}
