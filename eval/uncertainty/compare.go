package uncertainty

import (
	"errors"
	"fmt"
	"math"
	"slices"

	"facepipe/eval/verification"
)

// ErrOtherTrials marks scores that are not of the same trials in the same order.
var ErrOtherTrials = errors.New("not the same trials")

// Comparison says how model B differs from model A on the same trials.
type Comparison struct {
	// A and B name the models; [Compare] leaves them to its caller.
	A string `json:"a"`
	B string `json:"b"`
	// Level, Identities, Replicates, Unused and Seed are as in [Summary].
	Level      float64 `json:"level"`
	Identities int     `json:"identities"`
	Replicates int     `json:"replicates"`
	Unused     int     `json:"unused"`
	Seed       uint64  `json:"seed"`
	// Accuracy is by AccuracyRule; its decisions are those at each model's best threshold for
	// all trials.
	Accuracy     Difference `json:"accuracy"`
	AccuracyRule string     `json:"accuracy_rule"`
	AUC          Difference `json:"auc"`
	EER          Difference `json:"eer"`
	// FNMR are those at each model's own threshold for a target FMR, as far as it can be measured.
	FNMR []Difference `json:"fnmr"`
	// Notes say what is missing.
	Notes []string `json:"notes,omitempty"`
}

// Difference is that of a figure.
type Difference struct {
	// Target is the FMR of an FNMR, 0 for other figures.
	Target float64 `json:"target_fmr,omitempty"`
	// A and B are the models' values, Delta is B - A.
	A     float64 `json:"a"`
	B     float64 `json:"b"`
	Delta float64 `json:"delta"`
	// Interval is of Delta, P is two-sided, both by the paired bootstrap over identities; nil
	// where there are too few of them. Adjusted is P after [Adjust].
	Interval *Interval `json:"interval,omitempty"`
	P        *float64  `json:"p,omitempty"`
	Adjusted *float64  `json:"p_adjusted,omitempty"`
	// Decisions counts trials; nil for figures that decide none.
	Decisions *Decisions `json:"decisions,omitempty"`
	// LessIsBetter is so of error rates.
	LessIsBetter bool `json:"less_is_better,omitempty"`
}

// Decisions counts the trials that one model decides rightly and the other wrongly, each at its own
// threshold.
type Decisions struct {
	ThresholdA float64 `json:"threshold_a"`
	ThresholdB float64 `json:"threshold_b"`
	OnlyA      int     `json:"only_a_right"`
	OnlyB      int     `json:"only_b_right"`
	// McNemar is the two-sided p of such a split if both were as good. It takes trials for
	// independent.
	McNemar float64 `json:"mcnemar_p"`
}

// Compare says how b differs from a. Both must have the same trials in the same order:
// [ErrOtherTrials]. [ErrTooFew] where there are none of a kind. Thresholds of the options are not
// used.
func Compare(a, b *verification.Scores, o Options) (Comparison, error) {
	o, err := o.settle()
	if err != nil {
		return Comparison{}, err
	}
	if err := errors.Join(checkKinds(a), checkPaired(a, b)); err != nil {
		return Comparison{}, err
	}
	p := meet(a)
	targets, notes := measurable(a, o.Targets)
	models := []model{newModel(a, p, targets, nil), newModel(b, p, targets, nil)}
	r := resample(models, p, o)
	values := [2][]float64{models[0].whole(), models[1].whole()}
	difference := func(k int) Difference { return r.difference(k, values[0][k], values[1][k], o.Level) }
	c := Comparison{
		Level: o.Level, Identities: p.count, Replicates: r.asked, Unused: r.unused, Seed: o.Seed, Notes: append(notes, r.notes(p)...),
		Accuracy: difference(accuracy), AccuracyRule: rule(a), AUC: difference(auc), EER: difference(eer), FNMR: []Difference{},
	}
	c.EER.LessIsBetter = true
	c.Accuracy.Decisions = decide(a, b, models[0].best, models[1].best)
	for k, target := range targets {
		d := difference(fnmrAt(k))
		d.Target, d.LessIsBetter = target, true
		d.Decisions = decide(a, b, values[0][thresholdAt(k)], values[1][thresholdAt(k)])
		c.FNMR = append(c.FNMR, d)
	}
	return c, nil
}

// checkPaired says where trials differ.
func checkPaired(a, b *verification.Scores) error {
	if a.Same() != b.Same() || a.Different() != b.Different() || a.Folds() != b.Folds() {
		return fmt.Errorf("uncertainty: %w: one model has %d of the same person and %d of different ones in %d folds, the other %d and %d in %d",
			ErrOtherTrials, a.Same(), a.Different(), a.Folds(), b.Same(), b.Different(), b.Folds())
	}
	for _, kind := range []bool{false, true} {
		x, y := a.Column(kind), b.Column(kind)
		if !slices.Equal(x.First, y.First) || !slices.Equal(x.Second, y.Second) || !slices.Equal(x.Fold, y.Fold) {
			return fmt.Errorf("uncertainty: %w: the models' trials are of other identities or folds, or in another order", ErrOtherTrials)
		}
	}
	return nil
}

// difference is that of one figure of models 0 and 1.
func (r replicates) difference(k int, a, b, level float64) Difference {
	d := Difference{A: a, B: b, Delta: b - a}
	if !r.enough() {
		return d
	}
	deltas := make([]float64, len(r.values[0][k]))
	for i := range deltas {
		deltas[i] = r.values[1][k][i] - r.values[0][k][i]
	}
	d.Interval, d.P = spreadOf(deltas, d.Delta, level)
	return d
}

// spreadOf is the interval of a difference and its two-sided p: twice the share of replicates on
// the rarer side of 0, the difference itself counted as one of them.
func spreadOf(deltas []float64, delta, level float64) (*Interval, *float64) {
	notAbove, notBelow := 1, 1
	for _, d := range deltas {
		if d <= 0 {
			notAbove++
		}
		if d >= 0 {
			notBelow++
		}
	}
	p := min(1, 2*float64(min(notAbove, notBelow))/float64(len(deltas)+1))
	i := holding(percentiles(deltas, level), delta)
	return &i, &p
}

// Better is how much better B is: Delta, or its opposite where less is better.
func (d Difference) Better() (value float64, interval *Interval) {
	if !d.LessIsBetter {
		return d.Delta, d.Interval
	}
	if d.Interval != nil {
		interval = &Interval{Low: -d.Interval.High, High: -d.Interval.Low}
	}
	return 0 - d.Delta, interval
}

// Distinguishable says whether the interval leaves out 0.
func (d Difference) Distinguishable() bool { return d.Interval != nil && !d.Interval.Holds(0) }

// String says it in points, hundredths of the figure: "0.18 points better (0.02 to 0.34)".
func (d Difference) String() string {
	better, interval := d.Better()
	word := "better"
	if better < 0 {
		word = "worse"
		better = -better
		if interval != nil {
			interval = &Interval{Low: -interval.High, High: -interval.Low}
		}
	}
	switch {
	case interval == nil:
		return fmt.Sprintf("%.2f points %s (interval not measurable)", 100*better, word)
	case interval.Holds(0):
		return fmt.Sprintf("not distinguishable: %.2f points %s (%.2f to %.2f)", 100*better, word, 100*interval.Low, 100*interval.High)
	}
	return fmt.Sprintf("%.2f points %s (%.2f to %.2f)", 100*better, word, 100*interval.Low, 100*interval.High)
}

// String says how B's accuracy differs from A's.
func (c Comparison) String() string { return c.Accuracy.String() }

// bestThreshold is the least threshold that decides most trials rightly, and how many.
func bestThreshold(s *verification.Scores) (best float64, right int) {
	roc, most := s.ROC(), math.MinInt
	var before verification.ROCPoint
	for p := range roc.Points() {
		if more := before.TrueAccepts - before.FalseAccepts; more > most { // right ones by accepting
			best, most = p.Distance, more
		}
		before = p
	}
	if more := before.TrueAccepts - before.FalseAccepts; more > most {
		best, most = above(before.Distance), more
	}
	return best, s.Different() + most
}

// decide counts the decisions of two models at their thresholds.
func decide(a, b *verification.Scores, thresholdA, thresholdB float64) *Decisions {
	d := Decisions{ThresholdA: thresholdA, ThresholdB: thresholdB}
	for _, kind := range []bool{false, true} {
		x, y := a.Column(kind).Distances, b.Column(kind).Distances
		for i := range x {
			rightA, rightB := (x[i] < thresholdA) == kind, (y[i] < thresholdB) == kind
			if rightA && !rightB {
				d.OnlyA++
			} else if rightB && !rightA {
				d.OnlyB++
			}
		}
	}
	d.McNemar = McNemar(d.OnlyA, d.OnlyB)
	return &d
}

// McNemar is the exact two-sided p of b and c trials that only one of two models decides rightly, if
// either were as likely (McNemar, "Note on the sampling error of the difference between correlated
// proportions or percentages", Psychometrika, 1947): 2 P(Bin(b+c, ½) ≤ min(b, c)), at most 1.
func McNemar(b, c int) float64 {
	logFactorial := func(n int) float64 {
		l, _ := math.Lgamma(float64(n) + 1)
		return l
	}
	n := b + c
	sum := 0.0
	for k := min(b, c); k >= 0; k-- {
		term := math.Exp(logFactorial(n) - logFactorial(k) - logFactorial(n-k) - float64(n)*math.Ln2)
		sum += term
		if term <= sum*1e-18 { // terms only become less
			break
		}
	}
	return min(1, 2*sum)
}

// Holm adjusts the p values of several comparisons so that one adjusted value of at most α says as
// much as one p of at most α alone (Holm, "A simple sequentially rejective multiple test procedure",
// Scandinavian Journal of Statistics, 1979).
func Holm(p []float64) []float64 {
	adjusted := make([]float64, len(p))
	largest := 0.0
	order := descending(p)
	for i := len(order) - 1; i >= 0; i-- {
		largest = max(largest, min(1, float64(i+1)*p[order[i]]))
		adjusted[order[i]] = largest
	}
	return adjusted
}

// Adjust fills in the adjusted p of several comparisons, by [Holm] over all of them for each figure.
func Adjust(comparisons []Comparison) {
	families := map[string][]*Difference{}
	for i := range comparisons {
		c := &comparisons[i]
		for name, d := range map[string]*Difference{"accuracy": &c.Accuracy, "auc": &c.AUC, "eer": &c.EER} {
			families[name] = append(families[name], d)
		}
		for j := range c.FNMR {
			name := fmt.Sprint(c.FNMR[j].Target)
			families[name] = append(families[name], &c.FNMR[j])
		}
	}
	for _, family := range families {
		family = slices.DeleteFunc(family, func(d *Difference) bool { return d.P == nil })
		p := make([]float64, len(family))
		for i, d := range family {
			p[i] = *d.P
		}
		for i, adjusted := range Holm(p) {
			family[i].Adjusted = &adjusted
		}
	}
}
