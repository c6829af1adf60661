package net

import (
	"math"

	"facepipe/internal/onnx"
	"facepipe/student/torch"
)

// norm is batch normalisation that no convolution precedes. In front of one with padding
// it cannot be folded into that, whose border sees zeros and not what the norm makes of
// them.
type norm struct {
	channels int
	// fixed keeps the weights at one, as insightface does for embeddings.
	fixed bool

	gamma, beta          Param
	runMean, runVariance Param
}

func (l *norm) register(prefix string, add func(*Param)) {
	l.gamma = Param{Name: prefix + "norm.weight", Shape: []int{l.channels}, Trained: !l.fixed, init: constant(1)}
	l.beta = Param{Name: prefix + "norm.bias", Shape: []int{l.channels}, Trained: true, init: constant(0)}
	l.runMean = Param{Name: prefix + "norm.running_mean", Shape: []int{l.channels}, init: constant(0)}
	l.runVariance = Param{Name: prefix + "norm.running_var", Shape: []int{l.channels}, init: constant(1)}
	for _, p := range []*Param{&l.gamma, &l.beta, &l.runMean, &l.runVariance} {
		add(p)
	}
}

func (l *norm) forward(r *run, x torch.Tensor) torch.Tensor {
	return l.activated(r, x, torch.Tensor{}, torch.Tensor{})
}

// activated is the norm of x, a PReLU unless slope is none, and a residual unless that is.
func (l *norm) activated(r *run, x, slope, residual torch.Tensor) torch.Tensor {
	if r.training {
		return r.s.NormAct(x, torch.Norm{Weight: l.gamma.tensor, Bias: l.beta.tensor, Mean: l.runMean.tensor,
			Variance: l.runVariance.tensor, Slope: slope, Momentum: normMomentum, Eps: normEps}, residual)
	}
	if r.observe != nil {
		r.observe(l, x)
	}
	y := r.s.BatchNorm(x, l.gamma.tensor, l.beta.tensor, l.runMean.tensor, l.runVariance.tensor,
		false, normMomentum, normEps)
	if !slope.IsNone() {
		y = r.s.PReLU(y, r.s.To(slope, r.dtype))
	}
	if residual.IsNone() {
		return y
	}
	return r.s.Add(y, residual)
}

func (l *norm) export(g *graphWriter, prefix, input string) string {
	inputs := []string{input}
	for _, p := range []*Param{&l.gamma, &l.beta, &l.runMean, &l.runVariance} {
		inputs = append(inputs, g.weight(p.Name, p, g.values[p]))
	}
	return g.node("BatchNormalization", prefix+"norm", inputs, onnx.Float("epsilon", normEps))
}

func (*norm) cost(in shape) (out shape, macs int64) { return in, 0 }

// line is what the norm does to a channel with its running statistics: x·scale + offset.
func (l *norm) line(values Values, channel int) (scale, offset float64) {
	scale = float64(values[&l.gamma][channel]) / math.Sqrt(float64(values[&l.runVariance][channel])+normEps)
	return scale, float64(values[&l.beta][channel]) - float64(values[&l.runMean][channel])*scale
}
