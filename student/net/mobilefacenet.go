package net

import (
	"fmt"

	"facepipe/student/net/layer"
)

// mobileFaceNet is MobileFaceNet (Chen et al. 2018, arXiv 1804.07573, Table 1):
// depthwise-separable bottlenecks with residuals and a global depthwise
// convolution in place of pooling, 1.2 million parameters at width 1 and 512-d.
func mobileFaceNet(c Config) layer.Layer {
	ch := c.channels
	q := &layer.Sequence{}
	q.Add("stem", layer.Conv3(3, ch(64), 2, layer.PReLU))
	q.Add("stem_depthwise", layer.Depthwise(ch(64), 3, 1, 1, layer.PReLU))
	in := ch(64)
	for i, st := range []struct{ expand, out, repeats int }{
		{128, 64, 4}, {256, 128, 6}, {512, 128, 2},
	} {
		// A stage halves the map with one bottleneck, then refines it with
		// residual ones, which expand half as much where the map is small.
		stage := &layer.Sequence{}
		stage.Add("down", bottleneck(in, ch(st.expand), ch(st.out), 2))
		inner := []int{128, 256, 256}[i]
		for b := range st.repeats {
			stage.Add(fmt.Sprintf("block%d", b+1), layer.Residual{Body: bottleneck(ch(st.out), ch(inner), ch(st.out), 1)})
		}
		q.Add(fmt.Sprintf("stage%d", i+1), stage)
		in = ch(st.out)
	}
	q.Add("head", layer.Pointwise(in, ch(512), layer.PReLU))
	// The paper's global depthwise convolution weighs each place of the last map on its own.
	q.Add("global", layer.Depthwise(ch(512), 7, 1, 0, layer.Linear))
	q.Add("embed", layer.Pointwise(ch(512), c.Dim, layer.Linear))
	return q
}

// bottleneck expands, filters each channel alone, and projects without an
// activation (Sandler et al. 2018, MobileNetV2).
func bottleneck(in, expand, out, stride int) layer.Layer {
	q := &layer.Sequence{}
	q.Add("expand", layer.Pointwise(in, expand, layer.PReLU))
	q.Add("depthwise", layer.Depthwise(expand, 3, stride, 1, layer.PReLU))
	q.Add("project", layer.Pointwise(expand, out, layer.Linear))
	return q
}
