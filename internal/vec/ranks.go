package vec

import (
	"cmp"
	"math"
	"slices"
)

// Ranks are the places of values in ascending order, from 1. Equal values share the mean of
// their places.
func Ranks(values []float64) []float64 {
	order := make([]int, len(values))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(a, b int) int { return cmp.Compare(values[a], values[b]) })
	places := make([]float64, len(values))
	for from := 0; from < len(order); {
		to := from + 1
		for to < len(order) && values[order[to]] == values[order[from]] {
			to++
		}
		for _, i := range order[from:to] {
			places[i] = float64(from+1+to) / 2
		}
		from = to
	}
	return places
}

// Spearman is the rank correlation of paired values, -1 to 1: Pearson's correlation of their
// ranks (Spearman, "The proof and measurement of association between two things", 1904). It
// is NaN if all values of a side are equal, or there are none.
func Spearman(x, y []float64) float64 {
	a, b := Ranks(x), Ranks(y)
	middle := float64(len(a)+1) / 2
	var ab, aa, bb float64
	for i := range a {
		u, v := a[i]-middle, b[i]-middle
		ab += float64(u * v)
		aa += float64(u * u)
		bb += float64(v * v)
	}
	return ab / math.Sqrt(aa*bb)
}

// AUC is the probability that one of high is above one of low, where ties count half. It is
// the statistic of Mann and Whitney ("On a test of whether one of two random variables is
// stochastically larger than the other", 1947), scaled to 0..1. It is NaN if either is empty.
func AUC(high, low []float64) float64 {
	places := Ranks(slices.Concat(high, low))
	n := float64(len(high))
	sum := 0.0
	for _, p := range places[:len(high)] {
		sum += p
	}
	return (sum - n*(n+1)/2) / (n * float64(len(low)))
}
