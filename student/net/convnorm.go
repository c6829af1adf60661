package net

import (
	"math"
	"math/rand/v2"

	"facepipe/student/torch"
)

const (
	// normEps keeps the division by the standard deviation finite.
	normEps = 1e-5
	// normMomentum is the weight of a batch in the running statistics.
	normMomentum = 0.1
	// slopeInit is where the slopes of PReLU start (He et al. 2015, section 2.1).
	slopeInit = 0.25
)

// convNorm is a convolution without bias, batch normalisation and, unless the
// layer is linear, a PReLU: the brick that mobile face networks are built of.
type convNorm struct {
	in, out                         int
	kernel, stride, padding, groups int
	linear                          bool

	weight               Param
	gamma, beta          Param
	runMean, runVariance Param
	slope                Param
}

func (l *convNorm) register(prefix string, add func(*Param)) {
	fanOut := l.kernel * l.kernel * l.out / l.groups
	l.weight = Param{Name: prefix + "conv.weight", Shape: []int{l.out, l.in / l.groups, l.kernel, l.kernel},
		Trained: true, Decay: true, init: heNormal(fanOut)}
	l.gamma = Param{Name: prefix + "norm.weight", Shape: []int{l.out}, Trained: true, init: constant(1)}
	l.beta = Param{Name: prefix + "norm.bias", Shape: []int{l.out}, Trained: true, init: constant(0)}
	l.runMean = Param{Name: prefix + "norm.running_mean", Shape: []int{l.out}, init: constant(0)}
	l.runVariance = Param{Name: prefix + "norm.running_var", Shape: []int{l.out}, init: constant(1)}
	for _, p := range []*Param{&l.weight, &l.gamma, &l.beta, &l.runMean, &l.runVariance} {
		add(p)
	}
	if !l.linear {
		l.slope = Param{Name: prefix + "prelu.weight", Shape: []int{l.out}, Trained: true, init: constant(slopeInit)}
		add(&l.slope)
	}
}

func (l *convNorm) forward(r *run, x torch.Tensor) torch.Tensor {
	return l.forwardAdd(r, x, torch.Tensor{})
}

// forwardAdd adds a residual to the output, unless it is none.
func (l *convNorm) forwardAdd(r *run, x, residual torch.Tensor) torch.Tensor {
	y := r.s.Conv2D(x, l.weight.tensor, l.stride, l.padding, l.groups)
	if r.training {
		return r.s.NormAct(y, torch.Norm{Weight: l.gamma.tensor, Bias: l.beta.tensor, Mean: l.runMean.tensor,
			Variance: l.runVariance.tensor, Slope: l.slope.tensor, Momentum: normMomentum, Eps: normEps}, residual)
	}
	y = r.s.BatchNorm(y, l.gamma.tensor, l.beta.tensor, l.runMean.tensor, l.runVariance.tensor,
		false, normMomentum, normEps)
	if !l.linear {
		y = r.s.PReLU(y, r.s.To(l.slope.tensor, r.dtype))
	}
	if residual.IsNone() {
		return y
	}
	return r.s.Add(y, residual)
}

// heNormal draws from a normal distribution of variance 2/fan, which keeps the
// size of activations through rectified layers (He et al. 2015, section 2.2).
func heNormal(fan int) func(*rand.Rand, []float32) {
	std := math.Sqrt(2 / float64(fan))
	return func(rng *rand.Rand, data []float32) {
		for i := range data {
			data[i] = float32(rng.NormFloat64() * std)
		}
	}
}

func constant(v float32) func(*rand.Rand, []float32) {
	return func(_ *rand.Rand, data []float32) {
		for i := range data {
			data[i] = v
		}
	}
}
