package verification

import (
	"cmp"
	"slices"
	"strconv"
	"strings"
)

// ROC is the receiver operating characteristic of a list of trials, exactly: one point
// for every distance at which a decision changes.
type ROC struct {
	// Same and Different count the trials.
	Same, Different int
	// Points begin with the one that accepts nothing and end with the one that
	// accepts everything. Trials of equal distance are accepted together.
	Points []ROCPoint
}

// ROCPoint counts what one threshold accepts.
type ROCPoint struct {
	// Distance is the largest accepted one; 0 in the first point, which accepts none.
	Distance                  float64
	FalseAccepts, TrueAccepts int
}

// NewROC computes the ROC of trials of both kinds.
func NewROC(trials []Trial) ROC {
	sorted := slices.Clone(trials)
	slices.SortFunc(sorted, func(a, b Trial) int { return cmp.Compare(a.Distance, b.Distance) })
	r := ROC{Points: []ROCPoint{{}}}
	for i, t := range sorted {
		if t.Same {
			r.Same++
		} else {
			r.Different++
		}
		if i+1 == len(sorted) || sorted[i+1].Distance != t.Distance {
			r.Points = append(r.Points, ROCPoint{t.Distance, r.Different, r.Same})
		}
	}
	return r
}

// FAR is the false accept rate of a point.
func (r ROC) FAR(p ROCPoint) float64 { return float64(p.FalseAccepts) / float64(r.Different) }

// TAR is the true accept rate of a point.
func (r ROC) TAR(p ROCPoint) float64 { return float64(p.TrueAccepts) / float64(r.Same) }

// AUC is the area under the curve: the probability that a random same-person trial is
// closer than a random different-person one, equal distances counted half (the
// Mann-Whitney statistic).
func (r ROC) AUC() float64 {
	twice := 0.0
	for i, p := range r.Points[1:] {
		before := r.Points[i]
		twice += float64(p.FalseAccepts-before.FalseAccepts) * float64(p.TrueAccepts+before.TrueAccepts)
	}
	return twice / 2 / float64(r.Same) / float64(r.Different)
}

// EER is the equal error rate: the FAR that equals the share of same-person trials
// that are rejected, interpolated linearly between the two points around it.
func (r ROC) EER() float64 {
	excess := func(p ROCPoint) float64 { return r.FAR(p) - (1 - r.TAR(p)) }
	at := 1
	for excess(r.Points[at]) < 0 {
		at++
	}
	before, after := r.Points[at-1], r.Points[at]
	t := -excess(before) / (excess(after) - excess(before))
	return r.FAR(before) + float64(t*(r.FAR(after)-r.FAR(before))) // not fused: see Norm
}

// OperatingPoint is the ROC at the largest threshold that keeps the false accept rate
// within a target.
type OperatingPoint struct {
	// Target is the largest false accept rate that is tolerated.
	Target float64 `json:"target_far"`
	// FAR and TAR are the rates that are reached.
	FAR float64 `json:"far"`
	TAR float64 `json:"tar"`
	// Threshold is the largest distance t such that accepting d < t keeps FAR within
	// Target.
	Threshold float64 `json:"threshold"`
	// Cosine is Threshold as a cosine: pairs above it are accepted.
	Cosine float64 `json:"threshold_cosine"`
}

// Name is the target in the field's short form, "1e-3".
func (p OperatingPoint) Name() string {
	return strings.Replace(strconv.FormatFloat(p.Target, 'e', -1, 64), "e-0", "e-", 1)
}

// AtFAR is the operating point for a target of 1/oneIn. ok is false with fewer than
// oneIn different-person trials: such a target cannot be told from zero.
func (r ROC) AtFAR(oneIn int) (p OperatingPoint, ok bool) {
	if oneIn < 2 || r.Different < oneIn {
		return OperatingPoint{}, false
	}
	// The last point accepts every trial, so its FAR of 1 exceeds any target.
	next := slices.IndexFunc(r.Points, func(p ROCPoint) bool { return p.FalseAccepts > r.Different/oneIn })
	at, limit := r.Points[next-1], r.Points[next].Distance
	return OperatingPoint{
		Target: 1 / float64(oneIn), FAR: r.FAR(at), TAR: r.TAR(at), Threshold: limit, Cosine: Cosine(limit),
	}, true
}
