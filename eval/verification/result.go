package verification

import (
	"errors"
	"fmt"
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
	// TARAtFAR are the true accept rates by the name of the target, as far as there are
	// different pairs enough for it.
	TARAtFAR map[string]float64 `json:"tar_at_far"`
	// OperatingPoints are the same points in full, in the order of the targets.
	OperatingPoints []OperatingPoint `json:"operating_points"`
	Folds           []FoldResult     `json:"folds,omitempty"`
	Curve           []CurvePoint     `json:"-"`
}

// CrossValidation sums up the folds.
type CrossValidation struct {
	// Accuracy is the mean over the folds, 0 to 1, AccuracyStd their population
	// standard deviation.
	Accuracy    float64 `json:"accuracy"`
	AccuracyStd float64 `json:"accuracy_std"`
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
// the targets, false accept rates above 0 and below 1. [ErrTooFew].
func Evaluate(s *Scores, targets []float64) (Result, error) {
	if err := CheckKinds(s.Same(), s.Different()); err != nil {
		return Result{}, err
	}
	roc := s.ROC()
	r := Result{
		Pairs: s.Same() + s.Different(), Same: s.Same(), Different: s.Different(), AUC: roc.AUC(), EER: roc.EER(),
		TARAtFAR: map[string]float64{}, OperatingPoints: []OperatingPoint{}, Curve: roc.Curve(),
	}
	for _, target := range targets {
		if p, ok := roc.AtFAR(target); ok {
			r.TARAtFAR[p.Name()] = p.TAR
			r.OperatingPoints = append(r.OperatingPoints, p)
		}
	}
	if s.folds > 0 {
		r.Folds = crossValidate(s)
		r.CrossValidation = summarize(r.Folds)
	}
	return r, nil
}

func summarize(folds []FoldResult) *CrossValidation {
	accuracies := make([]float64, len(folds))
	chosen := make([]float64, len(folds))
	for i, f := range folds {
		accuracies[i], chosen[i] = f.Accuracy, f.Threshold
	}
	var c CrossValidation
	c.Accuracy, c.AccuracyStd = meanStd(accuracies)
	c.Threshold, _ = meanStd(chosen)
	c.ThresholdCosine = Cosine(c.Threshold)
	return &c
}
