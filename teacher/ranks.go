package teacher

import (
	"cmp"
	"math"
	"slices"
)

// ranks are the places of values in ascending order, from 1; equal ones share the mean
// of their places.
func ranks(values []float64) []float64 {
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

// spearman is the rank correlation of paired values: Pearson's of their ranks
// (Spearman, "The proof and measurement of association between two things", 1904); nil
// if it is not defined, as all of a side are equal.
func spearman(x, y []float64) *float64 {
	a, b := ranks(x), ranks(y)
	middle := float64(len(a)+1) / 2
	var ab, aa, bb float64
	for i := range a {
		u, v := a[i]-middle, b[i]-middle
		ab += u * v
		aa += u * u
		bb += v * v
	}
	if aa == 0 || bb == 0 {
		return nil
	}
	r := ab / math.Sqrt(aa*bb)
	return &r
}

// auc is the probability that one of high is above one of low, ties counting half: the
// statistic of Mann and Whitney ("On a test of whether one of two random variables is
// stochastically larger than the other", 1947), scaled to 0..1; nil if either is empty.
func auc(high, low []float64) *float64 {
	if len(high) == 0 || len(low) == 0 {
		return nil
	}
	places := ranks(slices.Concat(high, low))
	n := float64(len(high))
	sum := 0.0
	for _, p := range places[:len(high)] {
		sum += p
	}
	a := (sum - n*(n+1)/2) / (n * float64(len(low)))
	return &a
}

// mean is nil if there is nothing.
func mean(values []float64) *float64 {
	if len(values) == 0 {
		return nil
	}
	sum := 0.0
	for _, v := range values {
		sum += v
	}
	m := sum / float64(len(values))
	return &m
}
