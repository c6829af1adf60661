package report

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"

	"facepipe/eval/agreement"
	"facepipe/eval/cohort"
	"facepipe/eval/cost"
	"facepipe/eval/identification"
	"facepipe/eval/overlap"
	"facepipe/eval/uncertainty"
	"facepipe/eval/verification"
	"facepipe/internal/vec"
)

// between is an interval.
func between(low, high float64) *uncertainty.Interval {
	return &uncertainty.Interval{Low: low, High: high}
}

// differs is a difference of a figure that two models have.
func differs(a, b float64, interval *uncertainty.Interval, less bool) uncertainty.Difference {
	return uncertainty.Difference{A: a, B: b, Delta: b - a, Interval: interval, P: new(0.012), Adjusted: new(0.024), LessIsBetter: less}
}

// furtherReport has all that is said beside figures, of files that call themselves anything.
func furtherReport(t *testing.T) Report {
	t.Helper()
	r := Report{Models: []Model{measured(t, verification.Plain, "a/student.onnx", 1), measured(t, verification.Plain, hostile, 1.8)}}
	for i := range r.Models {
		r.Models[i].Test = "lfw"
	}
	m := &r.Models[1]
	m.Uncertainty = &uncertainty.Summary{
		Level: 0.95, Identities: 40, Replicates: 1000, Seed: 1, Accuracy: uncertainty.Figure{Value: 0.99, Interval: between(0.98, 0.995)},
		AUC: uncertainty.Figure{Value: 0.999, Interval: between(0.998, 0.9995)}, EER: uncertainty.Figure{Value: 0.01, Interval: between(0.005, 0.02)},
		OperatingPoints: []uncertainty.OperatingPoint{{Target: 0.01, FNMR: uncertainty.Figure{Value: 0.02, Interval: between(0.01, 0.05)}}, {Target: 0.001}},
		Notes:           []string{"FMR 1e-2 rests on 6 false matches"},
	}
	m.Clean = &Clean{Result: measured(t, verification.Plain, hostile, 1.5).Result}
	fnmr := differs(0.05, 0.01, between(-0.06, -0.01), true)
	fnmr.Target, fnmr.Decisions = 0.01, &uncertainty.Decisions{OnlyA: 2, OnlyB: 26, McNemar: 0.0001}
	r.Comparisons = []Comparison{{Test: "lfw", Comparison: uncertainty.Comparison{
		A: "a/student.onnx", B: hostile, AccuracyRule: uncertainty.BestThreshold, Accuracy: differs(0.96, 0.97, between(-0.001, 0.02), false),
		AUC: differs(0.99, 0.98, between(-0.02, -0.005), false), EER: uncertainty.Difference{A: 0.02, B: 0.02, LessIsBetter: true},
		FNMR: []uncertainty.Difference{fnmr}, Notes: []string{"a note of <b>"},
	}}}
	r.Overlap = &overlap.Result{
		Train: hostile, Teacher: hostile, DirtyCrops: 12, DirtyIdentities: 3, Hits: make([]overlap.Hit, 4), Unlisted: 2, TestSide: overlap.Side{Crops: 160},
		Centres: &overlap.Search{Threshold: 0.41, Hits: 3, ExpectedFalseHits: new(0.4)}, Images: &overlap.Search{Threshold: 0.5, Hits: 1}, Notes: []string{"look at *them*"},
	}
	rate := func(errors, of int) *uncertainty.Rate {
		return &uncertainty.Rate{Errors: errors, Of: of, Value: float64(errors) / float64(of), Interval: between(0.001, 0.03)}
	}
	r.Cohorts = []Cohort{{Test: "lfw", Table: cohort.Table{
		Model: hostile, Column: "sex|<i>", Cut: "values", ThresholdCosine: 0.3, TargetFMR: 0.001, Notes: []string{"column sex"},
		Groups: []cohort.Group{
			{Name: "w\x1b|o", Faces: 50, Identities: 31, Cell: cohort.Cell{FMR: rate(2, 300), FNMR: rate(1, 100)}},
			{Name: "m", Faces: 5, Identities: 2, Cell: cohort.Cell{FMR: rate(0, 10)}, Small: true, SmallBecause: "2 people, fewer than 30"},
		},
		Summary: &cohort.Summary{Groups: 2, FMRRatio: new(3.2), FMRBounded: true},
	}}}
	r.Agreement = []Agreement{{Test: "lfw", Result: agreement.Result{
		A: "a/student.onnx", B: hostile, Cosine: &agreement.Cosine{Mean: 0.98, Percentile1: 0.9, Min: 0.7}, Agreement: vec.Agreement{Spearman: new(0.91)},
		Differ: []agreement.Pair{{First: "x`y", Second: hostile, CosineA: 0.1, CosineB: 0.4}},
	}}}
	m.Cost = &cost.Cost{Parameters: 1_200_000, Bytes: 4_900_000, Precision: "fp32", Multiplications: &cost.Multiplications{MACs: 440_000_000}, Threads: 2, Processors: 2, Provider: "cpu",
		Batches: []cost.Batch{{Size: 1, Median: 4.5, P95: 5.25, Throughput: 222}, {Size: 8, Median: 30, Throughput: 266}}, Memory: &cost.Memory{Peaks: []cost.Peak{{Size: 1, Bytes: 50 << 20}}}}
	r.Variants = []cost.Variants{{Baseline: hostile, Others: []cost.Variant{{Model: "int8.onnx", Precision: "int8", Bytes: 0.26, Latency: new(0.5), Batch: 1, Cosine: &cost.Agreement{Mean: 0.99, Min: 0.95}}}}}
	return r
}

// What is said beside figures reads as it should, whatever files call themselves.
func TestGoldenFurther(t *testing.T) {
	var b bytes.Buffer
	for _, s := range furtherReport(t).furtherSections() {
		fmt.Fprintf(&b, "## %s\n\n", s.Title)
		writeFacts(&b, s.Facts, "")
		b.WriteByte('\n')
	}
	const path = "testdata/further.md"
	if *update {
		if err := os.WriteFile(path, b.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(b.Bytes(), want) {
		t.Errorf("%s differs; look at it and run with -update if it should:\n%s", path, b.Bytes())
	}
	for _, raw := range []string{"\x1b", "\u202e", "\xff", " <"} {
		if bytes.Contains(b.Bytes(), []byte(raw)) {
			t.Errorf("%s holds %q", path, raw)
		}
	}
}

// Each test has its own best model, and its own comparison.
func TestAnswerOfSeveralTests(t *testing.T) {
	good, bad := measured(t, verification.Plain, "good.onnx", 1.8), measured(t, verification.Plain, "bad.onnx", 0.5)
	on := func(m Model, test string) Model { m.Test = test; return m }
	withoutFolds := func(m Model) Model { m.CrossValidation = nil; return m }
	r := Report{Models: []Model{on(good, "lfw"), on(withoutFolds(bad), "ijbc"), on(bad, "lfw"), on(withoutFolds(good), "ijbc")}}
	r.Models[1].Model, r.Models[3].Model = "good.onnx", "bad.onnx"
	fnmr := differs(0.5, 0.25, between(-0.3, -0.2), true)
	fnmr.Target = good.Thresholds[len(good.Thresholds)-1].Target
	r.Comparisons = []Comparison{
		{"lfw", uncertainty.Comparison{A: "good.onnx", B: "bad.onnx", Accuracy: differs(0.99, 0.7, between(-0.4, -0.2), false)}},
		{"ijbc", uncertainty.Comparison{A: "good.onnx", B: "bad.onnx", Accuracy: differs(0.99, 0.99, nil, false), FNMR: []uncertainty.Difference{fnmr}}},
	}
	got := spoken(r.Answer())
	for _, want := range []string{"good.onnx on lfw is the best of 2 models: accuracy ", "; bad.onnx against good.onnx: 29.00 points worse (20.00 to 40.00). bad.onnx on ijbc is the best of 2 models: FNMR ",
		"; bad.onnx against good.onnx: 25.00 points better (20.00 to 30.00)"} {
		if !strings.Contains(got, want) {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

// The figures of whole sets are shown once, and no others as if they were 0.
func TestIdentificationAlone(t *testing.T) {
	whole := Model{Model: "m.onnx", Kind: KindTeacher, Test: "all", Identification: &identification.Result{
		Protocol: "all-pairs", Set: "all", Verification: []identification.OperatingPoint{{Target: 0.001, TAR: identification.Rate{Rate: 0.5, Errors: 1, Of: 2}, NonMated: 4000}},
	}}
	listed := measured(t, verification.Plain, "m.onnx", 1)
	listed.Test = "lfw"
	for _, r := range []Report{{Models: []Model{whole}}, {Models: []Model{listed, whole}, Tests: []Test{{Name: "lfw"}, {Name: "all"}}}} {
		var b bytes.Buffer
		Print(&b, r)
		if strings.Count(b.String(), "protocol all-pairs") != 1 || strings.Count(b.String(), "  TAR@FAR 1e-3: 0.5000 (1 of 2 missed)") != 1 {
			t.Errorf("printed\n%s", b.String())
		}
		document, err := markdown(r)
		if err != nil || strings.Count(string(document), "EER: ") != len(r.Models)-1 || len(r.Models) > 1 && strings.Contains(string(document), "| `m.onnx on all` |") {
			t.Errorf("%v:\n%s", err, document)
		}
		text, err := json.Marshal(r)
		var back Report
		if err != nil || bytes.Count(text, []byte(`"auc":`)) != len(r.Models)-1 || bytes.Count(text, []byte(`"pairs":0,"same":0,"different":0`)) != 1 || json.Unmarshal(text, &back) != nil {
			t.Errorf("%v:\n%s", err, text)
		}
		if last := back.Models[len(r.Models)-1]; last.Model != whole.Model || last.Identification.Set != "all" || last.AUC != 0 {
			t.Errorf("read back: %+v", last)
		}
	}
}
