package cohort

import (
	"math"

	"facepipe/eval/uncertainty"
)

// Summary are measures of how unequal groups are at the threshold. All are over the groups that
// are not small and have both rates. The least rate of a ratio, where there is no error, is the
// upper end of its interval, and Bounded says so: the ratio is then at least the one told.
type Summary struct {
	// Groups that are compared.
	Groups int `json:"groups"`
	// FMRRatio and FNMRRatio are the largest rate divided by the smallest.
	FMRRatio    *float64 `json:"fmr_max_by_min,omitempty"`
	FMRBounded  bool     `json:"fmr_bounded,omitempty"`
	FNMRRatio   *float64 `json:"fnmr_max_by_min,omitempty"`
	FNMRBounded bool     `json:"fnmr_bounded,omitempty"`
	// FDR is the fairness discrepancy rate 1 - (max|FMRa-FMRb| + max|FNMRa-FNMRb|)/2, 1 for
	// equal groups (de Freitas Pereira and Marcel, "Fairness in biometrics: a figure of merit
	// to assess biometric verification systems", IEEE T-BIOM, 2022, with α = 1/2).
	FDR float64 `json:"fdr"`
	// GARBE is (Gini(FMR) + Gini(FNMR))/2, 0 for equal groups and at most 1, where Gini of g
	// rates x is g/(g-1) · Σa Σb |xa-xb| / (2 g² mean(x)), and 0 where all are 0 (Howard et
	// al., "Evaluating proposed fairness models for face recognition algorithms", 2022, with
	// α = 1/2).
	GARBE float64 `json:"garbe"`
}

// summarise compares groups; nil if there are fewer than two.
func summarise(groups []Group) *Summary {
	var fmr, fnmr, fmrLeast, fnmrLeast []float64
	s := &Summary{}
	for _, g := range groups {
		if g.Small || g.FMR == nil || g.FNMR == nil {
			continue
		}
		s.Groups++
		fmr, fnmr = append(fmr, g.FMR.Value), append(fnmr, g.FNMR.Value)
		fmrLeast, fnmrLeast = append(fmrLeast, atMost(g.FMR)), append(fnmrLeast, atMost(g.FNMR))
		s.FMRBounded, s.FNMRBounded = s.FMRBounded || g.FMR.Errors == 0, s.FNMRBounded || g.FNMR.Errors == 0
	}
	if s.Groups < 2 {
		return nil
	}
	s.FMRRatio, s.FNMRRatio = ratio(fmr, fmrLeast), ratio(fnmr, fnmrLeast)
	s.FDR = 1 - (spread(fmr)+spread(fnmr))/2
	s.GARBE = (gini(fmr) + gini(fnmr)) / 2
	return s
}

// extremes are the least and the greatest.
func extremes(x []float64) (low, high float64) {
	low, high = math.Inf(1), math.Inf(-1)
	for _, v := range x {
		low, high = min(low, v), max(high, v)
	}
	return low, high
}

// atMost is a rate or, where there is no error, the upper end of its interval.
func atMost(r *uncertainty.Rate) float64 {
	if r.Errors == 0 && r.Interval != nil {
		return r.Interval.High
	}
	return r.Value
}

// ratio is that of the greatest rate to the least, by what that is at most; nil without an error.
func ratio(rates, least []float64) *float64 {
	_, high := extremes(rates)
	low, _ := extremes(least)
	if high == 0 || low == 0 {
		return nil
	}
	r := max(1, high/low)
	return &r
}

func spread(x []float64) float64 {
	low, high := extremes(x)
	return high - low
}

// gini is the Gini coefficient of several values, corrected for their number.
func gini(x []float64) float64 {
	var sum, differences float64
	for _, a := range x {
		sum += a
		for _, b := range x {
			differences += math.Abs(a - b)
		}
	}
	if sum == 0 {
		return 0
	}
	n := float64(len(x))
	return n / (n - 1) * differences / (2 * n * sum)
}
