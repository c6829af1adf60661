package net

import (
	"facepipe/student/net/layer"
	"facepipe/student/torch"
)

// Unfold gives norms back what an exported graph has folded away. A folded norm does
// nothing with its running statistics, but in training it takes a batch's, so that the
// network would not begin as what it was. So the norms are shown crops, and become the same
// functions with either statistics; see [layer.Norm.Unfold].
type Unfold struct {
	network *Network
	seen    map[*layer.Norm]*moments
}

// moments of a norm's channels, summed over batches of one size.
type moments struct {
	batches         float64
	mean, square, v []float64 // means, their squares, variances
}

// NewUnfold watches the norms that an adoption found folded.
func (n *Network) NewUnfold(a Adoption) *Unfold {
	u := &Unfold{network: n, seen: map[*layer.Norm]*moments{}}
	for _, l := range a.folded {
		u.seen[l] = &moments{mean: make([]float64, l.Channels), square: make([]float64, l.Channels), v: make([]float64, l.Channels)}
	}
	return u
}

// Observe runs the network on a batch as [Network.Forward] does, in float32 and outside
// training.
func (u *Unfold) Observe(s *torch.Scope, x torch.Tensor) error {
	s.Engine().NoGrad(func() {
		u.network.forward(&layer.Pass{Scope: s, DType: torch.Float32, Observe: func(l *layer.Norm, x torch.Tensor) {
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
func (u *Unfold) Apply(v layer.Values) {
	for l, m := range u.seen {
		mean, variance := make([]float64, l.Channels), make([]float64, l.Channels)
		for c := range l.Channels {
			mean[c] = m.mean[c] / m.batches
			// That of all batches' values: the mean within them, and that of their means.
			variance[c] = m.v[c]/m.batches + max(0, m.square[c]/m.batches-mean[c]*mean[c])
		}
		l.Unfold(v, mean, variance)
	}
}
