package synthface

// stream is a source of random numbers with a fixed definition (SplitMix64:
// Steele, Lea and Flood, "Fast splittable pseudorandom number generators",
// 2014). Every group of parameters draws from a stream of its own, so that a
// parameter added to one group leaves all others as they were.
type stream struct{ state uint64 }

// newStream returns the stream of a purpose and some indices under a seed.
func newStream(seed uint64, purpose string, index ...int) *stream {
	s := &stream{state: seed}
	for _, b := range []byte(purpose) {
		s.absorb(uint64(b))
	}
	for _, i := range index {
		s.absorb(uint64(i))
	}
	return s
}

func (s *stream) absorb(v uint64) { s.state = s.next() ^ mix(v+1) }

func (s *stream) next() uint64 {
	s.state += 0x9e3779b97f4a7c15
	return mix(s.state)
}

// mix is the finaliser of SplitMix64, a bijection that spreads every input bit.
func mix(z uint64) uint64 {
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

// unit is uniform in [0, 1).
func (s *stream) unit() float64 { return float64(s.next()>>11) * 0x1p-53 }

// between is uniform in [lo, hi). The conversion keeps the product from being
// fused with the sum.
func (s *stream) between(lo, hi float64) float64 { return lo + float64((hi-lo)*s.unit()) }

// around is uniform in mean ± reach.
func (s *stream) around(mean, reach float64) float64 {
	return s.between(mean-reach, mean+reach)
}

// bell is in (-reach, reach) and favours the middle: the mean of two uniform
// numbers. Sums of uniforms, unlike a true normal, need no transcendental function.
func (s *stream) bell(reach float64) float64 {
	return reach * (s.unit() + s.unit() - 1)
}

// chance is true with probability p.
func (s *stream) chance(p float64) bool { return s.unit() < p }

// pick is uniform in 0..n-1.
func (s *stream) pick(n int) int { return int((s.next() >> 33) % uint64(n)) }
