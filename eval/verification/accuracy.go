package verification

import (
	"math"
	"sort"

	"facepipe/internal/vec"
)

// grid are n thresholds, from 0 in equal steps.
type grid struct {
	n    int
	step float64
}

func (g grid) at(k int) float64 { return float64(k) * g.step }

// place is the first threshold that accepts a distance, n if none does.
func (g grid) place(distance float64) int {
	return sort.Search(g.n, func(k int) bool { return distance < g.at(k) })
}

// accuracyThresholds are those that the protocol tries: 0, 0.01 ... 3.99.
var accuracyThresholds = grid{Tries, 0.01}

// FoldResult is the outcome of one part of a cross-validation.
type FoldResult struct {
	Pairs int `json:"pairs"`
	// Errors is the number of wrong decisions on the fold.
	Errors int `json:"errors"`
	// Accuracy is the share of right decisions on the fold.
	Accuracy float64 `json:"accuracy"`
	// Threshold is the distance that was best on the other folds.
	Threshold float64 `json:"threshold"`
}

// count adds a trial and the decision on it.
func (r *FoldResult) count(same, accepted bool) {
	r.Pairs++
	if same != accepted {
		r.Errors++
	}
}

// tally counts the trials of a fold by their places among thresholds.
type tally [2][]int // different, same

// tallies are those of all folds; place numbers the places of distances, below n.
func (s *Scores) tallies(n int, place func(distance float64) int) []tally {
	tallies := make([]tally, s.folds)
	for f := range tallies {
		tallies[f] = tally{make([]int, n), make([]int, n)}
	}
	for kind, c := range s.ofKind {
		for i, fold := range c.fold {
			tallies[fold][kind][place(c.distances[i])]++
		}
	}
	return tallies
}

// sumOf is the tally of all folds.
func sumOf(tallies []tally) tally {
	var sum tally
	for k := range sum {
		sum[k] = make([]int, len(tallies[0][k]))
		for _, t := range tallies {
			for place, n := range t[k] {
				sum[k][place] += n
			}
		}
	}
	return sum
}

// right is the number of right decisions at every threshold, if a place is the first one that
// accepts.
func (t tally) right() []int {
	correct := 0 // below all distances every trial is rejected
	for _, n := range t[kind(false)] {
		correct += n
	}
	right := make([]int, accuracyThresholds.n)
	for k := range right {
		correct += t[kind(true)][k] - t[kind(false)][k]
		right[k] = correct
	}
	return right
}

// size is the number of trials.
func (t tally) size() int {
	size := 0
	for _, places := range t {
		for _, n := range places {
			size += n
		}
	}
	return size
}

// crossValidate applies to every fold the threshold that decides most trials of the
// other folds rightly, the smallest of several: the procedure of FaceNet's evaluation
// code, which the field's LFW figures come from.
func crossValidate(s *Scores) []FoldResult {
	tallies := s.tallies(accuracyThresholds.n+1, accuracyThresholds.place)
	all := sumOf(tallies).right()
	results := make([]FoldResult, s.folds)
	for f, t := range tallies {
		right, pairs := t.right(), t.size()
		best := 0
		for k := range right {
			if all[k]-right[k] > all[best]-right[best] {
				best = k
			}
		}
		results[f] = FoldResult{
			Pairs: pairs, Errors: pairs - right[best],
			Accuracy: share(right[best], pairs), Threshold: accuracyThresholds.at(best),
		}
	}
	return results
}

// share is n of so many, 0 of none.
func share(n, of int) float64 {
	if of == 0 {
		return 0
	}
	return float64(n) / float64(of)
}

// meanStd are the mean and the population standard deviation, 0 of nothing.
func meanStd(values []float64) (mean, std float64) {
	if len(values) == 0 {
		return 0, 0
	}
	mean, variance := vec.Moments(values)
	return mean, math.Sqrt(variance)
}
