package eval

import (
	"fmt"

	"facepipe/eval/verification"
)

// Verify computes the figures of embeddings, one for each of [PairSet.Locations], of
// one dimension and any length: only directions count. [*UnusableError].
func (s *PairSet) Verify(embeddings [][]float32) (verification.Result, error) {
	if len(embeddings) != len(s.locations) {
		return verification.Result{}, fmt.Errorf("verify pairs: %d embeddings for %d crops", len(embeddings), len(s.locations))
	}
	norms := make([]float64, len(embeddings))
	for i, e := range embeddings {
		if len(e) != len(embeddings[0]) {
			return verification.Result{}, fmt.Errorf("verify pairs: embedding %d has %d values, the first has %d", i, len(e), len(embeddings[0]))
		}
		norms[i] = verification.Norm(e)
	}
	if err := s.checkUsable(norms); err != nil {
		return verification.Result{}, err
	}
	trials := make([]verification.Trial, len(s.pairs))
	for i, p := range s.pairs {
		trials[i] = verification.Trial{
			Distance: verification.Distance(embeddings[p.a], embeddings[p.b], norms[p.a], norms[p.b]),
			Same:     p.same,
		}
	}
	return verification.Evaluate(trials, s.folds)
}

// checkUsable reports embeddings that have no direction.
func (s *PairSet) checkUsable(norms []float64) error {
	e := &UnusableError{Named: len(norms), Listed: len(s.pairs)}
	for i, n := range norms {
		if !verification.Usable(n) {
			e.Crops = append(e.Crops, s.names[i])
		}
	}
	if len(e.Crops) == 0 {
		return nil
	}
	for _, p := range s.pairs {
		if !verification.Usable(norms[p.a]) || !verification.Usable(norms[p.b]) {
			e.Pairs++
		}
	}
	return e
}
