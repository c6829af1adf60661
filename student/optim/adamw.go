package optim

import (
	"fmt"
	"slices"

	"facepipe/student/net/layer"
	"facepipe/student/torch"
)

// AdamWConfig tunes AdamW.
type AdamWConfig struct {
	// Betas are the weights of the past in the first and in the second moment.
	Betas []float64 `json:"betas,omitempty" yaml:"betas,flow"`
	// Eps is added to the root of the second moment.
	Eps float64 `json:"eps,omitempty" yaml:"eps"`
}

// DefaultAdamW are the settings of Kingma and Ba 2015 (arXiv 1412.6980).
func DefaultAdamW() AdamWConfig { return AdamWConfig{Betas: []float64{0.9, 0.999}, Eps: 1e-8} }

// AdamW is Adam with a weight decay of its own (Loshchilov and Hutter 2019, arXiv 1711.05101),
// after t steps:
//
//	g ← g·min(1, clip/|g|),   m ← β₁·m + (1-β₁)·g,   v ← β₂·v + (1-β₂)·g²
//	p ← p - rate·decay·p - rate·m/(1-β₁ᵗ) / (√(v/(1-β₂ᵗ)) + eps)
type AdamW struct {
	c      Config
	scope  *torch.Scope
	params []*layer.Param // the trained ones
	// first and second moments of each parameter's gradient, zero before its first step.
	first, second []torch.Tensor
	// taken is the number of steps.
	taken torch.Tensor
}

// NewAdamW prepares the optimizer of the trained ones among params.
func NewAdamW(e *torch.Engine, c Config, params []*layer.Param) (*AdamW, error) {
	o := &AdamW{c: c, scope: e.NewScope()}
	zeros := func(p *layer.Param) torch.Tensor { return o.scope.Detach(o.scope.ZerosLike(p.Tensor())) }
	for _, p := range params {
		if p.Trained {
			o.params = append(o.params, p)
			o.first, o.second = append(o.first, zeros(p)), append(o.second, zeros(p))
		}
	}
	if len(o.params) == 0 {
		return nil, fmt.Errorf("optimizer: there is nothing to train")
	}
	o.taken = torch.FromDataLike(o.scope, o.params[0].Tensor(), []float32{0}, 1)
	return o, o.scope.Err()
}

// Close releases the moments.
func (o *AdamW) Close() { o.scope.Close() }

// State is a parameter's moments, and of none the number of steps. That is exact up to 2²⁴, by
// when it makes no difference.
func (o *AdamW) State(p *layer.Param) []Kept {
	if p == nil {
		return []Kept{{"adamw.steps", []int{1}, o.taken}}
	}
	if i := slices.Index(o.params, p); i >= 0 {
		return []Kept{{"adamw.first." + p.Name, p.Shape, o.first[i]}, {"adamw.second." + p.Name, p.Shape, o.second[i]}}
	}
	return nil
}

// Step moves the parameters; see [Optimizer].
func (o *AdamW) Step(s *torch.Scope, t torch.Terms, rate float64) (report torch.Tensor, err error) {
	var params, grads, first, second []torch.Tensor
	var decay []bool
	var moved []int
	for i, p := range o.params {
		g := p.Gradient(s)
		if g.IsNone() {
			continue
		}
		params, grads, decay = append(params, p.Leaf()), append(grads, g), append(decay, p.Decay)
		first, second = append(first, p.Drawn(s, o.first[i])), append(second, p.Drawn(s, o.second[i]))
		moved = append(moved, i)
	}
	if s.Err() == nil && len(params) == 0 {
		return report, fmt.Errorf("optimizer step: no parameter has a gradient")
	}
	report = s.AdamWStep(torch.AdamW{Rate: rate, Beta1: o.c.Betas[0], Beta2: o.c.Betas[1], Eps: o.c.Eps, Decay: o.c.WeightDecay,
		Clip: o.c.Clip}, t, params, grads, first, second, decay, o.taken)
	for k, i := range moved {
		p := o.params[i]
		p.WriteBack(s, p.Tensor(), params[k])
		p.WriteBack(s, o.first[i], first[k])
		p.WriteBack(s, o.second[i], second[k])
	}
	return report, s.Err()
}

// ClearGradients drops the gradients of all parameters.
func (o *AdamW) ClearGradients(s *torch.Scope) {
	for _, p := range o.params {
		p.ClearGradient(s)
	}
}
