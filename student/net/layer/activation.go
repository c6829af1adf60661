package layer

import (
	"math"

	"facepipe/student/torch"
)

// Activation is the function that a layer applies to each value last.
type Activation int

// The activations that there are.
const (
	// Linear is none.
	Linear Activation = iota
	// PReLU is max(0, x) + a·min(0, x), with a trained slope a for each channel
	// (He et al. 2015, arXiv 1502.01852).
	PReLU
	// ReLU is max(0, x).
	ReLU
	// SiLU is x·σ(x).
	SiLU
	// GELU is x·Φ(x).
	GELU
)

// slopeInit is where the slopes of PReLU start (He et al. 2015, section 2.1).
const slopeInit = 0.25

// activation is a layer's, with its parameter.
type activation struct {
	kind  Activation
	slope *Param // of a PReLU, else nil
}

// newActivation declares the parameter for a number of channels under a name.
func newActivation(kind Activation, name string, channels int, add func(*Param)) activation {
	a := activation{kind: kind}
	if kind == PReLU {
		a.slope = newVector(name, channels, slopeInit)
		add(a.slope)
	}
	return a
}

// fused is whether batch normalisation applies it in the same pass over memory.
func (a *activation) fused() bool { return a.kind == Linear || a.kind == PReLU || a.kind == ReLU }

// tensor is that of the slopes, or none.
func (a *activation) tensor() torch.Tensor {
	if a.slope == nil {
		return torch.Tensor{}
	}
	return a.slope.tensor
}

func (a *activation) forward(p *Pass, x torch.Tensor) torch.Tensor {
	switch a.kind {
	case PReLU:
		return p.Scope.PReLU(x, p.Scope.To(a.slope.tensor, p.DType))
	case ReLU:
		return p.Scope.ReLU(x)
	case SiLU:
		return p.Scope.SiLU(x)
	case GELU:
		return p.Scope.GELU(x)
	}
	return x
}

// export writes the activation; slope is what its parameter is called in the graph.
func (a *activation) export(g *Graph, prefix, slope, input string) string {
	switch a.kind {
	case PReLU:
		return g.Node("PRelu", prefix+"prelu", []string{input, g.Weight(slope, a.slope, int64(a.slope.Shape[0]), 1, 1)})
	case ReLU:
		return g.Node("Relu", prefix+"relu", []string{input})
	case SiLU:
		return g.Node("Mul", prefix+"silu", []string{input, g.Node("Sigmoid", prefix+"sigmoid", []string{input})})
	case GELU:
		return exportGELU(g, prefix, input)
	}
	return input
}

// exportGELU writes Gelu or, before version 20, which brought it, x·½·(1 + erf(x/√2)).
func exportGELU(g *Graph, prefix, x string) string {
	if g.Opset >= 20 {
		return g.Node("Gelu", prefix+"gelu", []string{x})
	}
	with := func(op, name, x string, c float64) string {
		return g.Node(op, prefix+name, []string{x, g.Constant(prefix+name+".constant", []float32{float32(c)})})
	}
	erf := g.Node("Erf", prefix+"erf", []string{with("Mul", "by_root", x, math.Sqrt2/2)})
	half := with("Mul", "half", with("Add", "above_zero", erf, 1), 0.5)
	return g.Node("Mul", prefix+"gelu", []string{x, half})
}
