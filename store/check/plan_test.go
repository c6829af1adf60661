package check_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"facepipe/store"
	"facepipe/store/cache"
	"facepipe/store/check"
	"facepipe/store/plan"
	"facepipe/store/storetest"
)

// done is the folder of a plan whose workers are done. Its dataset is gone.
func done(t *testing.T) string {
	t.Helper()
	job := filepath.Join(t.TempDir(), "job")
	d := storetest.Open(t, storetest.Build(t, 10, 4))
	info := storetest.Info(cache.FP16, true)
	if err := storetest.DoPlan(d, info, job); err != nil {
		t.Fatal(err)
	}
	if err := cache.RecordRun(cache.RunsFolder(job), info.Fingerprint, cache.Run{Begun: time.Unix(1, 0).UTC()}); err != nil {
		t.Fatal(err)
	}
	if err := plan.WriteMergeState(job, plan.MergeState{Digest: "d"}); err != nil {
		t.Fatal(err)
	}
	return job
}

// checkedPlan is what is found in a plan's folder, and whether the file is blamed.
func checkedPlan(t *testing.T, job, file string) (r check.Report, blamed bool) {
	t.Helper()
	r, err := check.RunPlan(t.Context(), job, check.Options{ReadData: true})
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range r.Problems {
		blamed = blamed || p.File == file
	}
	return r, blamed
}

// Damage to any file of a plan's folder is named, with its file.
func TestPlanFiles(t *testing.T) {
	job := done(t)
	if r, _ := checkedPlan(t, job, ""); !r.OK || len(r.Notes) != 0 {
		t.Fatalf("a sound plan: %+v", r)
	}
	for file, content := range storetest.Contents(t, job) {
		path := filepath.Join(job, file)
		for name, damage := range map[string]func() error{
			"a bit":     func() error { storetest.FlipBit(t, path, len(content)/2); return nil },
			"truncated": func() error { storetest.Truncate(t, path); return nil },
			"removed":   func() error { return os.Remove(path) },
		} {
			if err := damage(); err != nil {
				t.Fatal(err)
			}
			r, blamed := checkedPlan(t, job, file)
			// A task without a part may not be done; records and the state of a merge are not
			// there from the beginning.
			if optional := name == "removed" && strings.HasSuffix(file, ".json") && file != plan.File; optional != r.OK || optional == blamed {
				t.Errorf("%s %s: %+v", file, name, r)
			}
			if name == "removed" && strings.HasPrefix(file, "parts/") && strings.HasSuffix(file, ".json") && (len(r.Notes) != 1 || !strings.HasPrefix(r.Notes[0], "1 of 3 tasks have no part ("+filepath.Base(file)+")")) {
				t.Errorf("%s %s: notes %q", file, name, r.Notes)
			}
			if err := os.RemoveAll(path); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, content, 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	if r, _ := checkedPlan(t, job, ""); !r.OK {
		t.Errorf("after all: %+v", r)
	}
	if err := os.Remove(filepath.Join(job, plan.File)); err != nil {
		t.Fatal(err)
	}
	stranger := t.TempDir()
	if err := os.Mkdir(plan.PartsFolder(stranger), 0o700); err != nil {
		t.Fatal(err)
	}
	if !plan.Is(job) || plan.Is(stranger) {
		t.Errorf("which folder is a plan: %v, %v", plan.Is(job), plan.Is(stranger))
	}
}

// A part of another teacher, or of other crops, is none of the plan's.
func TestPartOfAnotherPlan(t *testing.T) {
	job, other := done(t), filepath.Join(t.TempDir(), "other")
	info := storetest.Info(cache.FP16, true)
	info.Fingerprint = strings.Repeat("0", 64)
	if err := storetest.DoPlan(storetest.Open(t, storetest.Build(t, 10, 4)), info, other); err != nil {
		t.Fatal(err)
	}
	const file = "parts/000001.json"
	data, err := os.ReadFile(filepath.Join(other, file))
	if err != nil {
		t.Fatal(err)
	}
	storetest.Rewrite(t, filepath.Join(job, file), func([]byte) []byte { return data })
	if r, blamed := checkedPlan(t, job, file); !blamed || !strings.HasPrefix(r.Problems[0].What, "a part of another plan") {
		t.Errorf("%+v", r)
	}
}

// A plan whose parts are datasets is as sound as these.
func TestPlanOfDatasets(t *testing.T) {
	job := filepath.Join(t.TempDir(), "job")
	if _, err := plan.Write(job, plan.Plan{Verb: "ingest", Output: new(store.PlanOutput), Tasks: []plan.Task{{Rows: 5}, {From: 5, Rows: 5}}}); err != nil {
		t.Fatal(err)
	}
	if r, _ := checkedPlan(t, job, ""); !r.OK {
		t.Errorf("not begun: %+v", r)
	}
	part := filepath.Join(plan.PartsFolder(job), "000000.ds")
	if err := os.CopyFS(part, os.DirFS(storetest.Build(t, 5, 4))); err != nil {
		t.Fatal(err)
	}
	if r, _ := checkedPlan(t, job, ""); !r.OK || r.Shards != 2 || r.ShardsRead != 2 {
		t.Errorf("one part: %+v", r)
	}
	const file = "crops/000001.arrow"
	storetest.FlipBit(t, filepath.Join(part, file), 700)
	if r, blamed := checkedPlan(t, job, "parts/000000.ds/"+file); r.OK || !blamed {
		t.Errorf("damaged: %+v", r)
	}
	if err := os.Remove(filepath.Join(part, "dataset.json")); err != nil {
		t.Fatal(err)
	}
	if r, _ := checkedPlan(t, job, ""); !r.OK || len(r.Notes) != 1 || !strings.Contains(r.Notes[0], "unfinished") {
		t.Errorf("unfinished: %+v", r)
	}
}
