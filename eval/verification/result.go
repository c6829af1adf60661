package verification

import (
	"errors"
	"fmt"
	"math"
)

// ErrTooFew marks a list that is too small for the figures to mean anything.
var ErrTooFew = errors.New("too few pairs")

// minOfKind same and different trials are needed so that the folds that choose a
// threshold never lack a kind.
const minOfKind = 2

// Result is what is said about a list of trials.
type Result struct {
	Pairs     int `json:"pairs"`
	Same      int `json:"same"`
	Different int `json:"different"`
	// CrossValidation is nil where trials have no folds.
	*CrossValidation
	AUC float64 `json:"auc"`
	EER float64 `json:"eer"`
	// EERRange is where the rates of errors cross, without interpolation.
	EERRange EERRange `json:"eer_range"`
	// TARAtFAR are the true accept rates by the name of the target, as far as there are
	// different pairs enough for it.
	TARAtFAR map[string]float64 `json:"tar_at_far"`
	// OperatingPoints are the same points in full, in the order of the targets.
	OperatingPoints []OperatingPoint `json:"operating_points"`
	// Thresholds are what to set for the false match rates that one wants.
	Thresholds []Threshold `json:"thresholds"`
	// VAL is nil where the rule knows no such figure.
	VAL []VALPoint `json:"val_at_far,omitempty"`
	// NotMeasurable are the targets that the trials are too few for.
	NotMeasurable []NotMeasurable `json:"not_measurable,omitempty"`
	// FewErrors names the rates that fewer than [RuleOf30] errors stand behind.
	FewErrors []FewErrors `json:"few_errors,omitempty"`
	// DET has at most 200 points, Histogram 64 bins, however many trials there are.
	DET       []DETPoint   `json:"det"`
	Histogram Histogram    `json:"histogram"`
	Folds     []FoldResult `json:"folds,omitempty"`
	Curve     []CurvePoint `json:"-"`
}

// CrossValidation sums up the folds.
type CrossValidation struct {
	// Rule is the name of the rule that the folds follow.
	Rule string `json:"rule"`
	// Accuracy is the mean over the folds, 0 to 1, AccuracyStd their population
	// standard deviation: how much folds differ, not how sure the mean is.
	Accuracy    float64 `json:"accuracy"`
	AccuracyStd float64 `json:"accuracy_std"`
	// AccuracyStdError is the standard error of the mean: the standard deviation with n - 1,
	// over √n, of n folds.
	AccuracyStdError float64 `json:"accuracy_std_error"`
	// AccuracyErrors is the number of wrong decisions in all folds.
	AccuracyErrors int `json:"accuracy_errors"`
	// Threshold is the mean over the folds of the chosen distance.
	Threshold float64 `json:"threshold"`
	// ThresholdCosine is Threshold as a cosine.
	ThresholdCosine float64 `json:"threshold_cosine"`
}

// CheckKinds reports too few trials in all or of a kind: [ErrTooFew].
func CheckKinds(same, different int) error {
	switch all := same + different; {
	case all < FoldCount:
		return fmt.Errorf("%w: %d, at least %d are needed for as many folds", ErrTooFew, all, FoldCount)
	case same < minOfKind || different < minOfKind:
		return fmt.Errorf("%w of a kind: %d of the same person and %d of different ones, at least %d of each are needed",
			ErrTooFew, same, different, minOfKind)
	}
	return nil
}

// Evaluate computes the figures of trials, and the operating points at
// the targets, false accept rates above 0 and below 1. The trials' folds should be those of
// [Rule.Folds]. [ErrTooFew].
func (rule Rule) Evaluate(s *Scores, targets []float64) (Result, error) {
	if err := CheckKinds(s.Same(), s.Different()); err != nil {
		return Result{}, err
	}
	rule = rule.orPlain()
	roc := s.ROC()
	r := Result{
		Pairs: s.Same() + s.Different(), Same: s.Same(), Different: s.Different(), AUC: roc.AUC(), EER: roc.EER(), EERRange: roc.EERRange(),
		TARAtFAR: map[string]float64{}, OperatingPoints: []OperatingPoint{}, Thresholds: []Threshold{},
		DET: roc.DET(), Histogram: roc.Histogram(), Curve: roc.Curve(),
	}
	var measurable []float64
	for _, target := range targets {
		p, ok := roc.At(target, rule.Pick)
		if !ok {
			r.NotMeasurable = append(r.NotMeasurable, NotMeasurable{Target: target, Needs: needed(target), Different: r.Different})
			continue
		}
		measurable = append(measurable, target)
		r.TARAtFAR[p.Name()] = p.TAR
		r.OperatingPoints = append(r.OperatingPoints, p)
		r.Thresholds = append(r.Thresholds, roc.threshold(target))
	}
	if s.folds > 0 {
		r.Folds = rule.crossValidate(s)
		r.CrossValidation = summarize(r.Folds)
		r.Rule = rule.Name
		if rule.VAL != "" {
			r.VAL = valPoints(s, measurable)
		}
	}
	r.FewErrors = r.fewErrors()
	return r, nil
}

func summarize(folds []FoldResult) *CrossValidation {
	accuracies := make([]float64, len(folds))
	chosen := make([]float64, len(folds))
	var c CrossValidation
	for i, f := range folds {
		accuracies[i], chosen[i] = f.Accuracy, f.Threshold
		c.AccuracyErrors += f.Errors
	}
	c.Accuracy, c.AccuracyStd = meanStd(accuracies)
	if n := float64(len(folds)); n > 1 {
		c.AccuracyStdError = c.AccuracyStd / math.Sqrt(n-1) // std·√(n/(n-1))/√n
	}
	c.Threshold, _ = meanStd(chosen)
	c.ThresholdCosine = Cosine(c.Threshold)
	return &c
}
