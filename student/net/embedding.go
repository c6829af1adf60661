package net

import (
	"math"
	"math/rand/v2"

	"facepipe/internal/onnx"
	"facepipe/student/torch"
)

// embedding is a linear layer over all of the last map, with a norm behind it.
type embedding struct {
	in, out int // in is channels × height × width
	bias    bool
	fixed   bool // see norm

	weight, offset Param
	norm           norm
}

func (l *embedding) register(prefix string, add func(*Param)) {
	l.weight = Param{Name: prefix + "linear.weight", Shape: []int{l.out, l.in}, Trained: true, Decay: true, init: spread(l.in)}
	add(&l.weight)
	if l.bias {
		l.offset = Param{Name: prefix + "linear.bias", Shape: []int{l.out}, Trained: true, init: constant(0)}
		add(&l.offset)
	}
	l.norm = norm{channels: l.out, fixed: l.fixed}
	l.norm.register(prefix, add)
}

// spread draws so that sums over fan values keep their size.
func spread(fan int) func(*rand.Rand, []float32) {
	return func(rng *rand.Rand, data []float32) {
		for i := range data {
			data[i] = float32(rng.NormFloat64() / math.Sqrt(float64(fan)))
		}
	}
}

func (l *embedding) forward(r *run, x torch.Tensor) torch.Tensor {
	y := r.s.Linear(r.s.Reshape(x, -1, l.in), l.weight.tensor)
	if l.bias {
		y = r.s.Add(y, r.s.To(l.offset.tensor, r.dtype))
	}
	return l.norm.forward(r, r.s.Reshape(y, -1, l.out, 1, 1))
}

// export folds the norm into the linear layer.
func (l *embedding) export(g *graphWriter, prefix, input string) string {
	weight, bias := make([]float32, l.out*l.in), make([]float32, l.out)
	for o := range l.out {
		scale, offset := l.norm.line(g.values, o)
		if l.bias {
			offset += scale * float64(g.values[&l.offset][o])
		}
		bias[o] = float32(offset)
		for i := o * l.in; i < (o+1)*l.in; i++ {
			weight[i] = float32(float64(g.values[&l.weight][i]) * scale)
		}
	}
	flat := g.node("Flatten", prefix+"flat", []string{input}, onnx.Int("axis", 1))
	names := []string{flat, g.folded(prefix+"weight", &l.weight, &l.norm, weight, int64(l.out), int64(l.in)),
		g.folded(prefix+"bias", &l.norm.beta, &l.norm, bias)}
	if l.bias {
		g.weights[len(g.weights)-1].absorbed = &l.offset
	}
	return g.node("Gemm", prefix+"linear", names, onnx.Int("transB", 1))
}

func (l *embedding) cost(shape) (out shape, macs int64) {
	return shape{l.out, 1, 1}, int64(l.in) * int64(l.out)
}
