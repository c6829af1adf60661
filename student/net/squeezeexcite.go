package net

import (
	"facepipe/internal/onnx"
	"facepipe/student/torch"
)

// squeezeExcite weighs channels by what two linear layers make of their means (Hu et al.
// 2018, arXiv 1709.01507), with a PReLU between the layers, and a sigmoid of three straight
// lines behind them: 0.2·x + 0.5 within [0, 1], as Keras and ONNX have it.
type squeezeExcite struct {
	channels, reduced int

	reduce, reduceBias Param
	slope              Param
	expand, expandBias Param
}

// The sigmoid's line.
const (
	sigmoidSlope  = 0.2
	sigmoidOffset = 0.5
)

func (l *squeezeExcite) register(prefix string, add func(*Param)) {
	l.reduce = Param{Name: prefix + "reduce.weight", Shape: []int{l.reduced, l.channels}, Trained: true, Decay: true, init: heNormal(l.reduced)}
	l.reduceBias = Param{Name: prefix + "reduce.bias", Shape: []int{l.reduced}, Trained: true, init: constant(0)}
	l.slope = Param{Name: prefix + "prelu.weight", Shape: []int{l.reduced}, Trained: true, init: constant(slopeInit)}
	l.expand = Param{Name: prefix + "expand.weight", Shape: []int{l.channels, l.reduced}, Trained: true, Decay: true, init: heNormal(l.channels)}
	l.expandBias = Param{Name: prefix + "expand.bias", Shape: []int{l.channels}, Trained: true, init: constant(0)}
	for _, p := range []*Param{&l.reduce, &l.reduceBias, &l.slope, &l.expand, &l.expandBias} {
		add(p)
	}
}

func (l *squeezeExcite) forward(r *run, x torch.Tensor) torch.Tensor {
	linear := func(x torch.Tensor, weight, bias Param) torch.Tensor {
		return r.s.Add(r.s.Linear(x, weight.tensor), r.s.To(bias.tensor, r.dtype))
	}
	y := linear(r.s.PlaneMeans(x), l.reduce, l.reduceBias)
	y = linear(r.s.PReLU(y, r.s.To(l.slope.tensor, r.dtype)), l.expand, l.expandBias)
	y = r.s.Clamp(r.s.AddScalar(r.s.Scale(y, sigmoidSlope), sigmoidOffset), 0, 1)
	return r.s.Mul(x, r.s.Reshape(y, -1, l.channels, 1, 1))
}

func (l *squeezeExcite) export(g *graphWriter, prefix, input string) string {
	linear := func(name, input string, weight, bias *Param) string {
		out, in := int64(weight.Shape[0]), int64(weight.Shape[1])
		return g.node("Conv", prefix+name, []string{input,
			g.weight(weight.Name, weight, g.values[weight], out, in, 1, 1), g.weight(bias.Name, bias, g.values[bias], out)},
			onnx.Ints("kernel_shape", 1, 1))
	}
	y := linear("reduce", g.node("GlobalAveragePool", prefix+"pool", []string{input}), &l.reduce, &l.reduceBias)
	y = g.node("PRelu", prefix+"prelu", []string{y, g.weight(l.slope.Name, &l.slope, g.values[&l.slope], int64(l.reduced), 1, 1)})
	y = linear("expand", y, &l.expand, &l.expandBias)
	y = g.node("HardSigmoid", prefix+"sigmoid", []string{y}, onnx.Float("alpha", sigmoidSlope), onnx.Float("beta", sigmoidOffset))
	return g.node("Mul", prefix+"weigh", []string{input, y})
}

func (l *squeezeExcite) cost(in shape) (out shape, macs int64) {
	return in, 2 * int64(l.channels) * int64(l.reduced)
}
