package eval

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"facepipe/eval/cohort"
	"facepipe/eval/internal/facestest"
	"facepipe/eval/protocol"
	"facepipe/eval/report"
	"facepipe/eval/verification"
)

// Each operating point has its interval once, and a note on none that nobody asked for.
func TestIntervalsOfTargets(t *testing.T) {
	o := setUp(t)
	o.FAR = []float64{0.1, 0.05}
	r := run(t, o)
	u := r.Models[0].Uncertainty
	if u == nil || len(u.OperatingPoints) != 2 || u.OperatingPoints[0].Target != 0.1 || u.OperatingPoints[1].Target != 0.05 {
		t.Fatalf("%+v", u)
	}
	for _, note := range u.Notes {
		if strings.Contains(note, "FMR 2.1") { // of the curve
			t.Errorf("a note on a rate that was not asked for: %s", note)
		}
	}
	if !slices.ContainsFunc(r.Models[0].DET, func(p verification.DETPoint) bool { return p.Interval != nil }) {
		t.Error("the curve has no band")
	}
}

// By a rule with thresholds of its own the report says whose interval it is.
func TestIntervalOfAnotherRule(t *testing.T) {
	s := verification.NewScores(600, 600, 2)
	for i := range int32(1200) {
		s.Add(verification.Trial{Distance: 1 + float64(i%7)/10, Same: i%2 == 0, First: i / 2 % 40, Second: (i/2 + i%2) % 40, Fold: i / 600})
	}
	for _, rule := range verification.Rules() {
		m := report.Model{}
		var err error
		if m.Result, err = rule.Evaluate(s, []float64{0.1}); err != nil {
			t.Fatal(err)
		}
		o := Options{FAR: []float64{0.1}}
		if err := interval(o, s, &m.Result, &m.Uncertainty); err != nil {
			t.Fatal(err)
		}
		if got := slices.Contains(m.Uncertainty.Notes, plainAccuracy); got != (rule.Name == "facexzoo") {
			t.Errorf("rule %s: %q", rule.Name, m.Uncertainty.Notes)
		}
	}
}

// Models that have usable embeddings of other templates are not compared, which stops nothing.
func TestComparesOnlyTheSameTrials(t *testing.T) {
	scores := func(more int) *verification.Scores {
		s := verification.NewScores(0, 0, 0)
		for i := range int32(20 + more) {
			s.Add(verification.Trial{Distance: 1, Same: true, First: i, Second: i})
			s.Add(verification.Trial{Distance: 2, First: i, Second: i + 1})
		}
		return s
	}
	r := report.Report{Models: []report.Model{{Model: "a"}, {Model: "b"}, {Model: "c"}, {Model: "d"}}}
	var of []measurement
	for i, s := range []*verification.Scores{scores(0), scores(1), nil, scores(0)} {
		of = append(of, measurement{model: i, Result: protocol.Result{Scores: s}})
	}
	if err := addComparisons(t.Context(), Options{FAR: []float64{0.1}}, of, &r); err != nil {
		t.Fatal(err)
	}
	if len(r.Comparisons) != 1 || r.Comparisons[0].B != "d" || len(r.Warnings) != 1 || !strings.HasPrefix(r.Warnings[0], "b is not compared with a: ") {
		t.Errorf("%+v, %q", r.Comparisons, r.Warnings)
	}
}

// A column that no face has is named in the report, which has all the rest.
func TestFaultyCohortStopsNothing(t *testing.T) {
	o := setUp(t)
	var progress strings.Builder
	o.Cohorts, o.Progress = []cohort.Spec{{Column: "gender"}, {Column: "yaw"}}, &progress
	r, err := Run(t.Context(), o)
	if err == nil || !strings.Contains(err.Error(), "cohort gender of ") {
		t.Errorf("error %v", err)
	}
	if said, opened := strings.Index(progress.String(), "warning: pairs: cohort gender"), strings.Index(progress.String(), "self-test"); said < 0 || said > opened {
		t.Errorf("it is not said before the models are run: %s", progress.String())
	}
	text, errRead := os.ReadFile(filepath.Join(o.Out, "report.json"))
	if errRead != nil {
		t.Fatal(errRead)
	}
	var written report.Report
	if err := json.Unmarshal(text, &written); err != nil {
		t.Fatal(err)
	}
	for _, r := range []report.Report{r, written} {
		if len(r.Models) != 1 || !slices.ContainsFunc(r.Warnings, func(w string) bool { return strings.Contains(w, "gender") }) {
			t.Errorf("%d models, warnings %q", len(r.Models), r.Warnings)
		}
	}
}

// What a protocol of whole sets cannot tell is said.
func TestWarnsOfWholeSets(t *testing.T) {
	o := setUp(t)
	o.Tests = append(o.Tests, Test{Protocol: protocol.AllPairs, List: protocol.All})
	o.Scores = filepath.Join(t.TempDir(), "scores.csv")
	r := run(t, o)
	if !slices.Contains(r.Warnings, "all: scores are written of lists of pairs alone") || len(r.Models) != 2 {
		t.Errorf("%d models, warnings %q", len(r.Models), r.Warnings)
	}
	if r.Runtime == "" {
		t.Error("the runtime is not told")
	}
}

// Images that a list of a whole set names and the dataset lacks are in the report.
func TestMissingImagesOfAWholeSet(t *testing.T) {
	o := setUp(t)
	o.Tests = []Test{{Protocol: protocol.AllPairs, List: facestest.WriteFile(t, "out.txt", "P04/P04_0009\n")}}
	if r, err := Run(t.Context(), o); err == nil || !slices.Equal(r.Pairs.Missing, []string{"P04/P04_0009"}) {
		t.Errorf("%+v (%v)", r.Pairs, err)
	}
}

// No two tests of a run have one name.
func TestTestNames(t *testing.T) {
	names := map[string]bool{}
	var got []string
	for _, name := range []string{"lfw-2", "lfw", "lfw", "lfw", "agedb"} {
		got = append(got, unlike(names, name))
	}
	if !slices.Equal(got, []string{"lfw-2", "lfw", "lfw-3", "lfw-4", "agedb"}) {
		t.Error(got)
	}
	o := setUp(t)
	o.Tests = append(o.Tests, o.Tests[0])
	if err := o.Validate(); err == nil || !strings.Contains(err.Error(), "is named twice") {
		t.Errorf("one list twice: %v", err)
	}
	o.Tests[1].List = facestest.WriteFile(t, "pairs.txt", facestest.LFWList())
	if r := run(t, o); len(r.Tests) != 2 || r.Tests[1].Name != "pairs-2" {
		t.Errorf("tests %+v", r.Tests)
	}
}
