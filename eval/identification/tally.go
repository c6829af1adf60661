package identification

import (
	"cmp"
	"math"
	"math/rand/v2"
	"slices"
	"sync/atomic"
)

// Resolution is the step in which scores are counted.
const Resolution = 0x1p-23

// steps is how many there are from -1 to 1.
const steps = 1 << 24

// step is the place of a score among the steps from -1 on.
func step(score float32) int {
	return max(0, min(steps, int((float64(score)+1)/Resolution)))
}

// edge is the least score of a step.
func edge(step int) float64 { return float64(step)*Resolution - 1 }

// tally counts scores by steps, in pages that are made when they are needed: at most 128 MiB,
// whatever there is to count. Any number of goroutines may add to it.
type tally []atomic.Pointer[page]

const pageSteps = 4096

type page [pageSteps]uint64

func newTally() tally { return make(tally, steps/pageSteps+1) }

func (t tally) add(score float32) {
	at := step(score)
	p := t[at/pageSteps].Load()
	if p == nil {
		t[at/pageSteps].CompareAndSwap(nil, new(page))
		p = t[at/pageSteps].Load()
	}
	atomic.AddUint64(&p[at%pageSteps], 1)
}

// of is the count of a step.
func (t tally) of(step int) uint64 {
	if p := t[step/pageSteps].Load(); p != nil {
		return p[step%pageSteps]
	}
	return 0
}

// sum is how many scores were added.
func (t tally) sum() (n uint64) {
	for i := range t {
		if p := t[i].Load(); p != nil {
			for _, k := range p {
				n += k
			}
		}
	}
	return n
}

// counts are the scores of comparisons of both kinds.
type counts struct {
	mated, other tally
	// floor is the score below which non-mated comparisons are not in other.
	floor float32
	// matedOf and otherOf are how many comparisons there are.
	matedOf, otherOf int64
}

// measurable are the targets that so many non-mated comparisons can tell from zero, with notes on
// the others.
func (c *counts) measurable(targets []float64) (some []float64, notes []string) {
	for _, target := range targets {
		if allowed(target, c.otherOf) == 0 {
			notes = append(notes, notMeasurable("TAR at FAR", target, c.otherOf, "non-mated comparisons"))
			continue
		}
		some = append(some, target)
	}
	return some, notes
}

// suffices says whether all that a target needs is counted.
func (c *counts) suffices(target float64) bool {
	n := c.other.sum()
	return n == uint64(c.otherOf) || n > uint64(allowed(target, c.otherOf))
}

// at are the operating points of targets, each the least edge of a step that keeps the false accepts
// within the target.
func (c *counts) at(targets []float64) []OperatingPoint {
	order := make([]int, len(targets))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(a, b int) int { return cmp.Compare(targets[a], targets[b]) })
	points := make([]OperatingPoint, len(targets))
	accepted, falses := uint64(0), uint64(0)
	place := steps + 1 // all from here on is accepted
	for _, i := range order {
		limit := uint64(allowed(targets[i], c.otherOf))
		for place > 0 && falses+c.other.of(place-1) <= limit {
			place--
			falses, accepted = falses+c.other.of(place), accepted+c.mated.of(place)
		}
		points[i] = OperatingPoint{
			Target: targets[i], FAR: float64(falses) / float64(c.otherOf), FalseAccepts: int64(falses), NonMated: c.otherOf,
			TAR: successes(int64(accepted), c.matedOf), Threshold: 2 - 2*edge(place), Cosine: edge(place),
		}
	}
	return points
}

// curvePoints are how many a curve has.
const curvePoints = 200

// curve has points from the least rate that can be measured to the largest target, at equal ratios.
func (c *counts) curve(largest float64) []CurvePoint {
	least := 1 / float64(c.otherOf)
	if !(largest > least) {
		return nil
	}
	targets := make([]float64, curvePoints)
	for i := range targets {
		targets[i] = least * math.Pow(largest/least, float64(i)/(curvePoints-1))
	}
	var curve []CurvePoint
	for _, p := range c.at(targets) {
		if n := len(curve); n == 0 || curve[n-1].Cosine != p.Cosine {
			curve = append(curve, CurvePoint{p.FAR, p.TAR.Rate, p.Cosine})
		}
	}
	return curve
}

// sampleSeed makes samples the same in every run. They decide about time, never about figures.
const sampleSeed = 1

// floorOf is a score that more comparisons than a target needs are certain to reach, as far as a
// sample tells. draw gives the score of some comparison, if it finds one.
func floorOf(target float64, of int64, draw func(*rand.Rand) (score float32, ok bool, err error)) (float32, error) {
	const sample, least, spare = 1 << 15, 64, 1.3
	none := float32(math.Inf(-1))
	if of < 100*sample {
		return none, nil
	}
	rng := rand.New(rand.NewPCG(sampleSeed, uint64(of)))
	scores := make([]float32, sample)
	for i := range scores {
		score, ok, err := draw(rng)
		if !ok || err != nil {
			return none, err
		}
		scores[i] = score
	}
	slices.Sort(scores)
	k := max(least, int(spare*target*sample))
	if k >= sample {
		return none, nil
	}
	return scores[sample-k], nil
}
