package verification

import (
	"iter"
	"slices"
	"strconv"
	"strings"
)

// ROC is the receiver operating characteristic of [Scores], exactly.
type ROC struct {
	same, different []float64 // distances, ascending
}

// ROCPoint counts what one threshold accepts.
type ROCPoint struct {
	// Distance is the largest accepted one; 0 in the first point, which accepts none.
	Distance                  float64
	FalseAccepts, TrueAccepts int
}

// Points are one point for every distance at which a decision changes. They begin with
// the one that accepts nothing and end with the one that accepts everything. Trials of
// equal distance are accepted together.
func (r ROC) Points() iter.Seq[ROCPoint] {
	return func(yield func(ROCPoint) bool) {
		var p ROCPoint
		for yield(p) && !r.acceptsAll(p) {
			p.Distance = r.closest(p)
			p.FalseAccepts += equal(r.different[p.FalseAccepts:], p.Distance)
			p.TrueAccepts += equal(r.same[p.TrueAccepts:], p.Distance)
		}
	}
}

func (r ROC) acceptsAll(p ROCPoint) bool {
	return p.FalseAccepts == len(r.different) && p.TrueAccepts == len(r.same)
}

// closest is the least distance that a point does not accept.
func (r ROC) closest(p ROCPoint) float64 {
	different, same := r.different[p.FalseAccepts:], r.same[p.TrueAccepts:]
	if len(same) == 0 || len(different) > 0 && different[0] < same[0] {
		return different[0]
	}
	return same[0]
}

// equal is how many of the first distances are d.
func equal(distances []float64, d float64) int {
	n := 0
	for n < len(distances) && distances[n] == d {
		n++
	}
	return n
}

// FAR is the false accept rate of a point.
func (r ROC) FAR(p ROCPoint) float64 { return float64(p.FalseAccepts) / float64(len(r.different)) }

// TAR is the true accept rate of a point.
func (r ROC) TAR(p ROCPoint) float64 { return float64(p.TrueAccepts) / float64(len(r.same)) }

// AUC is the area under the curve: the probability that a random same-person trial is
// closer than a random different-person one, equal distances counted half (the
// Mann-Whitney statistic).
func (r ROC) AUC() float64 {
	var before ROCPoint
	twice := 0.0
	for p := range r.Points() {
		twice += float64(p.FalseAccepts-before.FalseAccepts) * float64(p.TrueAccepts+before.TrueAccepts)
		before = p
	}
	return twice / 2 / float64(len(r.same)) / float64(len(r.different))
}

// EER is the equal error rate: the FAR that equals the share of same-person trials
// that are rejected, interpolated linearly between the two points around it.
func (r ROC) EER() float64 {
	before, after := r.crossing()
	t := -r.excess(before) / (r.excess(after) - r.excess(before))
	return r.FAR(before) + float64(t*(r.FAR(after)-r.FAR(before))) // not fused: see Distance
}

// excess is how much the false accept rate of a point is above its false reject rate.
func (r ROC) excess(p ROCPoint) float64 { return r.FAR(p) - (1 - r.TAR(p)) }

// crossing are the neighbouring points between which the rates of errors cross, or the
// second of which has equal ones.
func (r ROC) crossing() (before, after ROCPoint) {
	for after = range r.Points() { // the last one's excess is 1
		if r.excess(after) >= 0 {
			break
		}
		before = after
	}
	return before, after
}

// EERRange is where FMR and FNMR cross as step functions of the threshold.
type EERRange struct {
	// Low and High bound the rates that both pass there: they differ if both jump at
	// once, over one another, as several trials have one distance.
	Low  float64 `json:"low"`
	High float64 `json:"high"`
	// Middle is halfway between them.
	Middle float64 `json:"middle"`
}

// EERRange is the range of rates at the crossing. [ROC.EER] is in it.
func (r ROC) EERRange() EERRange {
	before, after := r.crossing()
	rejects := func(p ROCPoint) float64 { return share(len(r.same)-p.TrueAccepts, len(r.same)) }
	e := EERRange{Low: max(r.FAR(before), rejects(after)), High: min(r.FAR(after), rejects(before))}
	e.Middle = (e.Low + e.High) / 2
	return e
}

// OperatingPoint is the ROC at one threshold, chosen for a false accept rate. FMR and FNMR
// are the names that biometric standards have for FAR and 1 - TAR where every image gave a
// template.
type OperatingPoint struct {
	// Target is the false accept rate that was asked for.
	Target float64 `json:"target_far"`
	// FAR and TAR are the rates that are reached, FNMR is 1 - TAR.
	FAR  float64 `json:"far"`
	TAR  float64 `json:"tar"`
	FNMR float64 `json:"fnmr"`
	// FalseAccepts is the number of the Different pairs that are accepted at Threshold,
	// FalseRejects that of the Same pairs that are not.
	FalseAccepts int `json:"false_accepts"`
	Different    int `json:"different"`
	FalseRejects int `json:"false_rejects"`
	Same         int `json:"same"`
	// Threshold is the largest distance t for which accepting d < t has these counts.
	Threshold float64 `json:"threshold"`
	// Cosine is Threshold as a cosine: pairs above it are accepted.
	Cosine float64 `json:"threshold_cosine"`
}

// Name is the target in the field's short form, "1e-3".
func (p OperatingPoint) Name() string { return RateName(p.Target) }

// RateName is a rate in the field's short form, "1e-3".
func RateName(rate float64) string {
	return strings.Replace(strconv.FormatFloat(rate, 'e', -1, 64), "e-0", "e-", 1)
}

// AtFAR is the operating point at the largest threshold that keeps the false accept rate
// within a target: [ROC.At] with [Le].
func (r ROC) AtFAR(target float64) (p OperatingPoint, ok bool) { return r.At(target, Le) }

// allowed is the largest number of false accepts whose rate is at most the target. The
// rates themselves are compared: a target times the number of trials may be rounded to
// either side of a whole number.
func (r ROC) allowed(target float64) int {
	n := int(target * float64(len(r.different)))
	for r.FAR(ROCPoint{FalseAccepts: n + 1}) <= target {
		n++
	}
	for r.FAR(ROCPoint{FalseAccepts: n}) > target {
		n--
	}
	return n
}

// below is how many sorted distances are less than limit.
func below(distances []float64, limit float64) int {
	n, _ := slices.BinarySearch(distances, limit)
	return n
}

// CurvePoint is a point of a curve for people: accepting all distances up to Distance
// gives these rates, from 0 to 1.
type CurvePoint struct{ Distance, FAR, TAR float64 }

// resolution is how many steps of true accept rates a [ROC.Curve] tells apart, and how
// many of false accept rates in a factor of e.
const resolution = 4096

// Curve is the ROC as far as people can see it: of many millions of trials some tens of
// thousands of points. A point is left out if it is nearer to the one kept before it than
// 1/4096 in TAR and than the 4096th part of its own FAR. Of up to 4096 trials of each kind
// every point is kept.
func (r ROC) Curve() []CurvePoint {
	var curve []CurvePoint
	var kept ROCPoint
	for p := range r.Points() {
		if len(curve) == 0 || r.acceptsAll(p) || r.apart(kept, p) {
			curve, kept = append(curve, CurvePoint{p.Distance, r.FAR(p), r.TAR(p)}), p
		}
	}
	return curve
}

// apart says whether two points, the closer one first, look different.
func (r ROC) apart(p, next ROCPoint) bool {
	return (next.FalseAccepts-p.FalseAccepts)*resolution >= max(next.FalseAccepts, 1) ||
		(next.TrueAccepts-p.TrueAccepts)*resolution >= len(r.same)
}
