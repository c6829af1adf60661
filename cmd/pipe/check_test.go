package main

import (
	"strings"
	"testing"

	"facepipe/store/check"
	"facepipe/teacher"
)

// What is said of a replay fits what there was to compare.
func TestReplayInWords(t *testing.T) {
	for want, r := range map[string]teacher.ReplayReport{
		"replayed 5 crops with t: cosine at least 0.990000, 0.999000 on average": {Rows: 5, Compared: 5, MinCosine: 0.99, MeanCosine: 0.999, OK: true},
		"replayed 0 crops with t: none has a usable embedding to compare":        {OK: true},
		"teachers/t: embeddings differ from the model's: lowest cosine 0.500000": {Rows: 5, Compared: 5, MinCosine: 0.5, MeanCosine: 0.9},
		"teachers/t: 2 embeddings of 5 crops are usable for the cache or":        {Rows: 5, Compared: 3, Changed: 2, MinCosine: 1, MeanCosine: 1},
	} {
		r.Teacher = "t"
		c := checkSummary{Report: check.Report{OK: true}}
		c.add(r)
		var out strings.Builder
		printChecked(&out, &c)
		if !strings.Contains(out.String(), want) || c.OK != r.OK || strings.Contains(out.String(), "no damage found") != r.OK {
			t.Errorf("want %q in\n%s", want, out.String())
		}
	}
}
