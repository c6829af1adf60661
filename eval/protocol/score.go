package protocol

import (
	"fmt"

	"facepipe/eval/verification"
	"facepipe/internal/vec"
)

// Evaluate computes the figures of embeddings, one for each of the protocol's crops, by the
// plain rule, with TAR at the targets. [*UnusableError], [verification.ErrTooFew].
func Evaluate(p Protocol, embeddings [][]float32, targets []float64) (verification.Result, error) {
	return EvaluateBy(p, embeddings, targets, verification.Plain)
}

// EvaluateBy does it by another rule, which should be the one that the protocol was loaded with.
func EvaluateBy(p Protocol, embeddings [][]float32, targets []float64, rule verification.Rule) (verification.Result, error) {
	scores, err := Score(p, embeddings)
	if err != nil {
		return verification.Result{}, err
	}
	return rule.Evaluate(scores, targets)
}

// Score compares the templates of embeddings, one for each of the protocol's crops, of one
// dimension. [*UnusableError].
func Score(p Protocol, embeddings [][]float32) (*verification.Scores, error) {
	if n := len(p.Crops()); len(embeddings) != n {
		return nil, fmt.Errorf("compare: %d embeddings for %d crops", len(embeddings), n)
	}
	for i, e := range embeddings {
		if len(e) != len(embeddings[0]) {
			return nil, fmt.Errorf("compare: embedding %d has %d values, the first has %d", i, len(e), len(embeddings[0]))
		}
	}
	t := p.Pool(embeddings)
	norms := make([]float64, len(t.Vectors))
	for i, v := range t.Vectors {
		norms[i] = vec.Norm(v)
	}
	if err := checkUsable(p, t.Names, norms); err != nil {
		return nil, err
	}
	same, different := count(p)
	scores := verification.NewScores(same, different, p.Folds().Count)
	for c := range p.Comparisons() {
		scores.Add(verification.Trial{
			Distance: verification.Distance(t.Vectors[c.First], t.Vectors[c.Second], norms[c.First], norms[c.Second]),
			Same:     c.Same, First: t.Identities[c.First], Second: t.Identities[c.Second], Fold: c.Fold,
		})
	}
	return scores, nil
}

// count is the number of comparisons of each kind.
func count(p Protocol) (same, different int) {
	for c := range p.Comparisons() {
		if c.Same {
			same++
		} else {
			different++
		}
	}
	return same, different
}

// checkUsable reports templates that have no direction.
func checkUsable(p Protocol, names []string, norms []float64) error {
	e := &UnusableError{Named: len(norms)}
	for i, n := range norms {
		if !vec.HasDirection(n) {
			e.Crops = append(e.Crops, names[i])
		}
	}
	if len(e.Crops) == 0 {
		return nil
	}
	for c := range p.Comparisons() {
		e.Listed++
		if !vec.HasDirection(norms[c.First]) || !vec.HasDirection(norms[c.Second]) {
			e.Pairs++
		}
	}
	return e
}
