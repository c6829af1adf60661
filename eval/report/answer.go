package report

import (
	"fmt"
	"slices"
	"strings"

	"facepipe/eval/verification"
)

// Answer is what was found in one sentence, or one for each test: the best model by accuracy, or
// without folds by FNMR at the least false match rate that can be told. It is nil without a model.
func (r Report) Answer() (answer Text) {
	var tests []string
	for _, m := range r.Models {
		if !slices.Contains(tests, m.Test) {
			tests = append(tests, m.Test)
		}
	}
	for i, test := range tests {
		if i > 0 {
			answer = append(answer, words(". "))
		}
		answer = append(answer, r.answerOn(test)...)
	}
	return answer
}

// answerOn is the answer of the models of a test.
func (r Report) answerOn(test string) (answer Text) {
	var best []int
	models := 0
	for i, m := range r.Models {
		if m.Test != test {
			continue
		}
		models++
		if len(best) > 0 && merit(m) < merit(r.Models[best[0]]) {
			continue
		}
		if len(best) > 0 && merit(m) > merit(r.Models[best[0]]) {
			best = nil
		}
		best = append(best, i)
	}
	labels := r.labels()
	for n, i := range best {
		if n > 0 {
			answer = append(answer, words(" and "))
		}
		answer = append(answer, literal(labels[i]))
	}
	if models > 1 && len(best) == 1 {
		answer = append(answer, words(" is the best of %d models", models))
	} else if models > 1 {
		answer = append(answer, words(" are the best of %d models", models))
	}
	answer = append(answer, words(": %s", r.achieves(r.Models[best[0]])))
	compared := slices.DeleteFunc(slices.Clone(r.Comparisons), func(c Comparison) bool { return c.Test != test })
	if len(compared) == 1 {
		c := compared[0]
		answer = append(answer, words("; "), literal(c.B), words(" against "), literal(c.A), words(": %s", c.headline(r.Models[best[0]])))
	}
	return answer
}

// headline is the difference in what [Report.Answer] tells of a model of the comparison.
func (c Comparison) headline(m Model) string {
	if m.CrossValidation == nil && len(m.Thresholds) > 0 {
		for _, d := range c.FNMR {
			if d.Target == m.Thresholds[len(m.Thresholds)-1].Target {
				return d.String()
			}
		}
	}
	if m.CrossValidation == nil {
		return c.AUC.String()
	}
	return c.Accuracy.String()
}

// merit is the number by which the best model is found.
func merit(m Model) float64 {
	if m.CrossValidation != nil {
		return m.Accuracy
	}
	if n := len(m.Thresholds); n > 0 {
		return -m.Thresholds[n-1].FNMR.Rate
	}
	if m.OnlyIdentifies() && len(m.Identification.Verification) > 0 {
		return m.Identification.Verification[0].TAR.Rate
	}
	return m.AUC
}

// achieves says a model's merit in words.
func (r Report) achieves(m Model) string {
	if m.CrossValidation != nil {
		return fmt.Sprintf("accuracy %.2f ± %.2f %% (%s in %d pairs; ± is the %s over %d folds)",
			100*m.Accuracy, 100*m.PlusMinus(), count(m.AccuracyErrors, "error"), m.Pairs, r.rule().Spread, len(m.Folds))
	}
	if n := len(m.Thresholds); n > 0 {
		t := m.Thresholds[n-1]
		return fmt.Sprintf("FNMR %s at FMR %s", rate(t.FNMR), t.Name())
	}
	if m.OnlyIdentifies() {
		first := m.Identification.Lines()[0]
		return first.About + " " + first.Is
	}
	return fmt.Sprintf("AUC %.5f", m.AUC)
}

// rule is the one that the models' accuracy follows.
func (r Report) rule() verification.Rule {
	for _, m := range r.Models {
		if m.CrossValidation == nil {
			continue
		}
		if rule, err := verification.RuleNamed(m.Rule); err == nil {
			return rule
		}
	}
	return verification.Plain
}

// count is a number of things.
func count(n int, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return fmt.Sprintf("%d %ss", n, thing)
}

// percent is a share in as many digits as people read.
func percent(share float64) string { return fmt.Sprintf("%.3g %%", 100*share) }

// rate is a share with its interval and what it was counted from.
func rate(r verification.Rate) string {
	interval := ""
	if r.Interval != nil {
		interval = fmt.Sprintf(", %s to %s", strings.TrimSuffix(percent(r.Interval.Low), " %"), percent(r.Interval.High))
	}
	return fmt.Sprintf("%s (%d of %d%s)", percent(r.Rate), r.Errors, r.Of, interval)
}
