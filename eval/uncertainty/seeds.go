package uncertainty

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"

	"facepipe/eval/verification"
	"facepipe/internal/vec"
)

// exactSeeds is the largest number of seeds for which every pattern of signs is tried; of more
// seeds so many patterns are.
const exactSeeds, drawnPatterns = 20, 1 << 16

// significance is what a p has to be below for people to call a difference significant.
const significance = 0.05

// Spread is a figure over several seeds.
type Spread struct {
	// Values are by seed.
	Values []float64 `json:"values"`
	Mean   float64   `json:"mean"`
	// Std is the standard deviation of the sample (ddof 1); nil of a single value.
	Std *float64 `json:"std,omitempty"`
}

// NewSpread sums up values, of which there must be one.
func NewSpread(values []float64) Spread {
	mean, variance := vec.Moments(values)
	s := Spread{Values: values, Mean: mean}
	if n := float64(len(values)); n > 1 {
		std := math.Sqrt(variance * n / (n - 1))
		s.Std = &std
	}
	return s
}

// SeedDifference says how a figure of training recipe B differs from that of A, each run with the
// same seeds.
type SeedDifference struct {
	// Target is the FMR of an FNMR, 0 for other figures.
	Target float64 `json:"target_fmr,omitempty"`
	A      Spread  `json:"a"`
	B      Spread  `json:"b"`
	// Delta are B - A, seed by seed.
	Delta Spread `json:"delta"`
	// P is the two-sided p of the seeds alone, by [SignFlip]; it cannot be less than LeastP.
	P      float64 `json:"p"`
	LeastP float64 `json:"least_p"`
	// Floor says so where LeastP is above 5 %: "3 seeds: cannot be significant at 5 %".
	Floor string `json:"floor,omitempty"`
	// Detectable is the difference that so many seeds find in four of five studies (power 80 %,
	// level 5 %, normal deltas): 2.8·std/√seeds. nil of a single seed.
	Detectable *float64 `json:"detectable,omitempty"`
	// Interval of the mean delta and its two-sided p, by the bootstrap over seeds and identities;
	// nil where it was not made.
	Interval   *Interval `json:"interval,omitempty"`
	BootstrapP *float64  `json:"bootstrap_p,omitempty"`
}

// CompareValues compares a figure of two recipes over the same seeds, in the same order.
func CompareValues(a, b []float64) (SeedDifference, error) {
	if len(a) == 0 || len(a) != len(b) {
		return SeedDifference{}, fmt.Errorf("uncertainty: values of %d and of %d seeds: both recipes need the same seeds", len(a), len(b))
	}
	if vec.NotFinite(a) >= 0 || vec.NotFinite(b) >= 0 {
		return SeedDifference{}, errors.New("uncertainty: the value of a seed is not a finite number")
	}
	return compareValues(a, b), nil
}

func compareValues(a, b []float64) SeedDifference {
	n := len(a)
	deltas := make([]float64, n)
	for i := range a {
		deltas[i] = b[i] - a[i]
	}
	d := SeedDifference{A: NewSpread(a), B: NewSpread(b), Delta: NewSpread(deltas), P: SignFlip(deltas), LeastP: math.Ldexp(2, -n)}
	if d.LeastP > significance {
		d.Floor = fmt.Sprintf("%d seeds: cannot be significant at 5 %%", n)
		if n == 1 {
			d.Floor = "1 seed: cannot be significant at 5 %"
		}
	}
	if std := d.Delta.Std; std != nil {
		detectable := 2.8 * *std / math.Sqrt(float64(n))
		d.Detectable = &detectable
	}
	return d
}

// SignFlip is the two-sided p of paired differences by permutation: the share of all ways to give
// them signs whose mean is at least as far from 0 (Fisher, "The Design of Experiments", 1935).
// Of n it is at least 2/2^n. Of more than 20, 65,536 ways drawn by chance stand for all.
func SignFlip(deltas []float64) float64 {
	observed, size := 0.0, 0.0
	for _, d := range deltas {
		observed += d
		size += math.Abs(d)
	}
	least := math.Abs(observed) - size*1e-12 // sums of one magnitude differ by rounding
	ways, as := drawnPatterns, 0
	if len(deltas) <= exactSeeds {
		ways = 1 << len(deltas)
	}
	source := rand.NewPCG(DefaultSeed, uint64(len(deltas)))
	for way := range ways {
		sum, signs := 0.0, uint64(way)
		for i, d := range deltas {
			if len(deltas) > exactSeeds && i%64 == 0 {
				signs = source.Uint64()
			}
			if signs>>(i%64)&1 == 1 {
				d = -d
			}
			sum += d
		}
		if math.Abs(sum) >= least {
			as++
		}
	}
	if len(deltas) > exactSeeds {
		return float64(as+1) / float64(ways+1)
	}
	return float64(as) / float64(ways)
}

// SeedComparison says how recipe B differs from A over seeds.
type SeedComparison struct {
	// A and B name the recipes; [CompareSeeds] leaves them to its caller.
	A string `json:"a"`
	B string `json:"b"`
	// Level, Identities, Replicates, Unused and Seed are as in [Summary].
	Level        float64          `json:"level"`
	Identities   int              `json:"identities"`
	Replicates   int              `json:"replicates"`
	Unused       int              `json:"unused"`
	Seed         uint64           `json:"seed"`
	Accuracy     SeedDifference   `json:"accuracy"`
	AccuracyRule string           `json:"accuracy_rule"`
	AUC          SeedDifference   `json:"auc"`
	EER          SeedDifference   `json:"eer"`
	FNMR         []SeedDifference `json:"fnmr"`
	Notes        []string         `json:"notes,omitempty"`
}

// CompareSeeds compares two recipes by the scores of their models on the same trials, seed by seed.
// Intervals are those of a hierarchical bootstrap: each replicate draws as many seeds as there are,
// with replacement, and halves the identities. What a seed deviates from the mean is made √(n/(n-1))
// times as large, as a bootstrap of n values has too little spread. Only two models are in use at a
// time. [ErrOtherTrials], [ErrTooFew].
func CompareSeeds(a, b []*verification.Scores, o Options) (SeedComparison, error) {
	if len(a) == 0 || len(a) != len(b) {
		return SeedComparison{}, fmt.Errorf("uncertainty: models of %d and of %d seeds: both recipes need the same seeds", len(a), len(b))
	}
	o, err := o.settle()
	if err != nil {
		return SeedComparison{}, err
	}
	for _, s := range append(append([]*verification.Scores{}, a...), b...) {
		if err := errors.Join(checkKinds(s), checkPaired(a[0], s)); err != nil {
			return SeedComparison{}, err
		}
	}
	p := meet(a[0])
	targets, notes := measurable(a[0], o.Targets)
	var values [2][][]float64 // by recipe and seed: the figures
	var r []replicates        // by seed
	for seed := range a {
		models := []model{newModel(a[seed], p, targets, nil), newModel(b[seed], p, targets, nil)}
		for recipe, m := range models {
			values[recipe] = append(values[recipe], m.whole())
		}
		r = append(r, resample(models, p, o)) // of the same halves for every seed
	}
	difference := func(k int) SeedDifference {
		d := compareValues(of(values[0], k), of(values[1], k))
		if r[0].enough() {
			d.Interval, d.BootstrapP = spreadOf(hierarchical(r, k, o.Seed), d.Delta.Mean, o.Level)
		}
		return d
	}
	c := SeedComparison{
		Level: o.Level, Identities: p.count, Replicates: r[0].asked, Unused: r[0].unused, Seed: o.Seed, Notes: append(notes, r[0].notes(p)...),
		Accuracy: difference(accuracy), AccuracyRule: rule(a[0]), AUC: difference(auc), EER: difference(eer), FNMR: []SeedDifference{},
	}
	for k, target := range targets {
		d := difference(fnmrAt(k))
		d.Target = target
		c.FNMR = append(c.FNMR, d)
	}
	return c, nil
}

// of is figure k by seed.
func of(values [][]float64, k int) []float64 {
	var figure []float64
	for _, v := range values {
		figure = append(figure, v[k])
	}
	return figure
}

// hierarchical are the mean differences of figure k over seeds that are drawn anew for each half of
// the identities.
func hierarchical(bySeed []replicates, k int, seed uint64) []float64 {
	n := len(bySeed)
	widen := 1.0
	if n > 1 {
		widen = math.Sqrt(float64(n) / float64(n-1))
	}
	rng := rand.New(rand.NewPCG(seed, math.MaxUint64)) // no block of the bootstrap has that stream
	means := make([]float64, len(bySeed[0].values[0][k]))
	deltas := make([]float64, n)
	for i := range means {
		for s, r := range bySeed {
			deltas[s] = r.values[1][k][i] - r.values[0][k][i]
		}
		mean, drawn := vec.Mean(deltas), 0.0
		for range n {
			drawn += deltas[rng.IntN(n)] - mean
		}
		means[i] = mean + float64(widen*drawn/float64(n))
	}
	return means
}
