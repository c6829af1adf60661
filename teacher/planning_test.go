package teacher_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"facepipe/internal/embed"
	"facepipe/internal/ort"
	"facepipe/internal/worker"
	"facepipe/store"
	"facepipe/teacher"
)

// plannedCacheOf makes a plan, which must succeed, and returns what it says of the cache.
func plannedCacheOf(t *testing.T, o teacher.Options) (dir string, info store.TeacherInfo) {
	t.Helper()
	dir = filepath.Join(t.TempDir(), "job")
	if _, err := teacher.MakePlan(t.Context(), o, dir); err != nil {
		t.Fatal(err)
	}
	p, _, err := store.ReadPlan(dir)
	if err != nil {
		t.Fatal(err)
	}
	return dir, *p.Teacher
}

// What is to run on a GPU, with its half precision and its batches, is planned without
// one: the plan is the same as far as the result is.
func TestPlanWithoutTheProvider(t *testing.T) {
	o := teacher.Options{Dataset: dataset(t, upTo(8)...), Model: tiny(t, nil), Flip: true}
	_, want := plannedCacheOf(t, o)
	o.Batch, o.Devices = 4096, []int{0, 3}
	o.Runtime = ort.Options{Provider: "cuda"}
	if _, got := plannedCacheOf(t, o); got.Fingerprint != want.Fingerprint {
		t.Errorf("planned for CUDA the fingerprint is %s, for the processor %s", got.Fingerprint, want.Fingerprint)
	}
	model, err := embed.Open(o.Model, embed.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer model.Close()
	o.Runtime = ort.Options{Provider: "tensorrt", Half: true}
	dir, half := plannedCacheOf(t, o)
	if half.Fingerprint != model.Fingerprint(true, store.FP16, true) || half.Fingerprint == want.Fingerprint {
		t.Errorf("planned in half precision the fingerprint is %s", half.Fingerprint)
	}
	// The plan is what tells a worker to compute in half precision, which this one cannot.
	_, err = teacher.Work(t.Context(), dir, worker.Worker{Count: 1}, teacher.Options{})
	if err == nil || !strings.Contains(err.Error(), "half precision") {
		t.Errorf("a worker on the processor: %v", err)
	}
}

func TestPlanOfWhatNoMachineRuns(t *testing.T) {
	data, model := dataset(t, upTo(8)...), tiny(t, nil)
	for say, c := range map[string]struct {
		runtime ort.Options
		devices []int
	}{
		"does not run in half precision": {ort.Options{Provider: "cuda", Half: true}, nil},
		"provider cpu has no device 1":   {ort.Options{}, []int{0, 1}},
		"provider cuda has no device -1": {ort.Options{Provider: "cuda"}, []int{-1}},
		`provider "abacus" is none of`:   {ort.Options{Provider: "abacus"}, nil},
	} {
		dir := filepath.Join(t.TempDir(), "job")
		_, err := teacher.MakePlan(t.Context(), teacher.Options{Dataset: data, Model: model, Runtime: c.runtime, Devices: c.devices}, dir)
		if err == nil || !strings.Contains(err.Error(), say) {
			t.Errorf("%s: %v", say, err)
		}
		if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s: there is a plan: %v", say, err)
		}
	}
}

// Workers copy what other datasets have; one that cannot be is found out by the plan.
func TestPlanWithReuse(t *testing.T) {
	o := teacher.Options{Dataset: dataset(t, upTo(8)...), Model: tiny(t, nil)}
	precompute(t, o)
	donor := o.Dataset
	o.Dataset, o.Reuse = dataset(t, 2, 3, 90), []string{donor}
	dir, _ := plannedCacheOf(t, o)
	s, err := teacher.Work(t.Context(), dir, worker.Worker{Count: 1}, teacher.Options{Reuse: o.Reuse})
	if err != nil || s.Copied != 2 || s.Computed != 1 {
		t.Errorf("the worker did %+v, %v", s, err)
	}
	o.Reuse = []string{filepath.Join(t.TempDir(), "none.ds")}
	if _, err := teacher.MakePlan(t.Context(), o, dir); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("a dataset to reuse that is not there: %v", err)
	}
}
