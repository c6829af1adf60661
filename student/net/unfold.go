package net

import (
	"math"
	"slices"

	"facepipe/student/torch"
)

// Unfold gives norms back what an exported graph has folded away. A folded norm does
// nothing with its running statistics, but in training it takes a batch's, so that the
// network would not begin as what it was. From the mean m and the variance v of what a norm
// gets from crops, it becomes
//
//	γ = √(v+ε), β = bias + m, running statistics m and v
//
// which is the same function with either statistics.
type Unfold struct {
	network *Network
	seen    map[*norm]*moments
}

// moments of a norm's channels, summed over batches of one size.
type moments struct {
	batches         float64
	mean, square, v []float64 // means, their squares, variances
}

// NewUnfold watches the norms that an adoption found folded.
func (n *Network) NewUnfold(a Adoption) *Unfold {
	u := &Unfold{network: n, seen: map[*norm]*moments{}}
	for _, l := range a.folded {
		u.seen[l] = &moments{mean: make([]float64, l.channels), square: make([]float64, l.channels), v: make([]float64, l.channels)}
	}
	return u
}

// Observe runs the network on a batch as [Network.Forward] does, in float32 and outside
// training.
func (u *Unfold) Observe(s *torch.Scope, x torch.Tensor) error {
	s.Engine().NoGrad(func() {
		u.network.forward(&run{s: s, dtype: torch.Float32, observe: func(l *norm, x torch.Tensor) {
			if m := u.seen[l]; m != nil {
				mean, variance := s.ChannelMoments(x)
				m.add(s.Floats(mean), s.Floats(variance))
			}
		}}, x)
	})
	return s.Err()
}

func (m *moments) add(mean, variance []float32) {
	if len(mean) != len(m.mean) || len(variance) != len(m.mean) {
		return // the engine has failed, and says so
	}
	m.batches++
	for c := range mean {
		m.mean[c] += float64(mean[c])
		m.square[c] += float64(mean[c]) * float64(mean[c])
		m.v[c] += float64(variance[c])
	}
}

// Apply writes the norms, of which each has been observed.
func (u *Unfold) Apply(v Values) {
	for l, m := range u.seen {
		gamma, beta := make([]float32, l.channels), slices.Clone(v[&l.beta])
		mean, variance := make([]float32, l.channels), make([]float32, l.channels)
		for c := range l.channels {
			center := m.mean[c] / m.batches
			// That of all batches' values: the mean within them, and that of their means.
			spread := m.v[c]/m.batches + max(0, m.square[c]/m.batches-center*center)
			mean[c], variance[c] = float32(center), float32(spread)
			gamma[c] = float32(math.Sqrt(spread + normEps))
			beta[c] += float32(center)
		}
		v[&l.gamma], v[&l.beta], v[&l.runMean], v[&l.runVariance] = gamma, beta, mean, variance
	}
}
