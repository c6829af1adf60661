package net

import "fmt"

// iresnet is the residual network of ArcFace (Deng et al. 2019, arXiv 1801.07698, section
// 3.1; the blocks are the "IR" ones of Han et al. 2017 with PReLU) as insightface's
// arcface_torch lays it out, with so many blocks in its four stages: 24.0 million
// parameters as ir18, 34.1 as ir34, 43.6 as ir50 and 65.2 as ir100.
func iresnet(blocks ...int) func(Config) layer {
	return func(c Config) layer {
		q := &sequence{}
		in := c.channels(64)
		q.add("stem", &convNorm{in: 3, out: in, kernel: 3, stride: 1, padding: 1, groups: 1})
		for i, repeats := range blocks {
			stage := &sequence{}
			out := c.channels(64 << i)
			for b := range repeats {
				stage.add(fmt.Sprintf("block%d", b+1), iresnetBlock(in, out, b == 0))
				in = out
			}
			q.add(fmt.Sprintf("stage%d", i+1), stage)
		}
		q.add("norm", &norm{channels: in})
		const side = cropSide / 16 // each stage halves it
		q.add("embed", &embedding{in: in * side * side, out: c.Dim, bias: true, fixed: true})
		return q
	}
}

// iresnetBlock has a norm before its first convolution, and its stride in the second;
// the first block of a stage halves the map, and its shortcut with it.
func iresnetBlock(in, out int, halves bool) layer {
	stride := 1
	if halves {
		stride = 2
	}
	body := &sequence{}
	body.add("before", &norm{channels: in})
	body.add("first", &convNorm{in: in, out: out, kernel: 3, stride: 1, padding: 1, groups: 1})
	body.add("second", &convNorm{in: out, out: out, kernel: 3, stride: stride, padding: 1, groups: 1, linear: true})
	l := residual{body: body}
	if halves {
		l.shortcut = &convNorm{in: in, out: out, kernel: 1, stride: stride, groups: 1, linear: true}
	}
	return l
}
