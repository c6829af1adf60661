package verification

import (
	"fmt"
	"math"
	"strings"
)

// Pick says how the true accept rate is read at a false accept rate that the ROC of a finite
// list passes only near.
type Pick string

// The picks.
const (
	// Le takes the largest threshold whose FAR is at most the target.
	Le Pick = "le"
	// Nearest takes the point of the ROC whose FAR is nearest to the target, of two the larger.
	Nearest Pick = "nearest"
	// Interp reads TAR at exactly the target from the straight line between the last point
	// of the ROC with no more FAR and the first with more. No threshold has these rates: the
	// threshold and the counts are those of Le.
	Interp Pick = "interp"
)

// Picks are all picks, the usual one first.
func Picks() []Pick { return []Pick{Le, Nearest, Interp} }

// PickNamed is the pick of that name. The error names those that there are.
func PickNamed(name string) (Pick, error) {
	var names []string
	for _, p := range Picks() {
		if string(p) == name {
			return p, nil
		}
		names = append(names, string(p))
	}
	return "", fmt.Errorf("no way to read TAR at a FAR is called %q; there are %s", name, strings.Join(names, ", "))
}

// About says in words where TAR is read.
func (p Pick) About() string {
	switch p {
	case Nearest:
		return "at the point of the ROC whose FAR is nearest to the target, of two the larger"
	case Interp:
		return "at the target, on the straight line between the two points of the ROC around it; thresholds and counts are those at the point below"
	}
	return "at the largest threshold whose FAR is at most the target"
}

// At is the operating point for a target above 0 and below 1. ok is false if a single
// false accept is more than the target: such a target cannot be told from zero, however it
// is read.
func (r ROC) At(target float64, pick Pick) (p OperatingPoint, ok bool) {
	allowed := r.allowed(target)
	if allowed == 0 {
		return OperatingPoint{}, false
	}
	limit := r.different[allowed] // at most as many distances are less
	p = r.operatingPoint(target, limit)
	more := p.FalseAccepts + equal(r.different[p.FalseAccepts:], limit)
	switch pick {
	case Nearest:
		if next := r.operatingPoint(target, r.limit(more)); math.Abs(next.FAR-target) <= math.Abs(p.FAR-target) {
			return next, true
		}
	case Interp:
		accepted := p.Same - p.FalseRejects
		next := ROCPoint{FalseAccepts: more, TrueAccepts: accepted + equal(r.same[accepted:], limit)}
		part := (target - p.FAR) / (r.FAR(next) - p.FAR)
		p.FAR, p.TAR = target, p.TAR+float64(part*(r.TAR(next)-p.TAR)) // not fused: see Distance
		p.FNMR = 1 - p.TAR
	}
	return p, true
}

// limit is the largest threshold that accepts so many different-person trials.
func (r ROC) limit(falseAccepts int) float64 {
	if falseAccepts < len(r.different) {
		return r.different[falseAccepts]
	}
	return above(max(r.different[len(r.different)-1], r.same[len(r.same)-1]))
}

// above is the least threshold that accepts a distance.
func above(d float64) float64 { return math.Nextafter(d, math.Inf(1)) }

// operatingPoint is what accepting the distances below limit gives.
func (r ROC) operatingPoint(target, limit float64) OperatingPoint {
	at := ROCPoint{FalseAccepts: below(r.different, limit), TrueAccepts: below(r.same, limit)}
	p := OperatingPoint{
		Target: target, FAR: r.FAR(at), TAR: r.TAR(at), Threshold: limit, Cosine: Cosine(limit),
		FalseAccepts: at.FalseAccepts, Different: len(r.different), FalseRejects: len(r.same) - at.TrueAccepts, Same: len(r.same),
	}
	p.FNMR = share(p.FalseRejects, p.Same)
	return p
}
