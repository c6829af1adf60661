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
	// far is how many more rows and columns of zeros there are below and to the right.
	far    int
	linear bool

	weight Param
	norm   norm
	slope  Param
}

func (l *convNorm) register(prefix string, add func(*Param)) {
	fanOut := l.kernel * l.kernel * l.out / l.groups
	l.weight = Param{Name: prefix + "conv.weight", Shape: []int{l.out, l.in / l.groups, l.kernel, l.kernel},
		Trained: true, Decay: true, init: heNormal(fanOut)}
	add(&l.weight)
	l.norm = norm{channels: l.out}
	l.norm.register(prefix, add)
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
	return l.norm.activated(r, l.convolved(r, x), l.slope.tensor, residual)
}

// convolved is the convolution alone.
func (l *convNorm) convolved(r *run, x torch.Tensor) torch.Tensor {
	if l.far > 0 {
		x = r.s.PadFar(x, l.far)
	}
	return r.s.Conv2D(x, l.weight.tensor, l.stride, l.padding, l.groups)
}

// padAsKeras pads the convolution, of maps of a side, as Keras' "same" does: there are as
// many places as strides fit into the side, and of an odd number of zeros the far side gets
// one more.
func (l *convNorm) padAsKeras(side int) *convNorm {
	places := (side + l.stride - 1) / l.stride
	zeros := max(0, (places-1)*l.stride+l.kernel-side)
	l.padding, l.far = zeros/2, zeros%2
	return l
}

func (l *convNorm) cost(in shape) (out shape, macs int64) {
	zeros := 2*l.padding + l.far
	out = shape{l.out, (in.height+zeros-l.kernel)/l.stride + 1, (in.width+zeros-l.kernel)/l.stride + 1}
	return out, int64(out.height) * int64(out.width) * int64(l.out) * int64(l.in/l.groups) * int64(l.kernel*l.kernel)
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
