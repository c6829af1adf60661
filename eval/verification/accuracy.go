package verification

import (
	"math"
	"sort"

	"facepipe/internal/vec"
)

// The thresholds that the protocol tries are 0, 0.01 ... 3.99.
const (
	thresholds    = 400
	thresholdStep = 0.01
)

func threshold(k int) float64 { return float64(k) * thresholdStep }

// FoldResult is the outcome of one part of a cross-validation.
type FoldResult struct {
	Pairs int `json:"pairs"`
	// Accuracy is the share of right decisions on the fold.
	Accuracy float64 `json:"accuracy"`
	// Threshold is the distance that was best on the other folds.
	Threshold float64 `json:"threshold"`
}

// tally counts the trials of a fold by the first threshold that accepts them; those
// in the last entry are accepted by none.
type tally [2][thresholds + 1]int // different, same

func (t *tally) add(kind int, distance float64) {
	first := sort.Search(thresholds, func(k int) bool { return distance < threshold(k) })
	t[kind][first]++
}

// right is the number of right decisions at every threshold.
func (t *tally) right() (right [thresholds]int) {
	correct := 0 // below all distances every trial is rejected
	for _, n := range t[kind(false)] {
		correct += n
	}
	for k := range right {
		correct += t[kind(true)][k] - t[kind(false)][k]
		right[k] = correct
	}
	return right
}

// crossValidate applies to every fold the threshold that decides most trials of the
// other folds rightly, the smallest of several: the procedure of FaceNet's evaluation
// code, which the field's LFW figures come from.
func crossValidate(s *Scores) []FoldResult {
	tallies := make([]tally, s.folds)
	results := make([]FoldResult, s.folds)
	for kind, c := range s.ofKind {
		for i, fold := range c.fold {
			tallies[fold].add(kind, c.distances[i])
			results[fold].Pairs++
		}
	}
	rights := make([][thresholds]int, s.folds)
	var all [thresholds]int
	for f := range tallies {
		rights[f] = tallies[f].right()
		for k, n := range rights[f] {
			all[k] += n
		}
	}
	for f := range results {
		best := 0
		for k := range thresholds {
			if all[k]-rights[f][k] > all[best]-rights[f][best] {
				best = k
			}
		}
		results[f].Threshold = threshold(best)
		results[f].Accuracy = float64(rights[f][best]) / float64(results[f].Pairs)
	}
	return results
}

// meanStd are the mean and the population standard deviation.
func meanStd(values []float64) (mean, std float64) {
	mean, variance := vec.Moments(values)
	return mean, math.Sqrt(variance)
}
