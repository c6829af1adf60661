package layer

import (
	"facepipe/internal/onnx"
	"facepipe/student/torch"
)

// linear is a linear layer with a bias or, where that is nil, without: part of other layers.
type linear struct{ weight, bias *Param }

// newMatrix declares the parameter of a layer without a bias, which init fills.
func newMatrix(prefix string, in, out int, init Init, add func(*Param)) linear {
	l := linear{weight: NewParam(prefix+"weight", []int{out, in}, init)}
	add(l.weight)
	return l
}

// newLinear declares the parameters of a layer whose matrix init fills.
func newLinear(prefix string, in, out int, init Init, add func(*Param)) linear {
	l := newMatrix(prefix, in, out, init, add)
	l.bias = newVector(prefix+"bias", out, 0)
	add(l.bias)
	return l
}

// forward makes …×out of …×in.
func (l *linear) forward(p *Pass, x torch.Tensor) torch.Tensor {
	if l.bias == nil {
		return p.Scope.Linear(x, l.weight.tensor)
	}
	return p.Scope.LinearBias(x, l.weight.tensor, l.bias.tensor)
}

// export writes the layer as a convolution of maps of one place.
func (l *linear) export(g *Graph, name, input string) string {
	out, in := int64(l.weight.Shape[0]), int64(l.weight.Shape[1])
	return g.Node("Conv", name, []string{input, g.Weight(l.weight.Name, l.weight, out, in, 1, 1), g.Weight(l.bias.Name, l.bias, out)},
		onnx.Ints("kernel_shape", 1, 1))
}
