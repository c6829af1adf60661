package net

import (
	"fmt"

	"facepipe/student/net/layer"
)

// iresnet is the residual network of ArcFace (Deng et al. 2019, arXiv 1801.07698, section
// 3.1; the blocks are the "IR" ones of Han et al. 2017 with PReLU) as insightface's
// arcface_torch lays it out, with so many blocks in its four stages: 24.0 million
// parameters as ir18, 34.1 as ir34, 43.6 as ir50 and 65.2 as ir100.
func iresnet(blocks ...int) func(Config) layer.Layer {
	return func(c Config) layer.Layer {
		q := &layer.Sequence{}
		in := c.channels(64)
		q.Add("stem", layer.Conv3(3, in, 1, layer.PReLU))
		for i, repeats := range blocks {
			stage := &layer.Sequence{}
			out := c.channels(64 << i)
			for b := range repeats {
				stage.Add(fmt.Sprintf("block%d", b+1), iresnetBlock(in, out, b == 0))
				in = out
			}
			q.Add(fmt.Sprintf("stage%d", i+1), stage)
		}
		q.Add("norm", &layer.Norm{Channels: in})
		const side = InputSide / 16 // each stage halves it
		q.Add("embed", &layer.Embedding{In: in * side * side, Out: c.Dim, Fixed: true})
		return q
	}
}

// iresnetBlock has a norm before its first convolution, and its stride in the second;
// the first block of a stage halves the map, and its shortcut with it.
func iresnetBlock(in, out int, halves bool) layer.Layer {
	stride := 1
	if halves {
		stride = 2
	}
	body := &layer.Sequence{}
	body.Add("before", &layer.Norm{Channels: in})
	body.Add("first", layer.Conv3(in, out, 1, layer.PReLU))
	body.Add("second", layer.Conv3(out, out, stride, layer.Linear))
	l := layer.Residual{Body: body}
	if halves {
		l.Shortcut = &layer.ConvNorm{In: in, Out: out, Kernel: 1, Stride: stride, Groups: 1}
	}
	return l
}
