package layer

import (
	"facepipe/internal/onnx"
	"facepipe/student/torch"
)

// linear is a linear layer with a bias: part of other layers.
type linear struct{ weight, bias *Param }

// newLinear declares the parameters of a layer whose matrix init fills.
func newLinear(prefix string, in, out int, init Init, add func(*Param)) linear {
	l := linear{NewParam(prefix+"weight", []int{out, in}, init), newVector(prefix+"bias", out, 0)}
	add(l.weight)
	add(l.bias)
	return l
}

// forward makes N×out of N×in.
func (l *linear) forward(p *Pass, x torch.Tensor) torch.Tensor {
	return p.Scope.Add(p.Scope.Linear(x, l.weight.tensor), p.Scope.To(l.bias.tensor, p.DType))
}

// export writes the layer as a convolution of maps of one place.
func (l *linear) export(g *Graph, name, input string) string {
	out, in := int64(l.weight.Shape[0]), int64(l.weight.Shape[1])
	return g.Node("Conv", name, []string{input, g.Weight(l.weight.Name, l.weight, out, in, 1, 1), g.Weight(l.bias.Name, l.bias, out)},
		onnx.Ints("kernel_shape", 1, 1))
}
