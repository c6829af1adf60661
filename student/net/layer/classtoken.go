package layer

import (
	"facepipe/internal/onnx"
	"facepipe/student/torch"
)

// Stage makes tokens of a map, puts a trained one for the whole map, the class token, before
// them, and runs Blocks on all. A token stands for a place of the map at half the size, and is
// made by a convolution with a kernel of three.
type Stage struct {
	In, Out int
	Side    int // of the map at half the size
	Blocks  Sequence

	patches, bias, class *Param
	norm                 LayerNorm
}

// Register declares the convolution, its norm, the class token, and the blocks' parameters.
func (l *Stage) Register(prefix string, add func(*Param)) {
	l.patches = NewParam(prefix+"patches.weight", []int{l.Out, l.In, 3, 3}, heNormal(9*l.Out))
	l.bias = newVector(prefix+"patches.bias", l.Out, 0)
	add(l.patches)
	add(l.bias)
	l.norm = LayerNorm{Channels: l.Out}
	l.norm.Register(prefix+"norm.", add)
	l.class = NewParam(prefix+"class", []int{l.Out}, normal(tokenStd))
	l.class.Decay = false
	add(l.class)
	l.Blocks.Register(prefix, add)
}

// Forward makes N×(1+Side²)×Out of N×In×H×W.
func (l *Stage) Forward(p *Pass, x torch.Tensor) torch.Tensor {
	s, places := p.Scope, l.Side*l.Side
	y := s.Reshape(s.Permute(s.Conv2D(x, l.patches.tensor, 2, 1, 1), 0, 2, 3, 1), -1, places, l.Out)
	y = l.norm.Forward(p, s.Add(y, s.To(l.bias.tensor, p.DType)))
	shape := s.Shape(x)
	if s.Err() != nil {
		return torch.Tensor{}
	}
	class := s.Expand(s.Reshape(s.To(l.class.tensor, p.DType), 1, 1, l.Out), shape[0], 1, l.Out)
	return l.Blocks.Forward(p, s.Concat([]torch.Tensor{class, y}, 1))
}

// Export writes the same.
func (l *Stage) Export(g *Graph, prefix, input string) string {
	out, in, places := int64(l.Out), int64(l.In), int64(l.Side*l.Side)
	y := g.Node("Conv", prefix+"patches", []string{input, g.Weight(l.patches.Name, l.patches, out, in, 3, 3), g.Weight(l.bias.Name, l.bias)},
		onnx.Ints("kernel_shape", 3, 3), onnx.Ints("strides", 2, 2), onnx.Ints("pads", 1, 1, 1, 1))
	y = g.Node("Transpose", prefix+"places", []string{g.Reshape(prefix+"flat", y, 0, out, places)}, onnx.Ints("perm", 0, 2, 1))
	y = l.norm.Export(g, prefix+"norm.", y)
	// One class token for each image, of which there is any number.
	images := g.Node("Slice", prefix+"images", []string{g.Node("Shape", prefix+"shape", []string{y}),
		g.Integers(prefix+"first", []int64{0}, 1), g.Integers(prefix+"second", []int64{1}, 1)})
	shape := g.Node("Concat", prefix+"each", []string{images, g.Integers(prefix+"one", []int64{1, 1}, 2)}, onnx.Int("axis", 0))
	class := g.Node("Expand", prefix+"classes", []string{g.Weight(l.class.Name, l.class, 1, 1, out), shape})
	y = g.Node("Concat", prefix+"tokens", []string{class, y}, onnx.Int("axis", 1))
	return l.Blocks.Export(g, prefix, g.Reshape(prefix+"rows", y, -1, out))
}

// Cost is the convolution's and the blocks'.
func (l *Stage) Cost(Shape) (out Shape, macs int64) {
	places := l.Side * l.Side
	out, macs = l.Blocks.Cost(Shape{l.Out, 1 + places, 1})
	return out, macs + int64(places)*9*int64(l.In)*int64(l.Out)
}

// classOf is the class token of each image, N×C.
func (l *Stage) classOf(s *torch.Scope, tokens torch.Tensor) torch.Tensor {
	return s.Reshape(s.Slice(tokens, 1, 0, 1), -1, l.Out)
}

// mapOf is what the other tokens were made of: a map again.
func (l *Stage) mapOf(s *torch.Scope, tokens torch.Tensor) torch.Tensor {
	places := l.Side * l.Side
	y := s.Reshape(s.Slice(tokens, 1, 1, 1+places), -1, l.Side, l.Side, l.Out)
	return s.Permute(y, 0, 3, 1, 2) // the channels stay innermost
}

// exportCut writes some of the tokens as N×T×C.
func (l *Stage) exportCut(g *Graph, prefix, name, rows string, from, to int64) string {
	tokens := g.Reshape(prefix+name+".tokens", rows, -1, int64(1+l.Side*l.Side), int64(l.Out))
	return g.Node("Slice", prefix+name, []string{tokens, g.Integers(prefix+name+".from", []int64{from}, 1),
		g.Integers(prefix+name+".to", []int64{to}, 1), g.Integers(prefix+name+".axis", []int64{1}, 1)})
}

// exportClass writes [Stage.classOf].
func (l *Stage) exportClass(g *Graph, prefix, rows string) string {
	return g.Reshape(prefix+"class_row", l.exportCut(g, prefix, "class_token", rows, 0, 1), -1, int64(l.Out))
}

// exportMap writes [Stage.mapOf].
func (l *Stage) exportMap(g *Graph, prefix, rows string) string {
	side := int64(l.Side)
	y := g.Node("Transpose", prefix+"channels", []string{l.exportCut(g, prefix, "place_tokens", rows, 1, 1+side*side)}, onnx.Ints("perm", 0, 2, 1))
	return g.Reshape(prefix+"map", y, 0, int64(l.Out), side, side)
}

// ClassTokens runs two stages, of which the second sees the first's map, and makes vectors of
// their class tokens: of both in a weighted sum, for which the first is brought to the size of
// the second, or of the second alone.
type ClassTokens struct {
	First, Second *Stage
	OnlyLast      bool

	firstNorm, secondNorm, sumNorm LayerNorm
	resize                         Sequence
	weigh                          linear
}

// Register declares the parameters of both stages and of what comes after.
func (l *ClassTokens) Register(prefix string, add func(*Param)) {
	l.First.Register(prefix+"first.", add)
	l.Second.Register(prefix+"second.", add)
	from, to := l.First.Out, l.Second.Out
	l.secondNorm = LayerNorm{Channels: to}
	l.secondNorm.Register(prefix+"second_norm.", add)
	if l.OnlyLast {
		return
	}
	l.firstNorm, l.sumNorm = LayerNorm{Channels: from}, LayerNorm{Channels: to}
	l.firstNorm.Register(prefix+"first_norm.", add)
	l.resize = Sequence{}
	l.resize.Add("widen", &Dense{In: from, Out: from, Activation: GELU})
	l.resize.Add("project", &Dense{In: from, Out: to})
	l.resize.Add("norm", &LayerNorm{Channels: to})
	l.resize.Register(prefix+"resize.", add)
	l.weigh = linear{NewParam(prefix+"weigh.weight", []int{1, 2, 1}, Spread(2)), newVector(prefix+"weigh.bias", 1, 0)}
	add(l.weigh.weight)
	add(l.weigh.bias)
	l.sumNorm.Register(prefix+"sum_norm.", add)
}

// Forward makes N×C of maps.
func (l *ClassTokens) Forward(p *Pass, x torch.Tensor) torch.Tensor {
	s := p.Scope
	first := l.First.Forward(p, x)
	second := l.Second.Forward(p, l.First.mapOf(s, first))
	y := l.secondNorm.Forward(p, l.Second.classOf(s, second))
	if l.OnlyLast {
		return y
	}
	z := l.resize.Forward(p, l.firstNorm.Forward(p, l.First.classOf(s, first)))
	pair := s.Permute(s.Stack([]torch.Tensor{z, y}), 1, 2, 0)
	sum := s.LinearBias(pair, s.Reshape(l.weigh.weight.tensor, 1, 2), l.weigh.bias.tensor)
	return l.sumNorm.Forward(p, s.Reshape(sum, -1, l.Second.Out))
}

// Export writes the same; the weighted sum is a convolution over the two.
func (l *ClassTokens) Export(g *Graph, prefix, input string) string {
	first := l.First.Export(g, prefix+"first.", input)
	second := l.Second.Export(g, prefix+"second.", l.First.exportMap(g, prefix+"first.", first))
	y := l.secondNorm.Export(g, prefix+"second_norm.", l.Second.exportClass(g, prefix+"second.", second))
	if l.OnlyLast {
		return y
	}
	z := l.resize.Export(g, prefix+"resize.", l.firstNorm.Export(g, prefix+"first_norm.", l.First.exportClass(g, prefix+"first.", first)))
	channels := int64(l.Second.Out)
	pair := g.Node("Concat", prefix+"pair", []string{g.Reshape(prefix+"one", z, -1, 1, channels), g.Reshape(prefix+"other", y, -1, 1, channels)}, onnx.Int("axis", 1))
	sum := g.Node("Conv", prefix+"weigh", []string{pair, g.Weight(l.weigh.weight.Name, l.weigh.weight, 1, 2, 1), g.Weight(l.weigh.bias.Name, l.weigh.bias)},
		onnx.Ints("kernel_shape", 1))
	return l.sumNorm.Export(g, prefix+"sum_norm.", g.Reshape(prefix+"sum", sum, -1, channels))
}

// Cost is that of both stages and of what comes after.
func (l *ClassTokens) Cost(in Shape) (out Shape, macs int64) {
	_, first := l.First.Cost(in)
	_, second := l.Second.Cost(in)
	macs, out = first+second, Shape{l.Second.Out, 1, 1}
	if !l.OnlyLast {
		_, resize := l.resize.Cost(Shape{l.First.Out, 1, 1})
		macs += resize + 2*int64(l.Second.Out)
	}
	return out, macs
}
