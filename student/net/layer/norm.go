package layer

import (
	"cmp"
	"math"

	"facepipe/internal/onnx"
	"facepipe/student/torch"
)

const (
	// NormEps keeps the division by the standard deviation finite where nothing else is
	// said.
	NormEps = 1e-5
	// normMomentum is the weight of a batch in the running statistics.
	normMomentum = 0.1
)

// Norm is batch normalisation that no convolution precedes. In front of one with padding
// it cannot be folded into that, whose border sees zeros and not what the norm makes of
// them.
type Norm struct {
	Channels int
	// Fixed keeps the weights at one, as insightface does for embeddings.
	Fixed bool
	// Eps is added to the variance: 0 for [NormEps].
	Eps float64

	gamma, beta    *Param
	mean, variance *Param // running
}

// Register declares weight, bias and running statistics.
func (l *Norm) Register(prefix string, add func(*Param)) {
	l.gamma, l.beta = newVector(prefix+"norm.weight", l.Channels, 1), newVector(prefix+"norm.bias", l.Channels, 0)
	l.mean, l.variance = newVector(prefix+"norm.running_mean", l.Channels, 0), newVector(prefix+"norm.running_var", l.Channels, 1)
	l.gamma.Trained, l.mean.Trained, l.variance.Trained = !l.Fixed, false, false
	for _, p := range l.params() {
		add(p)
	}
}

func (l *Norm) params() []*Param { return []*Param{l.gamma, l.beta, l.mean, l.variance} }

// eps is what is added to the variance.
func (l *Norm) eps() float64 { return cmp.Or(l.Eps, NormEps) }

// Forward normalises each channel.
func (l *Norm) Forward(p *Pass, x torch.Tensor) torch.Tensor {
	return l.activated(p, x, new(activation), torch.Tensor{})
}

// activated is the norm of x, the activation, and a residual unless that is none.
func (l *Norm) activated(p *Pass, x torch.Tensor, a *activation, residual torch.Tensor) torch.Tensor {
	if p.Training && !a.fused() {
		return plus(p, a.forward(p, l.activated(p, x, new(activation), torch.Tensor{})), residual)
	}
	if p.Training {
		return p.Scope.NormAct(x, torch.Norm{Weight: l.gamma.tensor, Bias: l.beta.tensor, Mean: l.mean.tensor, Variance: l.variance.tensor,
			Slope: a.tensor(), ReLU: a.kind == ReLU, Momentum: normMomentum, Eps: l.eps()}, residual)
	}
	if p.Observe != nil {
		p.Observe(l, x)
	}
	y := a.forward(p, p.Scope.BatchNorm(x, l.gamma.tensor, l.beta.tensor, l.mean.tensor, l.variance.tensor, false, normMomentum, l.eps()))
	return plus(p, y, residual)
}

// plus adds a residual unless that is none.
func plus(p *Pass, y, residual torch.Tensor) torch.Tensor {
	if residual.IsNone() {
		return y
	}
	return p.Scope.Add(y, residual)
}

// Export writes the norm with its running statistics.
func (l *Norm) Export(g *Graph, prefix, input string) string {
	inputs := []string{input}
	for _, p := range l.params() {
		inputs = append(inputs, g.Weight(p.Name, p))
	}
	return g.Node("BatchNormalization", prefix+"norm", inputs, onnx.Float("epsilon", float32(l.eps())))
}

// Cost is nothing: most norms are folded into what precedes them.
func (*Norm) Cost(in Shape) (out Shape, macs int64) { return in, 0 }

// fold is the weight and the bias of a layer that does what one with weight w, bias b (0 where
// nil) and this norm behind it do: w·γ/σ and β + (b - mean)·γ/σ for each output channel.
func (l *Norm) fold(v Values, w, b *Param) (weight, bias []float32) {
	raw := v[w]
	weight, bias = make([]float32, len(raw)), make([]float32, l.Channels)
	each := len(raw) / l.Channels
	for c := range l.Channels {
		scale := float64(v[l.gamma][c]) / math.Sqrt(float64(v[l.variance][c])+l.eps())
		offset := float64(v[l.beta][c]) - float64(v[l.mean][c])*scale
		if b != nil {
			offset += scale * float64(v[b][c])
		}
		bias[c] = float32(offset)
		for i := c * each; i < (c+1)*each; i++ {
			weight[i] = float32(float64(raw[i]) * scale)
		}
	}
	return weight, bias
}

// MakeIdentity has the norm add its offset, which is nothing yet, and do nothing else.
func (l *Norm) MakeIdentity(v Values) {
	for p, value := range map[*Param]float32{l.gamma: 1, l.beta: 0, l.mean: 0, l.variance: float32(1 - l.eps())} {
		v[p] = make([]float32, l.Channels)
		constant(value)(nil, v[p])
	}
}

// Unfold gives a norm that does nothing but add its offset β the statistics of what it gets,
// a mean m and a variance v for each channel:
//
//	γ = √(v+ε), β + m, running statistics m and v
//
// which is the same function with the running statistics, and with those of such a batch.
func (l *Norm) Unfold(v Values, mean, variance []float64) {
	gamma, beta, m, s := make([]float32, l.Channels), make([]float32, l.Channels), make([]float32, l.Channels), make([]float32, l.Channels)
	for c := range l.Channels {
		gamma[c] = float32(math.Sqrt(variance[c] + l.eps()))
		beta[c] = v[l.beta][c] + float32(mean[c])
		m[c], s[c] = float32(mean[c]), float32(variance[c])
	}
	v[l.gamma], v[l.beta], v[l.mean], v[l.variance] = gamma, beta, m, s
}
