package optim

import (
	"cmp"
	"fmt"
	"slices"

	"facepipe/student/net/layer"
	"facepipe/student/torch"
)

// Names of optimizers.
const (
	SGDName   = "sgd"
	AdamWName = "adamw"
)

// Names lists the optimizers.
func Names() []string { return []string{SGDName, AdamWName} }

// Config chooses an optimizer and tunes it.
type Config struct {
	// Name is one of [Names], "" for the one that the network is usually trained with.
	Name string `json:"name,omitempty" yaml:"name"`
	// Momentum and Nesterov are SGD's; WeightDecay, negative for the optimizer's own, and
	// Clip are of both.
	SGDConfig `yaml:",inline"`
	// Betas and Eps are AdamW's.
	AdamWConfig `yaml:",inline"`
}

// Usual fills in what a configuration leaves to the optimizer, and the optimizer where the
// network's is left, which name is.
func (c Config) Usual(name string) Config {
	c.Name = cmp.Or(c.Name, name)
	if c.WeightDecay < 0 {
		c.WeightDecay = 5e-4
		if c.Name == AdamWName {
			c.WeightDecay = 0.05
		}
	}
	return c
}

// mostEps leaves any step of AdamW a thousandth of what it is.
const mostEps = 1000

// Validate reports settings that make no optimizer.
func (c Config) Validate() error {
	if c.Name != "" && !slices.Contains(Names(), c.Name) {
		return fmt.Errorf("optimizer %q is none of %v", c.Name, Names())
	}
	if len(c.Betas) != 2 {
		return fmt.Errorf("optimizer.betas has %d numbers, not 2", len(c.Betas))
	}
	for _, b := range c.Betas {
		if !(b >= 0 && b < 1) {
			return fmt.Errorf("optimizer.betas: %g is not in [0, 1)", b)
		}
	}
	if !(c.Eps > 0 && c.Eps <= mostEps) {
		return fmt.Errorf("optimizer.eps %g is no positive number of at most %d", c.Eps, mostEps)
	}
	return nil
}

// Kept is a tensor that an optimizer goes on from.
type Kept struct {
	Name   string // in checkpoints
	Shape  []int
	Tensor torch.Tensor
}

// Optimizer moves the parameters that it was made for.
type Optimizer interface {
	// Step moves them by their gradients, which stay, if the terms are met. It returns what
	// [torch.Scope.SGDStep] does.
	Step(s *torch.Scope, t torch.Terms, rate float64) (report torch.Tensor, err error)
	// ClearGradients drops the gradients.
	ClearGradients(s *torch.Scope)
	// State is what is remembered of a parameter, and State(nil) what of none.
	State(p *layer.Param) []Kept
	// Close releases the state.
	Close()
}

// New prepares the optimizer of the trained ones among params. The configuration has nothing
// left open; see [Config.Usual].
func New(e *torch.Engine, c Config, params []*layer.Param) (Optimizer, error) {
	if c.Name == AdamWName {
		return NewAdamW(e, c, params)
	}
	return NewSGD(e, c.SGDConfig, params)
}
