package verification

import (
	"fmt"
	"math"
)

// Interval bounds a figure from both sides. Points and rates carry one where uncertainty was
// computed; this package computes none.
type Interval struct {
	Low  float64 `json:"low"`
	High float64 `json:"high"`
}

// Holds says whether a value is in the interval, whose ends are in it.
func (i Interval) Holds(value float64) bool { return i.Low <= value && value <= i.High }

// Rate is a share of errors with what stands behind it.
type Rate struct {
	// Rate is Errors / Of, 0 to 1.
	Rate   float64 `json:"rate"`
	Errors int     `json:"errors"`
	Of     int     `json:"of"`
	// Interval is nil if it was not computed.
	Interval *Interval `json:"interval,omitempty"`
}

func rateOf(errors, of int) Rate { return Rate{Rate: share(errors, of), Errors: errors, Of: of} }

// Threshold is what to set for a false match rate that is wanted: the largest threshold
// whose FMR on these trials is at most that, whatever the rule by which TAR is read.
type Threshold struct {
	// Target is the false match rate that is wanted.
	Target float64 `json:"target_fmr"`
	// Cosine is the threshold: a pair is a match if its cosine is above it. Distance is the
	// same threshold for squared distances: a match is below it.
	Cosine   float64 `json:"threshold_cosine"`
	Distance float64 `json:"threshold"`
	// CosineInterval is nil if it was not computed.
	CosineInterval *Interval `json:"threshold_cosine_interval,omitempty"`
	// FMR and FNMR are the rates at the threshold.
	FMR  Rate `json:"fmr"`
	FNMR Rate `json:"fnmr"`
}

// Name is the target in the field's short form, "1e-3".
func (t Threshold) Name() string { return RateName(t.Target) }

// threshold is the threshold for a target that can be measured.
func (r ROC) threshold(target float64) Threshold {
	p, _ := r.At(target, Le)
	return Threshold{
		Target: target, Cosine: p.Cosine, Distance: p.Threshold,
		FMR: rateOf(p.FalseAccepts, p.Different), FNMR: rateOf(p.FalseRejects, p.Same),
	}
}

// NotMeasurable is a false accept rate that cannot be told from zero, as it is less than one
// in the different-person pairs.
type NotMeasurable struct {
	Target float64 `json:"target_far"`
	// Needs is the least number of different-person pairs that would do; Different is how
	// many there are.
	Needs     int `json:"needs_different"`
	Different int `json:"different"`
}

// String says it in words.
func (n NotMeasurable) String() string {
	return fmt.Sprintf("TAR@FAR %s is not measurable: needs at least %d different-person pairs, there are %d", RateName(n.Target), n.Needs, n.Different)
}

// needed is the least number of different-person pairs, one of which is not more than a target.
func needed(target float64) int {
	const most = 1 << 53 // whole numbers are exact up to here
	if target <= 1./most {
		return math.MaxInt
	}
	n := int(1 / target)
	for n > 1 && 1/float64(n-1) <= target {
		n--
	}
	for 1/float64(n) > target {
		n++
	}
	return n
}

// RuleOf30 is the number of errors from which on a rate is known to within ±30 % with 90 %
// confidence, if trials are independent (Doddington et al., "The NIST speaker recognition
// evaluation", Speech Communication 31, 2000).
const RuleOf30 = 30

// FewErrors is a rate that fewer than [RuleOf30] errors stand behind.
type FewErrors struct {
	// Rate says which: "accuracy", "FMR", "FNMR", and at which target of FMR.
	Rate   string  `json:"rate"`
	Target float64 `json:"target_fmr,omitempty"`
	Errors int     `json:"errors"`
	Of     int     `json:"of"`
}

// String says it in few words.
func (f FewErrors) String() string {
	if f.Target == 0 {
		return fmt.Sprintf("%s (%d)", f.Rate, f.Errors)
	}
	at := "at target"
	if f.Rate == "FNMR" {
		at = "at FMR"
	}
	return fmt.Sprintf("%s %s %s (%d)", f.Rate, at, RateName(f.Target), f.Errors)
}

// fewErrors are those of the accuracy and of the operating points.
func (r Result) fewErrors() []FewErrors {
	var few []FewErrors
	add := func(rate string, target float64, errors, of int) {
		if errors < RuleOf30 {
			few = append(few, FewErrors{rate, target, errors, of})
		}
	}
	if r.CrossValidation != nil {
		add("accuracy", 0, r.AccuracyErrors, r.Pairs)
	}
	for _, p := range r.OperatingPoints {
		add("FMR", p.Target, p.FalseAccepts, p.Different)
		add("FNMR", p.Target, p.FalseRejects, p.Same)
	}
	return few
}
