package layer

import (
	"math"
	"math/rand/v2"

	"facepipe/student/torch"
)

// Init draws the first values of a parameter.
type Init func(rng *rand.Rand, data []float32)

// Param is one named tensor of a network or a loss.
type Param struct {
	// Name is stable between versions, e.g. "stage3.block2.expand.conv.weight".
	Name string
	// Shape of the tensor, e.g. out×in×k×k of a convolution.
	Shape []int
	// Trained is false for running statistics, which no gradient moves.
	Trained bool
	// Decay is false for the parameters of norms, biases and slopes of activations, which
	// weight decay would only harm.
	Decay bool
	// Sparse is a parameter of many rows, of which each step trains those that it asks
	// [Param.Rows] for. The others stay as they are, and so does their momentum.
	Sparse bool

	init   Init
	tensor torch.Tensor
	window *window // of a sparse one, in a step
}

// NewParam declares a trained, decaying parameter.
func NewParam(name string, shape []int, init Init) *Param {
	return &Param{Name: name, Shape: shape, Trained: true, Decay: true, init: init}
}

// NewBias declares a trained parameter of zeros that does not decay.
func NewBias(name string, n int) *Param { return newVector(name, n, 0) }

// newVector declares a trained parameter of equal values that does not decay.
func newVector(name string, n int, value float32) *Param {
	return &Param{Name: name, Shape: []int{n}, Trained: true, init: constant(value)}
}

// Tensor is the parameter inside the engine, none before [Materialise].
func (p *Param) Tensor() torch.Tensor { return p.tensor }

// Elements is the number of values.
func (p *Param) Elements() int {
	n := 1
	for _, d := range p.Shape {
		n *= d
	}
	return n
}

// Values are what parameters hold, row-major and outside the engine.
type Values map[*Param][]float32

// Initial draws the first values of parameters that share a seed.
func Initial(params []*Param, seed uint64) Values {
	v := Values{}
	for i, p := range params {
		v[p] = p.initial(seed, i)
	}
	return v
}

// initial draws a parameter's first values; i is its place among those that share a seed.
func (p *Param) initial(seed uint64, i int) []float32 {
	data := make([]float32, p.Elements())
	p.init(rand.New(rand.NewPCG(seed, uint64(i))), data)
	return data
}

// Materialise creates parameters in a scope on a device, with the values of [Initial]: the
// same seed gives the same ones everywhere.
func Materialise(s *torch.Scope, device string, seed uint64, params []*Param) error {
	for i, p := range params {
		p.tensor = torch.FromData(s, device, p.initial(seed, i), p.Shape...)
		if p.Trained && !p.Sparse {
			s.RequireGrad(p.tensor, true)
		}
	}
	return s.Err()
}

// heNormal draws from a normal distribution of variance 2/fan, which keeps the
// size of activations through rectified layers (He et al. 2015, section 2.2).
func heNormal(fan int) Init {
	return normal(math.Sqrt(2 / float64(fan)))
}

// normal draws from a normal distribution.
func normal(std float64) Init {
	return func(rng *rand.Rand, data []float32) {
		for i := range data {
			data[i] = float32(rng.NormFloat64() * std)
		}
	}
}

// Spread draws so that sums over fan values keep their size.
func Spread(fan int) Init {
	return func(rng *rand.Rand, data []float32) {
		for i := range data {
			data[i] = float32(rng.NormFloat64() / math.Sqrt(float64(fan)))
		}
	}
}

func constant(v float32) Init {
	return func(_ *rand.Rand, data []float32) {
		for i := range data {
			data[i] = v
		}
	}
}
