package identification

import (
	"context"
	"fmt"
	"math"

	"facepipe/eval/verification"
	"facepipe/internal/nearest"
)

// Comparisons are pairs of vectors, by their numbers.
type Comparisons struct {
	First, Second []int32
	Same          []bool
	// Identities number the persons of vectors.
	Identities []int32
	// NoMatch counts a comparison with a vector that is not there as one that does not match at
	// any threshold; without it such comparisons are left out.
	NoMatch bool
	// Workers is the number of goroutines; 0 takes one a processor.
	Workers int
}

// Verify compares pairs of vectors. The distances are those of [verification.Distance] to the bit.
// left is the number of comparisons that were left out, or that count as no match.
func Verify(ctx context.Context, v nearest.Vectors, c Comparisons) (scores *verification.Scores, left int, err error) {
	units, err := newUnits(ctx, v, c.Workers)
	if err != nil {
		return nil, 0, err
	}
	mated := 0
	for _, same := range c.Same {
		if same {
			mated++
		}
	}
	scores = verification.NewScores(mated, len(c.Same)-mated, 0)
	const chunk = 1 << 20
	distances := make([]float64, min(chunk, len(c.Same)))
	for at := 0; at < len(c.Same); at += chunk {
		n := min(chunk, len(c.Same)-at)
		err := inParts(ctx, n, c.Workers, func(from, to int) error {
			units.distances(c.First[at+from:at+to], c.Second[at+from:at+to], distances[from:to])
			return nil
		})
		if err != nil {
			return nil, 0, err
		}
		for i, d := range distances[:n] {
			if math.IsNaN(d) {
				left++
				if d = verification.MaxDistance; !c.NoMatch {
					continue
				}
			}
			a, b := c.First[at+i], c.Second[at+i]
			scores.Add(verification.Trial{Distance: d, Same: c.Same[at+i], First: c.Identities[a], Second: c.Identities[b]})
		}
	}
	return scores, left, nil
}

// units are vectors of length one in double precision.
type units struct {
	dim    int
	values []float64
	usable []bool
}

func newUnits(ctx context.Context, v nearest.Vectors, workers int) (*units, error) {
	norms, err := norms(ctx, v, workers)
	if err != nil {
		return nil, err
	}
	u := &units{dim: v.Dim(), values: make([]float64, v.Len()*v.Dim()), usable: make([]bool, v.Len())}
	return u, inParts(ctx, v.Len(), workers, func(from, to int) error {
		row := make([]float32, u.dim)
		for i := from; i < to; i++ {
			if norms[i] == 0 {
				continue
			}
			if _, err := v.Row(i, row); err != nil {
				return err
			}
			u.usable[i] = true
			unit := u.of(int32(i))
			for k, x := range row {
				unit[k] = float64(x) / norms[i]
			}
		}
		return nil
	})
}

func (u *units) of(i int32) []float64 { return u.values[int(i)*u.dim : (int(i)+1)*u.dim] }

// distances are those of pairs, NaN where a vector is not there. Four are summed up side by side,
// each in the order of its elements.
func (u *units) distances(first, second []int32, dst []float64) {
	n := len(dst)
	for at := 0; at < n; at += 4 {
		var a, b [4][]float64
		for k := range a {
			i := min(at+k, n-1)
			a[k], b[k] = u.of(first[i]), u.of(second[i])
		}
		four := distanceFour(&a, &b)
		for k := range min(4, n-at) {
			dst[at+k] = min(four[k], verification.MaxDistance)
			if !u.usable[first[at+k]] || !u.usable[second[at+k]] {
				dst[at+k] = math.NaN()
			}
		}
	}
}

func distanceFour(a, b *[4][]float64) [4]float64 {
	n := len(a[0])
	a0, a1, a2, a3 := a[0][:n], a[1][:n], a[2][:n], a[3][:n]
	b0, b1, b2, b3 := b[0][:n], b[1][:n], b[2][:n], b[3][:n]
	var s0, s1, s2, s3 float64
	for i := range n {
		d0, d1, d2, d3 := a0[i]-b0[i], a1[i]-b1[i], a2[i]-b2[i], a3[i]-b3[i]
		s0 += float64(d0 * d0)
		s1 += float64(d1 * d1)
		s2 += float64(d2 * d2)
		s3 += float64(d3 * d3)
	}
	return [4]float64{s0, s1, s2, s3}
}

// How a threshold follows from a target.
const (
	// PickLE takes the largest share of false accepts, or of false positives, that is within the
	// target.
	PickLE = "le"
	// PickNearest takes the point of the ROC with the nearest share, and of two as near the one
	// that accepts more. Points within a straight run of equal steps are none, as scikit-learn's
	// roc_curve leaves them out: this is the rule of insightface's IJB scripts.
	PickNearest = "nearest"
)

// OperatingPoints are those of trials at targets, by a rule, with notes on what could not be
// measured.
func OperatingPoints(s *verification.Scores, targets []float64, pick string) (points []OperatingPoint, notes []string, err error) {
	if pick != PickLE && pick != PickNearest {
		return nil, nil, fmt.Errorf("rule %q for the false accept rate: want %s or %s", pick, PickLE, PickNearest)
	}
	mated, nonMated := int64(s.Same()), int64(s.Different())
	if mated == 0 || nonMated == 0 {
		return nil, []string{fmt.Sprintf("TAR at FAR is not measurable: needs comparisons of both kinds, has %d mated and %d non-mated", mated, nonMated)}, nil
	}
	chosen := pickLE(s.ROC(), targets, nonMated)
	if pick == PickNearest {
		chosen = pickNearest(s.ROC(), targets)
	}
	for i, target := range targets {
		if allowed(target, nonMated) == 0 {
			notes = append(notes, notMeasurable("TAR at FAR", target, nonMated, "non-mated comparisons"))
			continue
		}
		p := chosen[i]
		points = append(points, OperatingPoint{
			Target: target, FAR: float64(p.FalseAccepts) / float64(nonMated), FalseAccepts: int64(p.FalseAccepts), NonMated: nonMated,
			TAR: successes(int64(p.TrueAccepts), mated), Threshold: p.limit, Cosine: verification.Cosine(p.limit),
		})
	}
	return points, notes, nil
}

// pointBelow is a point of the ROC and the least distance that it does not accept.
type pointBelow struct {
	verification.ROCPoint
	limit float64
}

// pickLE is for each target the last point within it.
func pickLE(r verification.ROC, targets []float64, nonMated int64) []pointBelow {
	chosen := make([]pointBelow, len(targets))
	open := make([]bool, len(targets)) // whose limit is the next distance
	limits := make([]int, len(targets))
	for i, target := range targets {
		limits[i] = int(allowed(target, nonMated))
	}
	for p := range r.Points() {
		for i, limit := range limits {
			if open[i] {
				chosen[i].limit, open[i] = p.Distance, false
			}
			if p.FalseAccepts <= limit {
				chosen[i].ROCPoint, open[i] = p, true
			}
		}
	}
	return closed(chosen, open)
}

// closed gives a limit to points that accept everything.
func closed(chosen []pointBelow, open []bool) []pointBelow {
	for i := range chosen {
		if open[i] {
			chosen[i].limit = math.Nextafter(chosen[i].Distance, math.Inf(1))
		}
	}
	return chosen
}

// pickNearest is for each target the point nearest to it.
func pickNearest(r verification.ROC, targets []float64) []pointBelow {
	chosen := make([]pointBelow, len(targets))
	open := make([]bool, len(targets))
	off := make([]float64, len(targets))
	for i := range off {
		off[i] = math.Inf(1)
	}
	corners(r, func(p pointBelow, last bool) {
		for i, target := range targets {
			if d := math.Abs(r.FAR(p.ROCPoint) - target); d <= off[i] {
				chosen[i], off[i], open[i] = p, d, last
			}
		}
	})
	return closed(chosen, open)
}

// corners visits the points of the ROC but for those inside a straight run of equal steps. The
// first point, which accepts nothing, begins no run.
func corners(r verification.ROC, visit func(p pointBelow, last bool)) {
	var before, at verification.ROCPoint
	seen := 0
	for next := range r.Points() {
		if seen > 0 {
			straight := seen > 2 && next.FalseAccepts-at.FalseAccepts == at.FalseAccepts-before.FalseAccepts &&
				next.TrueAccepts-at.TrueAccepts == at.TrueAccepts-before.TrueAccepts
			if !straight {
				visit(pointBelow{at, next.Distance}, false)
			}
		}
		before, at = at, next
		seen++
	}
	visit(pointBelow{at, 0}, true)
}
