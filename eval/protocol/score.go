package protocol

import (
	"fmt"

	"facepipe/eval/verification"
	"facepipe/internal/vec"
)

// Verify computes the figures of embeddings, one for each of the protocol's faces.
// [*UnusableError], [verification.ErrTooFew].
func Verify(p Verification, e Embeddings, s Settings) (Result, error) {
	rows, err := InMemory(e)
	if err != nil {
		return Result{}, err
	}
	r := Result{}
	var keep func(float64)
	if s.Distances {
		keep = func(d float64) { r.Distances = append(r.Distances, d) }
	}
	if r.Scores, err = score(p, rows, keep); err != nil {
		return Result{}, err
	}
	figures, err := s.Rule.Evaluate(r.Scores, s.FAR)
	r.Verification = &figures
	return r, err
}

// score compares the templates of embeddings, one for each of the protocol's faces, of one
// dimension. It tells keep, unless that is nil, every distance in the order of the comparisons.
// [*UnusableError].
func score(p Verification, embeddings [][]float32, keep func(distance float64)) (*verification.Scores, error) {
	if n := len(p.Faces()); len(embeddings) != n {
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
		d := verification.Distance(t.Vectors[c.First], t.Vectors[c.Second], norms[c.First], norms[c.Second])
		scores.Add(verification.Trial{Distance: d, Same: c.Same, First: t.Identities[c.First], Second: t.Identities[c.Second], Fold: c.Fold})
		if keep != nil {
			keep(d)
		}
	}
	return scores, nil
}

// count is the number of comparisons of each kind.
func count(p Verification) (same, different int) {
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
func checkUsable(p Verification, names []string, norms []float64) error {
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
