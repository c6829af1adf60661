package report

import (
	"fmt"
	"slices"
	"strings"

	"facepipe/eval/verification"
)

// AllWarnings are the report's own and those that follow from the numbers of pairs: what cannot
// be measured, and which figures of which models few errors stand behind.
func (r Report) AllWarnings() []Text {
	var all []Text
	for _, w := range r.Warnings {
		all = append(all, Text{words("%s", w)})
	}
	var unmeasured []verification.NotMeasurable
	for _, m := range r.Models {
		for _, n := range m.NotMeasurable {
			if !slices.Contains(unmeasured, n) {
				unmeasured = append(unmeasured, n)
				all = append(all, Text{words("%s", n)})
			}
		}
	}
	labels := r.labels()
	for i, m := range r.Models {
		if len(m.FewErrors) == 0 {
			continue
		}
		var few []string
		for _, f := range m.FewErrors {
			few = append(few, f.String())
		}
		all = append(all, Text{literal(labels[i]), words(": fewer than %d errors stand behind %s; such rates are not known to within ±30 %% (rule of 30)",
			verification.RuleOf30, strings.Join(few, ", "))})
	}
	for _, f := range r.Failed {
		all = append(all, Text{literal(f.Model), words(" gave no figures: "), literal(f.Error)})
	}
	return all
}

// counts are what stands behind the rates at an operating point.
func counts(p verification.OperatingPoint) string {
	return fmt.Sprintf("at %s %d of %d accepted wrongly, %d of %d rejected wrongly (cosine %.4f)",
		p.Name(), p.FalseAccepts, p.Different, p.FalseRejects, p.Same, p.Cosine)
}
