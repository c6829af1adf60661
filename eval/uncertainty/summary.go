package uncertainty

import (
	"errors"
	"fmt"
	"math"
	"slices"

	"facepipe/eval/verification"
	"facepipe/internal/vec"
)

// ErrTooFew marks scores that lack trials of a kind.
var ErrTooFew = errors.New("too few trials")

// Rules of accuracy.
const (
	// CrossValidated is the accuracy of the LFW protocol, with the folds of the trials.
	CrossValidated = "cross-validated"
	// BestThreshold is the accuracy at the threshold that is best for these very trials,
	// where they have no folds. It flatters a little.
	BestThreshold = "best threshold"
)

// Summary is what is known of a model's figures.
type Summary struct {
	// Level is the share of intervals that hold the truth.
	Level float64 `json:"level"`
	// Identities is how many people the trials show.
	Identities int `json:"identities"`
	// Replicates of the bootstrap, and Seed. Unused of them had no trial of a kind.
	Replicates int    `json:"replicates"`
	Unused     int    `json:"unused"`
	Seed       uint64 `json:"seed"`
	// Binning is nil where every distance is a threshold of its own.
	Binning *Binning `json:"binning,omitempty"`
	// Accuracy is by AccuracyRule.
	Accuracy     Figure `json:"accuracy"`
	AccuracyRule string `json:"accuracy_rule"`
	AUC          Figure `json:"auc"`
	EER          Figure `json:"eer"`
	// OperatingPoints are in the order of the targets, as far as they can be measured.
	OperatingPoints []OperatingPoint `json:"operating_points"`
	// Curve are in the order of the options' Curve, as far as they can be measured.
	Curve []CurvePoint `json:"-"`
	// Fixed are the rates at the thresholds that were asked for, in their order.
	Fixed []Fixed `json:"fixed,omitempty"`
	// Notes say what is missing for want of people, and what is in doubt. Targets that cannot be
	// measured, and rates that few errors stand behind, are those of [verification.Result].
	Notes []string `json:"notes,omitempty"`
}

// Binning says how coarsely the bootstrap looks at many trials: in Cells of distances, which
// tell FMR and FNMR apart to the RateError part of them. Each cell is taken for a straight piece
// of the ROC, which moves the AUC by less than AUCError.
type Binning struct {
	Cells     int     `json:"cells"`
	RateError float64 `json:"rate_error"`
	AUCError  float64 `json:"auc_error"`
}

// Figure is a value with its interval, nil where there are too few identities or replicates.
// The interval is that of the bootstrap's percentiles, wide enough to hold the value.
type Figure struct {
	Value    float64   `json:"value"`
	Interval *Interval `json:"interval,omitempty"`
}

// OperatingPoint is the largest threshold that keeps the FMR within a target, and what is known of
// it.
type OperatingPoint struct {
	// Target is the largest false match rate that is tolerated.
	Target float64 `json:"target_fmr"`
	// Threshold is a distance, ThresholdCosine the cosine that it is of. The interval answers
	// how far other people would move the threshold.
	Threshold       Figure `json:"threshold"`
	ThresholdCosine Figure `json:"threshold_cosine"`
	// FNMR with the threshold found anew in every replicate: that of "FNMR at this FMR".
	FNMR Figure `json:"fnmr"`
	// Fixed are the rates at this threshold if it is taken over as it is.
	Fixed Fixed `json:"at_threshold"`
}

// CurvePoint is the FNMR at a target FMR, as that of [OperatingPoint].
type CurvePoint struct {
	Target float64
	FNMR   Figure
}

// Name is the target in the field's short form, "1e-3".
func (p OperatingPoint) Name() string {
	return verification.RateName(p.Target)
}

// Fixed are the rates at a threshold that does not depend on the trials.
type Fixed struct {
	Threshold       float64 `json:"threshold"`
	ThresholdCosine float64 `json:"threshold_cosine"`
	FMR             Rate    `json:"fmr"`
	FNMR            Rate    `json:"fnmr"`
}

// Summarize says how far a model's figures can be trusted. [ErrTooFew] where there are no trials of
// a kind.
func Summarize(s *verification.Scores, o Options) (Summary, error) {
	o, err := o.settle()
	if err != nil {
		return Summary{}, err
	}
	if err := checkKinds(s); err != nil {
		return Summary{}, err
	}
	p := meet(s)
	sum := Summary{
		Level: o.Level, Identities: p.count, Seed: o.Seed, AccuracyRule: rule(s), OperatingPoints: []OperatingPoint{},
	}
	targets, _ := measurable(s, o.Targets)
	curve, _ := measurable(s, o.Curve)
	m := newModel(s, p, slices.Concat(targets, curve), o.Thresholds)
	sum.Binning = m.binning()
	r := resample([]model{m}, p, o)
	sum.Replicates, sum.Unused, sum.Notes = r.asked, r.unused, r.notes(p)
	value := m.whole()
	figure := func(k int) Figure { return r.figure(k, value[k], o.Level) }
	sum.Accuracy, sum.AUC, sum.EER = figure(accuracy), r.area(value[auc], o.Level), figure(eer)
	thresholds := slices.Clone(o.Thresholds)
	for k, target := range targets {
		point := OperatingPoint{Target: target, Threshold: figure(thresholdAt(k)), FNMR: figure(fnmrAt(k))}
		point.ThresholdCosine = cosine(point.Threshold)
		sum.OperatingPoints = append(sum.OperatingPoints, point)
		thresholds = append(thresholds, point.Threshold.Value)
	}
	for k, target := range curve {
		sum.Curve = append(sum.Curve, CurvePoint{target, figure(fnmrAt(len(targets) + k))})
	}
	fixed := p.fixed(s, thresholds, o.Level)
	sum.Fixed = fixed[:len(o.Thresholds):len(o.Thresholds)]
	for k := range targets {
		sum.OperatingPoints[k].Fixed = fixed[len(o.Thresholds)+k]
	}
	if met := p.met[different]; r.asked > 0 && 2*s.Different() < fewComparisons*met {
		sum.Notes = append(sum.Notes, fmt.Sprintf("a person is in %.1f different-person comparisons on average: intervals by the bootstrap (of accuracy, AUC, EER, thresholds and FNMR at an FMR) are cautious here, up to 1.7 times as wide as they need be",
			2*float64(s.Different())/float64(met)))
	}
	return sum, nil
}

// fewComparisons is how many different-person comparisons a person is in on average, below which
// single comparisons make up most of the noise: the bootstrap takes theirs for up to three times
// its variance, as it counts a comparison four times or not at all.
const fewComparisons = 10

func checkKinds(s *verification.Scores) error {
	if s.Same() == 0 || s.Different() == 0 {
		return fmt.Errorf("uncertainty: %w: %d of the same person and %d of different ones, both are needed", ErrTooFew, s.Same(), s.Different())
	}
	return nil
}

func rule(s *verification.Scores) string {
	if s.Folds() > 0 {
		return CrossValidated
	}
	return BestThreshold
}

// measurable are the targets that the ROC reaches, and what to say of the others.
func measurable(s *verification.Scores, all []float64) (targets []float64, notes []string) {
	roc := s.ROC()
	for _, target := range all {
		if _, ok := roc.AtFAR(target); ok {
			targets = append(targets, target)
			continue
		}
		notes = append(notes, fmt.Sprintf("FNMR at FMR %s is not measurable: needs %.0f different-person comparisons, there are %d",
			verification.RateName(target), 1/target, s.Different()))
	}
	return targets, notes
}

// figure is that of the only model with its value.
func (r replicates) figure(k int, value, level float64) Figure {
	f := Figure{Value: value}
	if r.enough() {
		i := holding(percentiles(r.values[0][k], level), value)
		f.Interval = &i
	}
	return f
}

// area is the AUC with an interval that is symmetric on the scale of its logit, log(AUC/(1-AUC)), of
// the width that the replicates' standard deviation gives. Near 1, where a few people make up all of
// 1-AUC, percentiles are too short towards less: weights of nothing and double are as likely, so that
// replicates are spread evenly where test sets are not. An AUC of 0 or 1 has no logit, and gets
// percentiles.
func (r replicates) area(value, level float64) Figure {
	f := r.figure(auc, value, level)
	if f.Interval == nil || value <= 0 || value >= 1 {
		return f
	}
	_, variance := vec.Moments(r.values[0][auc])
	reach := math.Exp(quantile(level) * math.Sqrt(variance) / (value * (1 - value)))
	odds := value / (1 - value)
	i := holding(Interval{Low: odds / (odds + reach), High: odds * reach / (odds*reach + 1)}, value)
	f.Interval = &i
	return f
}

// cosine is a threshold as a cosine: what was the low end is the high one.
func cosine(threshold Figure) Figure {
	f := Figure{Value: verification.Cosine(threshold.Value)}
	if i := threshold.Interval; i != nil {
		f.Interval = &Interval{Low: verification.Cosine(i.High), High: verification.Cosine(i.Low)}
	}
	return f
}

// fixed are the rates at thresholds.
func (p people) fixed(s *verification.Scores, thresholds []float64, level float64) []Fixed {
	all := make([]Fixed, len(thresholds))
	fmr, fnmr := p.rates(s, different, thresholds, level), p.rates(s, same, thresholds, level)
	for i, t := range thresholds {
		all[i] = Fixed{t, verification.Cosine(t), fmr[i], fnmr[i]}
	}
	return all
}

// binning says how coarse the cells are, nil if they are exact.
func (m model) binning() *Binning {
	if m.exact() {
		return nil
	}
	b := Binning{Cells: len(m.least), RateError: 1. / resolution}
	sames, differents := m.byCell[same].sizes(), m.byCell[different].sizes()
	for i := range sames {
		if m.most[i] > m.least[i] {
			b.AUCError += float64(sames[i]) * float64(differents[i]) / 2
		}
	}
	b.AUCError = b.AUCError / float64(len(m.byCell[same].pairs)) / float64(len(m.byCell[different].pairs))
	return &b
}
