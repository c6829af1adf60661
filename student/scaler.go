package student

import (
	"facepipe/student/checkpoint"
	"facepipe/student/net/layer"
	"facepipe/student/torch"
)

// How the loss scale moves, as in the field: it halves at a gradient that overflows and
// doubles after many that do not.
const (
	firstScale = 1 << 16
	growEvery  = 2000
)

// scaler multiplies the loss, so that small gradients do not vanish in half precision
// (Micikevicius et al. 2018, arXiv 1710.03740, section 3.2). All scales are powers of
// two: in single precision a scaled run takes the very steps of one that is not.
type scaler checkpoint.Scaler

// unscale divides the gradients of the trained ones among params by the scale.
func (c *scaler) unscale(s *torch.Scope, params []*layer.Param) {
	s.Engine().NoGrad(func() { s.ForeachScale(gradients(s, params), 1/c.Scale) })
}

// took counts a step that the parameters have taken.
func (c *scaler) took() {
	if c.Good++; c.Good >= growEvery {
		c.Scale, c.Good = 2*c.Scale, 0
	}
}

// skip gives up a step whose gradient or embeddings overflowed, and reports whether a smaller scale
// is left to try.
func (c *scaler) skip() bool {
	if c.Scale <= 1 {
		return false
	}
	c.Scale, c.Good = c.Scale/2, 0
	c.Skipped++
	return true
}

// statistics are the norms' running ones as they were before the step in flight. A forward
// pass that overflows leaves none of them finite, for good; so a step that is skipped gives
// them back.
type statistics struct {
	scope     *torch.Scope
	own, kept []torch.Tensor
}

// newStatistics are those among params.
func newStatistics(e *torch.Engine, params []*layer.Param) (*statistics, error) {
	k := &statistics{scope: e.NewScope()}
	for _, p := range params {
		if !p.Trained {
			k.own = append(k.own, p.Tensor())
		}
	}
	k.kept = clones(k.scope, k.own)
	return k, k.scope.Err()
}

func (k *statistics) close() { k.scope.Close() }

// keep remembers them; what was remembered before is finite.
func (k *statistics) keep(s *torch.Scope) {
	s.Engine().NoGrad(func() {
		s.ForeachScale(k.kept, 0)
		s.ForeachAdd(k.kept, k.own, 1)
	})
}

// giveBack has the norms take back what was remembered.
func (k *statistics) giveBack(s *torch.Scope) { copyAll(s, k.own, k.kept) }
