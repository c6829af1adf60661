package verification

import (
	"fmt"
	"math"
	"sort"
)

// FaceXZoo is the rule of the FaceX-Zoo project's verification of pairs (Wang et al.,
// "FaceX-Zoo: A PyTorch Toolbox for Face Recognition", ACM Multimedia 2021): cosines of
// embeddings without mirrored crops, folds of 600 pairs, and on the other folds that of 1000
// thresholds at which TPR - FPR is greatest.
var FaceXZoo = Rule{
	Name: "facexzoo", Flip: false, Pick: Le,
	Spread:        "standard error (standard deviation with n - 1, over √n)",
	Chooses:       "the first of 1000 equal steps from the least to the greatest cosine of the others at which TPR - FPR on them is greatest; pairs above it are accepted",
	folds:         blocksOf600,
	crossValidate: crossValidateCosines,
	plusMinus:     standardError,
}

const (
	blockSize  = 600  // pairs of a fold
	blockSteps = 1000 // thresholds tried
)

// blocksOf600 are runs of 600 trials, the last of which takes what is left. Where one would be of
// one kind, same and different trials are merged evenly first.
func blocksOf600(same []bool, _ []int) (Folds, error) {
	n := len(same) / blockSize
	if n < 2 {
		return Folds{}, fmt.Errorf("%w: %d; the facexzoo rule needs at least two folds of %d pairs, the plain rule does with fewer",
			ErrTooFew, len(same), blockSize)
	}
	of := func(rule FoldRule, order []int) Folds {
		f := Folds{Rule: rule, Count: n, Of: make([]int, len(order))}
		for at, trial := range order {
			f.Of[trial] = min(at/blockSize, n-1)
		}
		return f
	}
	if f := of(Blocks, inOrder(len(same))); f.bothKinds(same) {
		return f, nil
	}
	return of(InterleavedBlocks, interleave(same)), nil
}

// span is the range of some cosines, which FaceX-Zoo's thresholds divide.
type span struct{ low, high float64 }

// threshold k, from 0, is the end of the k-th step.
func (s span) threshold(k int) float64 {
	step := (s.high - s.low) / blockSteps
	return s.low + float64(step*float64(k+1)) // not fused: see Distance
}

// place is the number of thresholds that a distance's cosine is above: it is accepted by
// those, the first ones.
func (s span) place(distance float64) int {
	cosine := Cosine(distance)
	return sort.Search(blockSteps, func(k int) bool { return s.threshold(k) >= cosine })
}

// crossValidateCosines applies to every fold the threshold that the others choose. The others
// of most folds have the same span, so that few tallies serve them all.
func crossValidateCosines(s *Scores) []FoldResult {
	results := make([]FoldResult, s.folds)
	limits := make([]float64, s.folds)
	ofSpan := map[span][]tally{}
	sums := map[span]tally{}
	for f, others := range spansOfOthers(s) {
		if ofSpan[others] == nil {
			ofSpan[others] = s.tallies(blockSteps+1, others.place)
			sums[others] = sumOf(ofSpan[others])
		}
		limits[f] = others.threshold(mostApart(sums[others], ofSpan[others][f]))
		results[f].Threshold = 2 - 2*limits[f]
	}
	for k, c := range s.ofKind {
		for i, fold := range c.fold {
			results[fold].count(k == kind(true), Cosine(c.distances[i]) > limits[fold])
		}
	}
	for f := range results {
		results[f].Accuracy = share(results[f].Pairs-results[f].Errors, results[f].Pairs)
	}
	return results
}

// spansOfOthers are, for each fold, the spans of the cosines in the other folds.
func spansOfOthers(s *Scores) []span {
	own := make([]span, s.folds)
	for f := range own {
		own[f] = span{math.Inf(1), math.Inf(-1)}
	}
	for _, c := range s.ofKind {
		for i, fold := range c.fold {
			own[fold] = own[fold].with(span{Cosine(c.distances[i]), Cosine(c.distances[i])})
		}
	}
	others := make([]span, s.folds)
	before, after := span{math.Inf(1), math.Inf(-1)}, span{math.Inf(1), math.Inf(-1)}
	for f := range own {
		others[f] = before
		before = before.with(own[f])
	}
	for f := s.folds - 1; f >= 0; f-- {
		others[f] = others[f].with(after)
		after = after.with(own[f])
	}
	return others
}

// with is the span of both.
func (s span) with(other span) span { return span{min(s.low, other.low), max(s.high, other.high)} }

// mostApart is the first threshold at which the trials of all folds but one have the greatest
// difference between the shares of same and of different ones that are accepted.
func mostApart(all, left tally) int {
	var total, accepted [2]int
	for k := range total {
		for place := range all[k] {
			total[k] += all[k][place] - left[k][place]
		}
		accepted[k] = total[k]
	}
	best, most := 0, math.Inf(-1)
	for threshold := range blockSteps {
		for k := range accepted {
			accepted[k] -= all[k][threshold] - left[k][threshold]
		}
		apart := share(accepted[kind(true)], total[kind(true)]) - share(accepted[kind(false)], total[kind(false)])
		if apart > most {
			best, most = threshold, apart
		}
	}
	return best
}
