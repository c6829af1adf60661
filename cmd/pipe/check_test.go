package main

import (
	"os"
	"path/filepath"
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

// Check takes the folders of runs, plans and studies as it does datasets.
func TestCheckTakesAnyFolderOfOurs(t *testing.T) {
	for file, words := range map[string]string{"run.json": "a run", "plan.json": "a plan", "study.json": "a study"} {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, file), []byte("{"), 0o600); err != nil {
			t.Fatal(err)
		}
		report := expect(t, exitDamaged, "check", dir, "--json").object(t)
		problems, _ := report["problems"].([]any)
		if report["ok"] != false || len(problems) == 0 || problems[0].(map[string]any)["file"] != file {
			t.Errorf("%s: %v", file, report)
		}
		if o := expect(t, exitDamaged, "check", dir); !strings.Contains(o.stdout, file+": ") {
			t.Errorf("%s: %s", file, o.stdout)
		}
		if o := expect(t, exitUsage, "check", dir, "--replay", "3", "--model", "m.onnx"); !strings.Contains(o.stderr, "is "+words) {
			t.Errorf("%s: %s", file, o.stderr)
		}
	}
}
