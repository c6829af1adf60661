package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"facepipe/store/cache"
	"facepipe/store/check"
	"facepipe/store/storetest"
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

// What check calls damage of a teacher cache ends info, teachers and merge with the same status; the
// first two still say what they can.
func TestVerbsAgreeOnADamagedCache(t *testing.T) {
	dir, other := storetest.Build(t, 20, 8), storetest.Build(t, 20, 8)
	for _, name := range []string{dir, other} {
		storetest.Embed(t, storetest.Open(t, name), storetest.Info(cache.FP16, true), -1, nil)
	}
	if err := os.Remove(filepath.Join(dir, "teachers/r50/000001.json")); err != nil {
		t.Fatal(err)
	}
	for says, args := range map[string][]string{
		"teachers/r50/000001.json: missing": {"check", dir},
		dir + ": 20 crops":                  {"info", dir},
		"DEVICE TIME":                       {"teachers", dir},
		"":                                  {"merge", dir, other, "--out", filepath.Join(t.TempDir(), "out")},
	} {
		var stdout, stderr bytes.Buffer
		code := run(t.Context(), args, &stdout, &stderr)
		if code != exitDamaged || !strings.Contains(stdout.String(), says) || args[0] != "check" && !strings.Contains(stderr.String(), "000001.json") {
			t.Errorf("%q ended with %d: %s%s", args, code, &stdout, &stderr)
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
