package net

import "fmt"

// mobileFaceNet is MobileFaceNet (Chen et al. 2018, arXiv 1804.07573, Table 1):
// depthwise-separable bottlenecks with residuals and a global depthwise
// convolution in place of pooling, 1.2 million parameters at width 1 and 512-d.
func mobileFaceNet(c Config) layer {
	ch := c.channels
	q := &sequence{}
	q.add("stem", &convNorm{in: 3, out: ch(64), kernel: 3, stride: 2, padding: 1, groups: 1})
	q.add("stem_depthwise", depthwise(ch(64), 3, 1, 1))
	in := ch(64)
	for i, st := range []struct{ expand, out, repeats int }{
		{128, 64, 4}, {256, 128, 6}, {512, 128, 2},
	} {
		// A stage halves the map with one bottleneck, then refines it with
		// residual ones, which expand half as much where the map is small.
		stage := &sequence{}
		stage.add("down", bottleneck(in, ch(st.expand), ch(st.out), 2))
		inner := []int{128, 256, 256}[i]
		for b := range st.repeats {
			stage.add(fmt.Sprintf("block%d", b+1), residual{body: bottleneck(ch(st.out), ch(inner), ch(st.out), 1)})
		}
		q.add(fmt.Sprintf("stage%d", i+1), stage)
		in = ch(st.out)
	}
	q.add("head", pointwise(in, ch(512), false))
	q.add("global", depthwiseLinear(ch(512), 7))
	q.add("embed", pointwise(ch(512), c.Dim, true))
	return q
}

// bottleneck expands, filters each channel alone, and projects without an
// activation (Sandler et al. 2018, MobileNetV2).
func bottleneck(in, expand, out, stride int) layer {
	q := &sequence{}
	q.add("expand", pointwise(in, expand, false))
	q.add("depthwise", depthwise(expand, 3, stride, 1))
	q.add("project", pointwise(expand, out, true))
	return q
}

func pointwise(in, out int, linear bool) *convNorm {
	return &convNorm{in: in, out: out, kernel: 1, stride: 1, groups: 1, linear: linear}
}

func depthwise(channels, kernel, stride, padding int) *convNorm {
	return &convNorm{in: channels, out: channels, kernel: kernel, stride: stride, padding: padding, groups: channels}
}

// depthwiseLinear weighs each place of the last map on its own (the paper's
// global depthwise convolution), without activation.
func depthwiseLinear(channels, kernel int) *convNorm {
	l := depthwise(channels, kernel, 1, 0)
	l.linear = true
	return l
}
