package layer

import (
	"math"

	"facepipe/internal/onnx"
	"facepipe/student/torch"
)

// Tokens are vectors that stand for places of a map, or for all of it: N×T×C in the engine,
// (N·T)×C in a graph, and in a [Shape] C channels of T×1.

// tokenStd is the spread that matrices, tokens and tables of transformers begin with.
const tokenStd = 0.02

// LayerNorm normalises every token by its own mean and variance (Ba et al. 2016, arXiv
// 1607.06450).
type LayerNorm struct {
	Channels int

	gamma, beta *Param
}

// Register declares the scale and the offset of each channel.
func (l *LayerNorm) Register(prefix string, add func(*Param)) {
	l.gamma, l.beta = newVector(prefix+"weight", l.Channels, 1), newVector(prefix+"bias", l.Channels, 0)
	add(l.gamma)
	add(l.beta)
}

// Forward normalises the last dimension.
func (l *LayerNorm) Forward(p *Pass, x torch.Tensor) torch.Tensor {
	return p.Scope.LayerNorm(x, l.gamma.tensor, l.beta.tensor, NormEps)
}

// Export writes LayerNormalization or, before version 17, which brought it, what it consists
// of. The latter stays in float32 where the graph is to be in float16, whose largest number a
// square would soon pass.
func (l *LayerNorm) Export(g *Graph, prefix, input string) string {
	if g.Opset >= 17 {
		scale, offset := g.Weight(l.gamma.Name, l.gamma), g.Weight(l.beta.Name, l.beta)
		return g.Node("LayerNormalization", prefix+"norm", []string{input, scale, offset}, onnx.Int("axis", -1), onnx.Float("epsilon", NormEps))
	}
	x := g.single(prefix+"single", input)
	away := g.Node("Sub", prefix+"away", []string{x, g.lastMean(prefix+"mean", x)})
	variance := g.lastMean(prefix+"variance", g.Node("Mul", prefix+"square", []string{away, away}))
	eps := g.Constant(prefix+"eps", []float32{NormEps})
	g.keepSingle(eps)
	spread := g.Node("Sqrt", prefix+"spread", []string{g.Node("Add", prefix+"above_zero", []string{variance, eps})})
	y := g.half(prefix+"half", g.Node("Div", prefix+"normal", []string{away, spread}))
	y = g.Node("Mul", prefix+"scaled", []string{y, g.Weight(l.gamma.Name, l.gamma)})
	return g.Node("Add", prefix+"norm", []string{y, g.Weight(l.beta.Name, l.beta)})
}

// Cost is nothing: as of all norms.
func (*LayerNorm) Cost(in Shape) (out Shape, macs int64) { return in, 0 }

// Dense is a linear layer for every token, and an activation without parameters.
type Dense struct {
	In, Out    int
	Unbiased   bool
	Activation Activation

	linear linear
}

// Register declares the matrix and the bias.
func (l *Dense) Register(prefix string, add func(*Param)) {
	if l.Unbiased {
		l.linear = newMatrix(prefix, l.In, l.Out, normal(tokenStd), add)
		return
	}
	l.linear = newLinear(prefix, l.In, l.Out, normal(tokenStd), add)
}

// Forward makes …×Out of …×In.
func (l *Dense) Forward(p *Pass, x torch.Tensor) torch.Tensor {
	a := activation{kind: l.Activation}
	return a.forward(p, l.linear.forward(p, x))
}

// Export writes the product of matrices and the activation.
func (l *Dense) Export(g *Graph, prefix, input string) string {
	inputs := []string{input, g.Weight(l.linear.weight.Name, l.linear.weight, int64(l.Out), int64(l.In))}
	if !l.Unbiased {
		inputs = append(inputs, g.Weight(l.linear.bias.Name, l.linear.bias))
	}
	a := activation{kind: l.Activation}
	return a.export(g, prefix, "", g.Node("Gemm", prefix+"linear", inputs, onnx.Int("transB", 1)))
}

// Cost counts the matrix for every token.
func (l *Dense) Cost(in Shape) (out Shape, macs int64) {
	return Shape{l.Out, in.Height, in.Width}, int64(in.Height) * int64(in.Width) * int64(l.In) * int64(l.Out)
}

// Attention lets tokens look at one another (Vaswani et al. 2017, arXiv 1706.03762), in
// several heads, each with a trained bias by how far apart two places of the map are (Shaw
// et al. 2018, arXiv 1803.02155): a table of (2·Side-1)²+1 offsets for each head. Of the
// tokens the first Extra are no places. Every pair with one of them has the first entry of
// the table, which it shares with the pair that is furthest apart one way, and the last
// entry is of no pair: so it is in the code of MetaFormer (arXiv 2203.02751).
type Attention struct {
	Channels, Heads, Side, Extra int

	qkv, project Dense
	table        *Param // heads × offsets
}

// Register declares the matrices and the table.
func (l *Attention) Register(prefix string, add func(*Param)) {
	l.qkv = Dense{In: l.Channels, Out: 3 * l.Channels, Unbiased: true}
	l.qkv.Register(prefix+"qkv.", add)
	l.table = NewParam(prefix+"table", []int{l.Heads, (2*l.Side-1)*(2*l.Side-1) + 1}, normal(tokenStd))
	l.table.Decay = false
	add(l.table)
	l.project = Dense{In: l.Channels, Out: l.Channels}
	l.project.Register(prefix+"project.", add)
}

// tokens is how many there are.
func (l *Attention) tokens() int { return l.Extra + l.Side*l.Side }

// index is the entry of the table for each pair of tokens.
func (l *Attention) index() []int64 {
	n := l.tokens()
	index := make([]int64, n*n)
	for i := l.Extra; i < n; i++ {
		for j := l.Extra; j < n; j++ {
			a, b := i-l.Extra, j-l.Extra
			down, right := a/l.Side-b/l.Side+l.Side-1, a%l.Side-b%l.Side+l.Side-1
			index[i*n+j] = int64(down*(2*l.Side-1) + right)
		}
	}
	return index
}

// Forward makes N×T×C of N×T×C.
func (l *Attention) Forward(p *Pass, x torch.Tensor) torch.Tensor {
	s, n := p.Scope, l.tokens()
	index := torch.FromDataLike(s, l.table.tensor, l.index(), n*n)
	bias := s.Reshape(s.Columns(l.table.tensor, 1, index), l.Heads, n, n)
	return l.project.Forward(p, s.Attention(l.qkv.Forward(p, x), bias, l.Heads))
}

// Export writes the heads as one product of matrices. The table stays as it is, and what is
// picked from it for each pair is constant to a runtime.
func (l *Attention) Export(g *Graph, prefix, input string) string {
	n, heads, each := int64(l.tokens()), int64(l.Heads), int64(l.Channels/l.Heads)
	y := g.Reshape(prefix+"heads", l.qkv.Export(g, prefix+"qkv.", input), -1, n, 3, heads, each)
	y = g.Node("Transpose", prefix+"apart", []string{y}, onnx.Ints("perm", 2, 0, 3, 1, 4))
	part := func(name string, i int64) string {
		return g.Node("Gather", prefix+name, []string{y, g.Integers(prefix+name+".index", []int64{i})}, onnx.Int("axis", 0))
	}
	scale := g.Constant(prefix+"scale", []float32{float32(1 / math.Sqrt(float64(each)))})
	q := g.Node("Mul", prefix+"query", []string{part("q", 0), scale})
	k := g.Node("Transpose", prefix+"key", []string{part("k", 1)}, onnx.Ints("perm", 0, 1, 3, 2))
	bias := g.Node("Gather", prefix+"bias", []string{g.Weight(l.table.Name, l.table, heads, int64(l.table.Shape[1])),
		g.Integers(prefix+"index", l.index(), n, n)}, onnx.Int("axis", 1))
	y2 := g.Node("Add", prefix+"logits", []string{g.Node("MatMul", prefix+"products", []string{q, k}), bias})
	y2 = g.Node("Softmax", prefix+"weights", []string{y2}, onnx.Int("axis", 3))
	y2 = g.Node("MatMul", prefix+"weighted", []string{y2, part("v", 2)})
	y2 = g.Node("Transpose", prefix+"beside", []string{y2}, onnx.Ints("perm", 0, 2, 1, 3))
	return l.project.Export(g, prefix+"project.", g.Reshape(prefix+"together", y2, -1, int64(l.Channels)))
}

// Cost counts the matrices, and not the products of tokens with each other.
func (l *Attention) Cost(in Shape) (out Shape, macs int64) {
	wide, first := l.qkv.Cost(in)
	wide.Channels = l.Channels
	out, second := l.project.Cost(wide)
	return out, first + second
}
