package optim

import (
	"fmt"
	"slices"

	"facepipe/student/net/layer"
	"facepipe/student/torch"
)

// SGDConfig tunes stochastic gradient descent.
type SGDConfig struct {
	Momentum float64 `json:"momentum" yaml:"momentum"`
	Nesterov bool    `json:"nesterov" yaml:"nesterov"`
	// WeightDecay applies to the parameters that want it, not to norms and slopes.
	WeightDecay float64 `json:"weight_decay" yaml:"weight_decay"`
	// Clip limits the Euclidean length of the whole gradient; 0 does not.
	Clip float64 `json:"clip" yaml:"clip"`
}

// SGD is stochastic gradient descent with momentum:
//
//	g ← g·min(1, clip/|g|) + decay·p,   v ← momentum·v + g
//	p ← p - rate·(g + momentum·v) with Nesterov, p - rate·v without
//
// Of a sparse parameter it moves the rows of the step, with their momentum and decay.
type SGD struct {
	c      SGDConfig
	scope  *torch.Scope
	params []*layer.Param // the trained ones
	// velocity of each parameter, zero before its first step.
	velocity []torch.Tensor
}

// NewSGD prepares the optimizer of the trained ones among params.
func NewSGD(e *torch.Engine, c SGDConfig, params []*layer.Param) (*SGD, error) {
	o := &SGD{c: c, scope: e.NewScope()}
	for _, p := range params {
		if p.Trained {
			o.params = append(o.params, p)
			o.velocity = append(o.velocity, o.scope.Detach(o.scope.ZerosLike(p.Tensor())))
		}
	}
	return o, o.scope.Err()
}

// Close releases the velocities.
func (o *SGD) Close() { o.scope.Close() }

// State is the velocity of a parameter.
func (o *SGD) State(p *layer.Param) []Kept {
	if i := slices.Index(o.params, p); i >= 0 {
		return []Kept{{"momentum." + p.Name, p.Shape, o.velocity[i]}}
	}
	return nil
}

// Step moves the parameters; see [Optimizer].
func (o *SGD) Step(s *torch.Scope, t torch.Terms, rate float64) (report torch.Tensor, err error) {
	var params, grads, velocity []torch.Tensor
	var decay []bool
	var moved []int
	for i, p := range o.params {
		g := p.Gradient(s)
		if g.IsNone() {
			continue
		}
		params, grads, velocity = append(params, p.Leaf()), append(grads, g), append(velocity, p.Drawn(s, o.velocity[i]))
		decay, moved = append(decay, p.Decay), append(moved, i)
	}
	if s.Err() == nil && len(params) == 0 {
		return report, fmt.Errorf("optimizer step: no parameter has a gradient")
	}
	report = s.SGDStep(torch.SGD{Rate: rate, Momentum: o.c.Momentum, Decay: o.c.WeightDecay, Clip: o.c.Clip,
		Nesterov: o.c.Nesterov}, t, params, grads, velocity, decay)
	for k, i := range moved {
		o.params[i].WriteBack(s, o.params[i].Tensor(), params[k])
		o.params[i].WriteBack(s, o.velocity[i], velocity[k])
	}
	return report, s.Err()
}

// ClearGradients drops the gradients of all parameters.
func (o *SGD) ClearGradients(s *torch.Scope) {
	for _, p := range o.params {
		p.ClearGradient(s)
	}
}
