package cohort

import (
	"math"

	"facepipe/eval/uncertainty"
)

// Summary are measures of how unequal groups are at the threshold, over the groups that are not
// small. The least rate of a ratio, where there is no error, is the upper end of its interval, and
// Bounded says so: the ratio is then at least the one told.
type Summary struct {
	// Groups that are compared.
	Groups int `json:"groups"`
	// FMRRatio and FNMRRatio are the largest rate divided by the smallest; nil where no group
	// has an error.
	FMRRatio    *float64 `json:"fmr_max_by_min,omitempty"`
	FMRBounded  bool     `json:"fmr_bounded,omitempty"`
	FNMRRatio   *float64 `json:"fnmr_max_by_min,omitempty"`
	FNMRBounded bool     `json:"fnmr_bounded,omitempty"`
	// FDR is the fairness discrepancy rate 1 - (max|FMRa-FMRb| + max|FNMRa-FNMRb|)/2, 1 for
	// equal groups (de Freitas Pereira and Marcel, "Fairness in biometrics: a figure of merit
	// to assess biometric verification systems", IEEE T-BIOM, 2022, with α = 1/2). It is nil
	// where a group lacks a rate.
	FDR *float64 `json:"fdr,omitempty"`
	// GARBE is (Gini(FMR) + Gini(FNMR))/2, 0 for equal groups and at most 1, where Gini of g
	// rates x is g/(g-1) · Σa Σb |xa-xb| / (2 g² mean(x)), and 0 where all are 0 (Howard et
	// al., "Evaluating proposed fairness models for face recognition algorithms", 2022, with
	// α = 1/2). It is nil where a group lacks a rate.
	GARBE *float64 `json:"garbe,omitempty"`
}

// summarise compares groups; nil if there are fewer than two.
func summarise(groups []Group) *Summary {
	s := &Summary{}
	var fmr, fnmr []*uncertainty.Rate
	for _, g := range groups {
		if g.Small {
			continue
		}
		s.Groups++
		if g.FMR != nil {
			fmr = append(fmr, g.FMR)
		}
		if g.FNMR != nil {
			fnmr = append(fnmr, g.FNMR)
		}
	}
	if s.Groups < 2 {
		return nil
	}
	s.FMRRatio, s.FMRBounded = ratio(fmr)
	s.FNMRRatio, s.FNMRBounded = ratio(fnmr)
	if len(fmr) == s.Groups && len(fnmr) == s.Groups {
		x, y := values(fmr), values(fnmr)
		fdr, garbe := 1-(spread(x)+spread(y))/2, (gini(x)+gini(y))/2
		s.FDR, s.GARBE = &fdr, &garbe
	}
	return s
}

func values(rates []*uncertainty.Rate) (x []float64) {
	for _, r := range rates {
		x = append(x, r.Value)
	}
	return x
}

// ratio is that of the greatest rate to the least, by what that is at most where it is 0; nil of
// fewer than two, and without an error.
func ratio(rates []*uncertainty.Rate) (r *float64, bounded bool) {
	if len(rates) < 2 {
		return nil, false
	}
	_, high := extremes(values(rates))
	low := math.Inf(1)
	for _, rate := range rates {
		v := rate.Value
		if rate.Errors == 0 && rate.Interval != nil {
			v = rate.Interval.High
		}
		low = min(low, v)
		bounded = bounded || rate.Errors == 0
	}
	if high == 0 || low == 0 {
		return nil, false
	}
	least := max(1, high/low)
	return &least, bounded
}

// extremes are the least and the greatest.
func extremes(x []float64) (low, high float64) {
	low, high = math.Inf(1), math.Inf(-1)
	for _, v := range x {
		low, high = min(low, v), max(high, v)
	}
	return low, high
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
