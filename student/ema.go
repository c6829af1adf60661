package student

import (
	"fmt"

	"facepipe/student/net/layer"
	"facepipe/student/torch"
)

// average is the exponential moving average of the network's weights (Polyak and
// Juditsky 1992 in the form that is common since), in float32:
//
//	e ← d·e + (1-d)·p,   d = min(decay, (1+t)/(10+t)) after t steps
//
// The rising decay keeps the random weights of the beginning out of the average.
// Running statistics are averaged as the weights are: those of the moment describe the
// activations of the moment's weights. The bridge and the loss's own parameters are not
// averaged, since neither validation nor the exported model uses them.
type average struct {
	decay  float64
	scope  *torch.Scope
	params []*layer.Param
	values []torch.Tensor // one for each of params
}

// newAverage begins with the parameters as they are.
func newAverage(e *torch.Engine, decay float64, params []*layer.Param) (*average, error) {
	a := &average{decay: decay, scope: e.NewScope(), params: params}
	a.values = clones(a.scope, tensors(params))
	return a, a.scope.Err()
}

func (a *average) close() { a.scope.Close() }

// rate is the decay after so many steps.
func (a *average) rate(steps int) float64 {
	return min(a.decay, float64(1+steps)/float64(10+steps))
}

// follow moves the average towards the parameters, which have taken one step more than
// steps.
func (a *average) follow(s *torch.Scope, steps int) error {
	d := a.rate(steps)
	s.Engine().NoGrad(func() {
		s.ForeachScale(a.values, d)
		s.ForeachAdd(a.values, tensors(a.params), 1-d)
	})
	return s.Err()
}

// lend runs f while the network has the averaged weights, and then gives it back its
// own, bit for bit.
func (a *average) lend(f func() error) error {
	s := a.scope.Engine().NewScope()
	defer s.Close()
	own := clones(s, tensors(a.params))
	copyAll(s, tensors(a.params), a.values)
	if err := s.Err(); err != nil {
		return fmt.Errorf("take the averaged weights: %w", err)
	}
	err := f()
	copyAll(s, tensors(a.params), own)
	if err == nil {
		err = s.Err()
	}
	return err
}

// tensors are those of parameters.
func tensors(params []*layer.Param) []torch.Tensor {
	list := make([]torch.Tensor, len(params))
	for i, p := range params {
		list[i] = p.Tensor()
	}
	return list
}

// clones are copies of tensors, without their gradients.
func clones(s *torch.Scope, list []torch.Tensor) []torch.Tensor {
	copies := make([]torch.Tensor, len(list))
	s.Engine().NoGrad(func() {
		for i, t := range list {
			copies[i] = s.Clone(t)
		}
	})
	return copies
}

// copyAll gives tensors the values of others.
func copyAll(s *torch.Scope, into, from []torch.Tensor) {
	s.Engine().NoGrad(func() {
		for i := range into {
			s.Copy(into[i], from[i])
		}
	})
}
