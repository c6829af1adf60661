package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"facepipe/testdata"
)

// A report says how far figures can be trusted, how models differ, which people the training set
// holds, what groups do, how models agree, and what they cost.
func TestEvalFurther(t *testing.T) {
	test, train, model := ingestAligned(t, 12, 4), ingestAligned(t, 4, 3), tinyTeacher(t)
	for _, dataset := range []string{test, train} {
		expect(t, exitDone, "precompute-teacher", dataset, "--teacher", model, "--name", "tiny", "--allow-weak-teacher", "-q")
	}
	out := filepath.Join(t.TempDir(), "report")
	pairs := pairsFile(t, 12, 4)
	r := expect(t, exitDone, "eval", "--teacher", "tiny", "--model", model, "--dataset", test, "--pairs", pairs, "--no-flip",
		"--cohort", "norm=quantiles:2", "--cost", "--out", out, "--json").object(t)
	m := modelsOf(t, r)["tiny.onnx"]
	u := m["uncertainty"].(map[string]any)
	accuracy := u["accuracy"].(map[string]any)
	interval := accuracy["interval"].(map[string]any)
	if low, high := number(t, interval, "low"), number(t, interval, "high"); !(low <= number(t, m, "accuracy") && number(t, m, "accuracy") <= high) {
		t.Errorf("accuracy %v in %v to %v", m["accuracy"], low, high)
	}
	compared := r["comparisons"].([]any)
	if c := compared[0].(map[string]any); len(compared) != 1 || c["a"] != model || c["b"] != "tiny" {
		t.Errorf("comparisons %v", compared)
	}
	if a := r["agreement"].([]any)[0].(map[string]any); number(t, a["cosine"].(map[string]any), "min") < 0.999 {
		t.Errorf("agreement of a model with its cache: %v", a)
	}
	cost := m["cost"].(map[string]any)
	if len(cost["batches"].([]any)) == 0 || cost["multiplications"] == nil || cost["memory"].(map[string]any)["own_process"] != true {
		t.Errorf("cost %v", cost)
	}
	groups := r["cohorts"].([]any)
	if g := groups[0].(map[string]any); len(groups) != 2 || len(g["groups"].([]any)) != 2 || g["column"] != "norm" {
		t.Errorf("cohorts %v", groups)
	}
	text, err := os.ReadFile(filepath.Join(out, "report.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"95 % interval", "## Comparison with the first", "## Groups", "## Agreement with the first", "## Cost", "batch of 1: ", "too small to tell"} {
		if !strings.Contains(string(text), want) {
			t.Errorf("report.md lacks %q:\n%s", want, text)
		}
	}
	if command := r["command"].([]any); command[0] != "pipe" || command[1] != "eval" {
		t.Errorf("command %v", command)
	}
	few := expect(t, exitFailed, "eval", "--teacher", "tiny", "--dataset", test, "--pairs", pairs, "--cohort", "gender", "--json")
	if !strings.Contains(few.stderr, "gender") {
		t.Errorf("a column that is not there: %s", few.stderr)
	}
	expect(t, exitUsage, "eval", "--model", model, "--dataset", test, "--pairs", pairs, "--cohort", "norm")
	expect(t, exitUsage, "eval", "--model", model, "--dataset", test, "--pairs", pairs, "--exclude-overlap", train)
	expect(t, exitUsage, "eval", "--model", model, "--bin", binFile(t, "lfw.bin", 4, 4), "--exclude-overlap", train, "--overlap-teacher", "tiny")
}

// The people of a training set are found by their faces, and figures without them stand beside all.
func TestEvalExcludesOverlap(t *testing.T) {
	test, train, model := ingestAligned(t, 40, 4), ingestAligned(t, 4, 3), filepath.Join(t.TempDir(), "teacher.onnx")
	writeFile(t, model, string(testdata.Teacher))
	for _, dataset := range []string{test, train} {
		expect(t, exitDone, "precompute-teacher", dataset, "--teacher", model, "--name", "tiny", "--allow-weak-teacher", "-q")
	}
	out := filepath.Join(t.TempDir(), "report")
	r := expect(t, exitDone, "eval", "--teacher", "tiny", "--dataset", test, "--pairs", pairsFile(t, 40, 4), "--exclude-overlap", train, "--out", out, "--json").object(t)
	found := r["overlap"].(map[string]any)
	if dirty := number(t, found, "dirty_crops"); dirty < 12 || dirty > 80 {
		t.Errorf("%v of 160 crops are dirty, of 4 people with 4 each", dirty)
	}
	m := modelsOf(t, r)["tiny"]
	clean := m["clean"].(map[string]any)
	if all, left := number(t, m, "pairs"), number(t, clean, "pairs"); !(left < all && left > 0) {
		t.Errorf("%v of %v pairs are clean", left, all)
	}
	list, err := os.ReadFile(filepath.Join(out, "overlap.csv"))
	if err != nil || strings.Count(string(list), "\n") != len(found["hits"].([]any))+1 {
		t.Errorf("overlap.csv (%v):\n%s", err, list)
	}
	shown := r["overlap_faces"].([]any)[0].(map[string]any)
	for _, side := range []string{"test", "train"} {
		if _, err := os.Stat(filepath.Join(out, shown[side].(string))); err != nil {
			t.Error(err)
		}
	}
}
