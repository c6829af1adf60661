package net

import (
	"fmt"
	"math/rand/v2"

	"facepipe/student/torch"
)

// Values are what the parameters of a network hold, row-major and outside the engine.
type Values map[*Param][]float32

// initial draws a parameter's first values; i is its place among those that share a seed.
func (p *Param) initial(seed uint64, i int) []float32 {
	data := make([]float32, p.Elements())
	p.init(rand.New(rand.NewPCG(seed, uint64(i))), data)
	return data
}

// Initial is what [Network.Materialise] gives the network with the same seed.
func (n *Network) Initial(seed uint64) Values {
	v := Values{}
	for i, p := range n.params {
		v[p] = p.initial(seed, i)
	}
	return v
}

// Values reads the parameters out of the engine.
func (n *Network) Values(s *torch.Scope) (Values, error) {
	v := Values{}
	for _, p := range n.params {
		v[p] = s.Floats(p.tensor)
	}
	if err := s.Err(); err != nil {
		return nil, fmt.Errorf("read the weights: %w", err)
	}
	return v, nil
}

// SetValues overwrites the parameters in the engine.
func (n *Network) SetValues(s *torch.Scope, v Values) error {
	s.Engine().NoGrad(func() {
		for _, p := range n.params {
			s.Copy(p.tensor, torch.FromData(s, n.device, v[p], p.Shape...))
		}
	})
	return s.Err()
}
