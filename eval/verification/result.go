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

// farTargets are the false accept rates of [Result].TARAtFAR, as 1 in so many.
var farTargets = []int{10, 100, 1000, 10_000}

// Result is what is said about a list of trials.
type Result struct {
	Pairs     int `json:"pairs"`
	Same      int `json:"same"`
	Different int `json:"different"`
	// Accuracy is the mean over the folds, 0 to 1, AccuracyStd their population
	// standard deviation.
	Accuracy    float64 `json:"accuracy"`
	AccuracyStd float64 `json:"accuracy_std"`
	// Threshold is the mean over the folds of the chosen distance.
	Threshold float64 `json:"threshold"`
	// ThresholdCosine is Threshold as a cosine.
	ThresholdCosine float64 `json:"threshold_cosine"`
	AUC             float64 `json:"auc"`
	EER             float64 `json:"eer"`
	// TARAtFAR are the true accept rates at false accept rates of at most 1e-1 to
	// 1e-4, as far as there are that many different pairs.
	TARAtFAR map[string]float64 `json:"tar_at_far"`
	// OperatingPoints are the same points in full, by descending target.
	OperatingPoints []OperatingPoint `json:"operating_points"`
	Folds           []FoldResult     `json:"folds"`
	ROC             ROC              `json:"-"`
}

// CheckKinds reports a list without enough trials of each kind: [ErrTooFew].
func CheckKinds(same []bool) error {
	n := 0
	for _, s := range same {
		n += kind(s)
	}
	switch different := len(same) - n; {
	case len(same) < FoldCount:
		return fmt.Errorf("%w: %d, at least %d are needed for as many folds", ErrTooFew, len(same), FoldCount)
	case n < minOfKind || different < minOfKind:
		return fmt.Errorf("%w of a kind: %d of the same person and %d of different ones, at least %d of each are needed",
			ErrTooFew, n, different, minOfKind)
	}
	return nil
}

// Evaluate computes the figures of trials, dealt out to folds by [ChooseFolds].
// [ErrTooFew].
func Evaluate(trials []Trial, folds Folds) (Result, error) {
	same := make([]bool, len(trials))
	for i, t := range trials {
		same[i] = t.Same
	}
	if err := CheckKinds(same); err != nil {
		return Result{}, err
	}
	r := Result{
		Pairs: len(trials), ROC: NewROC(trials), Folds: crossValidate(trials, folds),
		TARAtFAR: map[string]float64{}, OperatingPoints: []OperatingPoint{},
	}
	r.Same, r.Different = r.ROC.Same, r.ROC.Different
	r.summarizeFolds()
	r.AUC, r.EER = r.ROC.AUC(), r.ROC.EER()
	for _, oneIn := range farTargets {
		if p, ok := r.ROC.AtFAR(oneIn); ok {
			r.TARAtFAR[p.Name()] = p.TAR
			r.OperatingPoints = append(r.OperatingPoints, p)
		}
	}
	return r, nil
}

func (r *Result) summarizeFolds() {
	accuracies := make([]float64, len(r.Folds))
	chosen := make([]float64, len(r.Folds))
	for i, f := range r.Folds {
		accuracies[i], chosen[i] = f.Accuracy, f.Threshold
	}
	r.Accuracy, r.AccuracyStd = meanStd(accuracies)
	r.Threshold, _ = meanStd(chosen)
	r.ThresholdCosine = Cosine(r.Threshold)
}
