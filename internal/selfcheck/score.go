package selfcheck

import (
	"math"

	"facepipe/internal/vec"
)

// cosine is that of a pair, with the places of its people.
type cosine struct {
	value         float64
	first, second int
}

// pairs are the cosines of same and of different pairs. Units 2k and 2k+1 always show person
// k. Of mirror images only those that are not mirrored are compared with each other.
func pairs(units [][]float32, mirrored bool) (same, different []cosine) {
	for i := range units {
		for j := range i {
			if j == i-1 && i%2 == 1 {
				same = append(same, cosine{vec.Dot(units[i], units[j]), i / 2, i / 2})
			} else if !mirrored || i%2 == 0 && j%2 == 0 {
				different = append(different, cosine{vec.Dot(units[i], units[j]), i / 2, j / 2})
			}
		}
	}
	return same, different
}

// without are the values of pairs that a person is not in; -1 leaves out nobody.
func without(pairs []cosine, person int) []float64 {
	values := make([]float64, 0, len(pairs))
	for _, p := range pairs {
		if p.first != person && p.second != person {
			values = append(values, p.value)
		}
	}
	return values
}

// judge fills in the figures.
func (s *Score) judge(same, different []cosine) {
	high, low := without(same, -1), without(different, -1)
	s.Separation, s.scores = separation(high, low), scores(high, low)
	s.AUC, s.AUCLow, s.AUCHigh = auc(same, different)
}

// auc is the area under the ROC curve with its 95 % interval, by the jackknife over people (n-1
// times the variance of the figures that leave out one of n): pairs that share a person depend
// on each other.
func auc(same, different []cosine) (value, low, high float64) {
	value = vec.AUC(without(same, -1), without(different, -1))
	var some []float64
	for person := range same {
		rest := without(different, person)
		if len(rest) == 0 { // two people alone
			return value, 0, 1
		}
		some = append(some, vec.AUC(without(same, person), rest))
	}
	_, variance := vec.Moments(some)
	n := float64(len(some))
	const normal = 1.959964 // deviations on each side hold 95 %
	reach := normal * math.Sqrt(variance*(n-1))
	return value, max(0, value-reach), min(1, value+reach)
}

// separation is d′ of signal detection theory.
func separation(same, different []float64) float64 {
	meanS, varS := vec.Moments(same)
	meanD, varD := vec.Moments(different)
	spread := math.Sqrt((varS + varD) / 2)
	if spread == 0 {
		return 0
	}
	return (meanS - meanD) / spread
}

// scores are same in units of the standard deviation of different, above its mean; none if
// that has no spread.
func scores(same, different []float64) []float64 {
	mean, variance := vec.Moments(different)
	if variance == 0 {
		return nil
	}
	var list []float64
	for _, s := range same {
		list = append(list, (s-mean)/math.Sqrt(variance))
	}
	return list
}

// Another contract is better if the scores of same pairs are higher by so much, and by so many
// standard errors of their differences.
const (
	margin = 0.01
	errs   = 3
)

// better says whether s tells people apart better than other does. It compares the scores pair
// by pair, as they vary far more between people than between contracts.
func (s Score) better(other Score) bool {
	if len(s.scores) == 0 || len(other.scores) == 0 {
		return len(s.scores) > 0
	}
	var gains []float64
	for i, score := range s.scores {
		gains = append(gains, score-other.scores[i])
	}
	level, _ := vec.Moments(other.scores)
	gain, variance := vec.Moments(gains)
	return gain > margin*math.Abs(level) && gain > errs*math.Sqrt(variance/float64(len(gains)))
}
