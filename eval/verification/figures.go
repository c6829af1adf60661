package verification

import "fmt"

// Figure is a number by which models are compared.
type Figure struct {
	// Name is what reports and metrics call it, Title the heading of its column, Alias the
	// same figure in the words of biometric standards, "" if it has no other name.
	Name, Title, Alias string
	// Better is 1 if more is better, -1 if less is.
	Better int
	// Of takes the figure from a result: as a number, and as tables show it. text is ""
	// if the result lacks it.
	Of func(Result) (value float64, text string)
}

// Figures are the figures of a result in the order of tables, with TAR at the targets.
func Figures(targets []float64) []Figure {
	figures := []Figure{{"accuracy", "accuracy %", "", 1, accuracy}}
	for _, target := range targets {
		figures = append(figures, tarAt(RateName(target)))
	}
	return append(figures,
		Figure{"auc", "AUC", "", 1, func(r Result) (float64, string) { return r.AUC, fmt.Sprintf("%.5f", r.AUC) }},
		Figure{"eer", "EER %", "", -1, func(r Result) (float64, string) { return r.EER, fmt.Sprintf("%.2f", 100*r.EER) }},
	)
}

func accuracy(r Result) (float64, string) {
	if r.CrossValidation == nil {
		return 0, ""
	}
	return r.Accuracy, fmt.Sprintf("%.2f ± %.2f", 100*r.Accuracy, 100*r.PlusMinus())
}

// PlusMinus is what stands behind the accuracy's ±: what the rule's Spread says.
func (c CrossValidation) PlusMinus() float64 {
	if rule, err := RuleNamed(c.Rule); err == nil {
		return rule.plusMinus(c)
	}
	return c.AccuracyStd
}

// tarAt is the true accept rate at a target of that name.
func tarAt(target string) Figure {
	return Figure{"tar_at_far " + target, "TAR@FAR " + target, "1 − FNMR@FMR " + target, 1, func(r Result) (float64, string) {
		tar, ok := r.TARAtFAR[target]
		if !ok {
			return 0, ""
		}
		return tar, fmt.Sprintf("%.4f", tar)
	}}
}
