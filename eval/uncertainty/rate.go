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
	tallies := spread(p.of[kind], p.count, len(ascending), func(i int) int {
		at, found := slices.BinarySearch(ascending, distances[i])
		if found {
			at++ // a threshold does not accept its own distance
		}
		return at
	})
	rates := make([]Rate, len(thresholds))
	for i, threshold := range thresholds {
		at, _ := slices.BinarySearch(ascending, threshold)
		t := tallies[at]
		errors := t.accepted
		if kind == same {
			errors = len(distances) - errors
		}
		rates[i] = newRate(errors, len(distances), p.met[kind], t.variance, level)
	}
	return rates
}

func newRate(errors, of, identities int, variance, level float64) Rate {
	r := Rate{Errors: errors, Of: of, Value: float64(errors) / float64(of), Identities: identities}
	r.Effective = effective(r.Value, variance, of, identities)
	if identities > 1 {
		interval := Wilson(errors, of, r.Effective, level)
		r.Interval = &interval
	}
	return r
}

// effective is the number of independent trials whose share of errors has the variance: not more
// than there are, and one an identity where the variance is 0, which then says nothing.
func effective(share, variance float64, of, identities int) float64 {
	independent := share * (1 - share) / float64(of) // the variance of so many
	if variance <= independent*1e-9 {                // but for rounding
		return float64(min(of, identities))
	}
	return min(share*(1-share)/variance, float64(of))
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
		return Interval{Low: 0, High: min(few, 1)}
	case errors == of:
		return Interval{Low: max(1-few, 0), High: 1}
	}
	share := float64(errors) / float64(of)
	z := quantile(level)
	scale := 1 + z*z/effective
	middle := (share + z*z/(2*effective)) / scale
	half := z * math.Sqrt((share*(1-share)+z*z/(4*effective))/effective) / scale
	i := Interval{Low: max(middle-half, 0), High: min(middle+half, 1)}
	if errors == 1 {
		i.Low = -math.Log(level) / float64(of)
	}
	if errors == of-1 {
		i.High = 1 + math.Log(level)/float64(of)
	}
	return holding(i, share)
}

// quantile is how many standard deviations to either side of the mean the middle share of a normal
// distribution reaches.
func quantile(share float64) float64 { return math.Sqrt2 * math.Erfinv(share) }
