package layer

import (
	"facepipe/internal/onnx"
	"facepipe/student/torch"
)

// SqueezeExcite weighs channels by what two linear layers make of their means (Hu et al.
// 2018, arXiv 1709.01507), with an activation between the layers, and a sigmoid behind them:
// the smooth one, or of three straight lines, 0.2·x + 0.5 within [0, 1], as Keras and ONNX
// have it.
type SqueezeExcite struct {
	Channels, Reduced int
	Activation        Activation
	Smooth            bool

	reduce, expand linear
	act            activation
}

// The sigmoid's line.
const (
	sigmoidSlope  = 0.2
	sigmoidOffset = 0.5
)

// Register declares the parameters of both linear layers and of the activation.
func (l *SqueezeExcite) Register(prefix string, add func(*Param)) {
	l.reduce = newLinear(prefix+"reduce.", l.Channels, l.Reduced, heNormal(l.Reduced), add)
	l.act = newActivation(l.Activation, prefix+"prelu.weight", l.Reduced, add)
	l.expand = newLinear(prefix+"expand.", l.Reduced, l.Channels, heNormal(l.Channels), add)
}

// Forward weighs the channels of x.
func (l *SqueezeExcite) Forward(p *Pass, x torch.Tensor) torch.Tensor {
	s := p.Scope
	y := l.act.forward(p, l.reduce.forward(p, s.PlaneMeans(x)))
	y = l.expand.forward(p, y)
	if l.Smooth {
		y = s.Sigmoid(y)
	} else {
		y = s.Clamp(s.AddScalar(s.Scale(y, sigmoidSlope), sigmoidOffset), 0, 1)
	}
	return s.Mul(x, s.Reshape(y, -1, l.Channels, 1, 1))
}

// Export writes the linear layers as convolutions of maps of one place.
func (l *SqueezeExcite) Export(g *Graph, prefix, input string) string {
	y := l.reduce.export(g, prefix+"reduce", g.Node("GlobalAveragePool", prefix+"pool", []string{input}))
	y = l.expand.export(g, prefix+"expand", l.act.export(g, prefix, prefix+"prelu.weight", y))
	if l.Smooth {
		y = g.Node("Sigmoid", prefix+"gate", []string{y})
	} else {
		y = g.Node("HardSigmoid", prefix+"sigmoid", []string{y}, onnx.Float("alpha", sigmoidSlope), onnx.Float("beta", sigmoidOffset))
	}
	return g.Node("Mul", prefix+"weigh", []string{input, y})
}

// Cost counts the two matrices.
func (l *SqueezeExcite) Cost(in Shape) (out Shape, macs int64) {
	return in, 2 * int64(l.Channels) * int64(l.Reduced)
}
