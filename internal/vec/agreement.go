package vec

import "math"

// Agreement says whether two models order pairs of faces alike: the rank correlations, -1 to 1, of
// their cosine similarities over all pairs, over those of one person and over those of two. Over
// all pairs, two models correlate simply because both know people apart. A correlation is nil
// where it is not defined: of fewer than two pairs, or where all of a side are equal.
type Agreement struct {
	Spearman          *float64 `json:"spearman"`
	SpearmanSame      *float64 `json:"spearman_same"`
	SpearmanDifferent *float64 `json:"spearman_different"`
}

// Agree compares the similarities of pairs by two models. same and different say which pairs show
// one person and which two; a pair may be neither.
func Agree(a, b []float64, same, different func(i int) bool) Agreement {
	of := func(in func(i int) bool) *float64 {
		var x, y []float64
		for i := range a {
			if in(i) {
				x, y = append(x, a[i]), append(y, b[i])
			}
		}
		return Defined(Spearman(x, y))
	}
	return Agreement{Defined(Spearman(a, b)), of(same), of(different)}
}

// Defined is nil for a figure that is not defined, which is NaN.
func Defined(figure float64) *float64 {
	if math.IsNaN(figure) {
		return nil
	}
	return &figure
}
