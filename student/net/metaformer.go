package net

import (
	"fmt"

	"facepipe/student/net/layer"
)

// attentionHeads is the number of heads of MetaFormer's attention.
const attentionHeads = 8

// metaFormer is MetaFormer (Diao et al. 2022, arXiv 2203.02751, section 3.2 and Table 1)
// without its meta information, of which a crop of a face has none: a stem, two stages of
// inverted bottlenecks, and two of transformer blocks with relative positions, of so many
// channels, and blocks in each stage behind the stem.
//
// The maps of the four stages are 28, 14, 7 and 4 on a side. The authors' code takes the
// fourth for 3, and so cannot run on crops of 112: the table of positions is sized for 4
// here. A linear layer makes the embedding, of both class tokens or, with
// [Config.OnlyLastClassToken], of the last.
func metaFormer(channels [5]int, blocks [4]int) func(Config) layer.Layer {
	return func(c Config) layer.Layer {
		b := metaFormerBuilder{rate: c.DropPath, total: blocks[0] + blocks[1] + blocks[2] + blocks[3]}
		for i, n := range channels {
			b.channels[i] = c.channels(n)
		}
		q := &layer.Sequence{}
		q.Add("stem", b.stem())
		q.Add("stage1", b.convolutions(0, blocks[0], 1))
		q.Add("stage2", b.convolutions(1, blocks[1], 2))
		q.Add("tokens", &layer.ClassTokens{First: b.transformers(2, blocks[2], 7), Second: b.transformers(3, blocks[3], 4),
			OnlyLast: c.OnlyLastClassToken})
		q.Add("embed", &layer.Dense{In: b.channels[4], Out: c.Dim})
		return q
	}
}

// metaFormerBuilder lays out one stage after the other.
type metaFormerBuilder struct {
	channels [5]int // of the stem and the stages
	// rate is that at which the last block is dropped; depth of total blocks are laid out.
	rate         float64
	depth, total int
}

// drop has what a block adds left out at times: the likelier, the further up it is.
func (b *metaFormerBuilder) drop(body layer.Layer) layer.Layer {
	return layer.Residual{Body: &layer.DropPath{Body: body, Rate: b.rate * float64(b.depth) / float64(b.total-1)}}
}

// stem makes maps of a quarter of the side.
func (b *metaFormerBuilder) stem() layer.Layer {
	out := b.channels[0]
	half := out * 3 / 4
	q := &layer.Sequence{}
	q.Add("first", layer.Conv3(3, half, 2, layer.ReLU))
	q.Add("second", layer.Conv3(half, out, 1, layer.ReLU))
	q.Add("third", layer.Conv3(out, out, 1, layer.ReLU))
	q.Add("pool", layer.MaxPool{Kernel: 3, Stride: 2, Padding: 1})
	return q
}

// convolutions is a stage of inverted bottlenecks, the first of which has a stride.
func (b *metaFormerBuilder) convolutions(stage, blocks, stride int) layer.Layer {
	in, out := b.channels[stage], b.channels[stage+1]
	q := &layer.Sequence{}
	for i := range blocks {
		block := layer.Layer(weighedBottleneck(in, out, stride))
		if in == out && stride == 1 {
			block = b.drop(block)
		}
		q.Add(fmt.Sprintf("block%d", i+1), block)
		in, stride = out, 1
		b.depth++
	}
	return q
}

// weighedBottleneck is MobileNet's with weighed channels in the middle (Tan and Le 2019,
// EfficientNet, arXiv 1905.11946). They are reduced to a quarter of those that come in. Its
// norms add a thousand times as much to the variance as others.
func weighedBottleneck(in, out, stride int) *layer.Sequence {
	const eps, expansion = 1000 * layer.NormEps, 4
	wide := expansion * in
	convolution := func(l *layer.ConvNorm) layer.Layer {
		l.Eps = eps
		return l
	}
	q := &layer.Sequence{}
	q.Add("expand", convolution(layer.Pointwise(in, wide, layer.SiLU)))
	q.Add("depthwise", convolution(layer.Depthwise(wide, 3, stride, 1, layer.SiLU)))
	q.Add("weigh", &layer.SqueezeExcite{Channels: wide, Reduced: max(1, in/4), Activation: layer.SiLU, Smooth: true})
	q.Add("project", convolution(layer.Pointwise(wide, out, layer.Linear)))
	return q
}

// transformers is a stage of transformer blocks on maps of a side.
func (b *metaFormerBuilder) transformers(stage, blocks, side int) *layer.Stage {
	n := b.channels[stage+1]
	l := &layer.Stage{In: b.channels[stage], Out: n, Side: side}
	for i := range blocks {
		attention, mlp := &layer.Sequence{}, &layer.Sequence{}
		attention.Add("norm", &layer.LayerNorm{Channels: n})
		attention.Add("attention", &layer.Attention{Channels: n, Heads: attentionHeads, Side: side, Extra: 1})
		mlp.Add("norm", &layer.LayerNorm{Channels: n})
		mlp.Add("widen", &layer.Dense{In: n, Out: 4 * n, Activation: layer.GELU})
		mlp.Add("narrow", &layer.Dense{In: 4 * n, Out: n})
		block := &layer.Sequence{}
		block.Add("attend", b.drop(attention))
		block.Add("refine", b.drop(mlp))
		l.Blocks.Add(fmt.Sprintf("block%d", i+1), block)
		b.depth++
	}
	return l
}
