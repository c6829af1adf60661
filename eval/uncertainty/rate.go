package uncertainty

import (
	"math"
	"slices"

	"facepipe/eval/verification"
)

// Rate is a share of trials that are errors, with what is known of it.
type Rate struct {
	// Errors of so many trials, and Value their share, 0 to 1.
	Errors int     `json:"errors"`
	Of     int     `json:"of"`
	Value  float64 `json:"value"`
	// Interval is nil where it cannot be told: with a single identity.
	Interval *Interval `json:"interval,omitempty"`
	// Identities is how many people the trials show.
	Identities int `json:"identities"`
	// Effective is how many independent trials would be known as well as these are.
	Effective float64 `json:"effective"`
}

// FMR are the false match rates of scores at fixed thresholds: the shares of different-person
// trials with a smaller distance. Thresholds may be in any order. There are none where there
// is no such trial.
func FMR(s *verification.Scores, thresholds []float64, level float64) []Rate {
	return meet(s).rates(s, different, thresholds, level)
}

// FNMR are the false non-match rates of scores at fixed thresholds: the shares of same-person
// trials with a distance that is not smaller. There are none where there is no such trial.
func FNMR(s *verification.Scores, thresholds []float64, level float64) []Rate {
	return meet(s).rates(s, same, thresholds, level)
}

// rates are those of errors of one kind.
func (p people) rates(s *verification.Scores, kind int, thresholds []float64, level float64) []Rate {
	distances := s.Column(kind == same).Distances
	if len(distances) == 0 || len(thresholds) == 0 {
		return nil
	}
	ascending := slices.Clone(thresholds)
	slices.Sort(ascending)
	ascending = slices.Compact(ascending)
	accepted := spread(p.of[kind], p.count, len(ascending), func(i int) int {
		d := distances[i]
		at, found := slices.BinarySearch(ascending, d)
		if found {
			at++ // a threshold does not accept its own distance
		}
		return at
	})
	if kind == same {
		for i := range accepted {
			accepted[i].errors = len(distances) - accepted[i].errors
		}
	}
	rates := make([]Rate, len(thresholds))
	for i, threshold := range thresholds {
		at, _ := slices.BinarySearch(ascending, threshold)
		rates[i] = rate(accepted[at], len(distances), p.met[kind], level)
	}
	return rates
}

// tally is a number of errors, and the variance of their share.
type tally struct {
	errors   int
	variance float64
}

func rate(t tally, of, identities int, level float64) Rate {
	r := Rate{Errors: t.errors, Of: of, Value: float64(t.errors) / float64(of), Identities: identities}
	r.Effective = effective(t, of, identities)
	if identities > 1 {
		interval := Wilson(t.errors, of, r.Effective, level)
		r.Interval = &interval
	}
	return r
}

// effective is the number of independent trials whose share of errors has the variance: not more
// than there are, and one an identity where the variance is 0, which then says nothing.
func effective(t tally, of, identities int) float64 {
	share := float64(t.errors) / float64(of)
	independent := share * (1 - share) / float64(of) // the variance of so many
	if t.variance <= independent*1e-9 {              // but for rounding
		return float64(min(of, identities))
	}
	return min(share*(1-share)/t.variance, float64(of))
}

// Wilson is the interval of a share of errors that is known as well as from so many independent
// trials (Wilson, "Probable inference, the law of succession, and statistical inference",
// Journal of the American Statistical Association, 1927). The ends next to 0 and 1 are those of
// the Poisson distribution: no error in n trials leaves 0 to -ln(1-level)/n, the rule of three,
// with the effective number; a single one leaves no less than -ln(level)/of (Brown, Cai and
// DasGupta, "Interval estimation for a binomial proportion", Statistical Science, 2001). The
// same holds for right decisions where nearly all are errors.
func Wilson(errors, of int, effective, level float64) Interval {
	few := math.Inf(1)
	if effective > 0 {
		few = -math.Log(1-level) / effective
	}
	switch {
	case errors == 0:
		return Interval{0, min(few, 1)}
	case errors == of:
		return Interval{max(1-few, 0), 1}
	}
	share := float64(errors) / float64(of)
	z := math.Sqrt2 * math.Erfinv(level)
	scale := 1 + z*z/effective
	middle := (share + z*z/(2*effective)) / scale
	half := z * math.Sqrt((share*(1-share)+z*z/(4*effective))/effective) / scale
	i := Interval{max(middle-half, 0), min(middle+half, 1)}
	if errors == 1 {
		i.Low = -math.Log(level) / float64(of)
	}
	if errors == of-1 {
		i.High = 1 + math.Log(level)/float64(of)
	}
	return i.holding(share)
}

// spread counts the trials that each of several thresholds accepts, and how much the share of
// them varies from one choice of people to the next:
//
//	Var = [Σ Z² + max(0, Σ S² - 2 Σ Z² - Σ Z'²)] / N²
//
// Z = n (e - share) of the n trials with two given identities, of which e are accepted; Z' = Z
// of the trials that have but one; S sums Z up over all that have an identity. The second term
// are the products of all that have one identity in common. first is the number of the first
// threshold that accepts a trial, of so many.
func spread(of []pair, people, thresholds int, first func(i int) int) []tally {
	accepted := make([]int, thresholds+1)
	byFirst := make([]int, people+1)
	for i, p := range of {
		accepted[first(i)]++
		byFirst[min(p.a, p.b)+1]++
	}
	shares := make([]float64, thresholds)
	tallies := make([]tally, thresholds)
	for k := range thresholds {
		if k > 0 {
			accepted[k] += accepted[k-1]
		}
		tallies[k].errors = accepted[k]
		shares[k] = float64(accepted[k]) / float64(len(of))
	}
	rows := newRows(of, byFirst, first)
	width := thresholds + 1
	count := make([]int32, people*width) // by second identity and first threshold that accepts
	sums := make([]float64, people*thresholds)
	squares, single := make([]float64, thresholds), make([]float64, thresholds)
	var met []int32
	for a := range people {
		met = met[:0]
		for _, r := range rows[byFirst[a]:byFirst[a+1]] {
			row := count[int(r.second)*width:][:width]
			if isZero(row) {
				met = append(met, r.second)
			}
			row[r.first]++
		}
		for _, b := range met {
			row := count[int(b)*width:][:width]
			n, e := 0, 0
			for _, c := range row {
				n += int(c)
			}
			for k := range thresholds {
				e += int(row[k])
				z := float64(e) - float64(float64(n)*shares[k])
				sums[a*thresholds+k] += z
				squares[k] += float64(z * z)
				if int(b) == a {
					single[k] += float64(z * z)
				} else {
					sums[int(b)*thresholds+k] += z
				}
			}
			clear(row)
		}
	}
	for k := range tallies {
		common := -2*squares[k] + single[k] // the squares of single ones are twice in the first
		for a := range people {
			s := sums[a*thresholds+k]
			common += float64(s * s)
		}
		tallies[k].variance = (squares[k] + max(0, common)) / float64(len(of)) / float64(len(of))
	}
	return tallies
}

// row is a trial in the list of its first identity.
type row struct{ second, first int32 }

// newRows brings trials together that have one first identity. byFirst counts them, each count a
// place late, and becomes where each identity's begin.
func newRows(of []pair, byFirst []int, first func(i int) int) []row {
	for a := 1; a < len(byFirst); a++ {
		byFirst[a] += byFirst[a-1]
	}
	next := slices.Clone(byFirst)
	rows := make([]row, len(of))
	for i, p := range of {
		a, b := min(p.a, p.b), max(p.a, p.b)
		rows[next[a]] = row{b, int32(first(i))}
		next[a]++
	}
	return rows
}

func isZero(counts []int32) bool {
	for _, c := range counts {
		if c != 0 {
			return false
		}
	}
	return true
}
