package ingest_test

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"facepipe/ingest"
	"facepipe/internal/imgcodec"
	"facepipe/internal/worker"
	"facepipe/store"
)

// untidy are aligned crops of some people, with twins under other names, in other tasks and
// in the same, and files that are no crops.
func untidy(t *testing.T) string {
	t.Helper()
	files := map[string][]byte{}
	for i := range 14 {
		crop := imgcodec.EncodePNG(photo(uint64(i/7*7+i%5), 112, 112, 8, 8))
		files[fmt.Sprintf("person_%d/%02d.png", i/4, i)] = crop
		if i%5 == 3 {
			files[fmt.Sprintf("person_%d/%02d.jpg", i/4, i)] = []byte("no picture")
			files[fmt.Sprintf("rare_%d/small.png", i)] = imgcodec.EncodePNG(photo(uint64(i), 40, 40, 8, 8))
		}
	}
	return folder(t, files)
}

// clashing has the keys of untidy with other pixels, and pictures where that has none.
func clashing(t *testing.T) string {
	t.Helper()
	files := map[string][]byte{}
	for i := range 14 {
		files[fmt.Sprintf("person_%d/%02d.png", i/4, i)] = imgcodec.EncodePNG(photo(uint64(50+i), 112, 112, 8, 8))
		files[fmt.Sprintf("person_%d/%02d.jpg", i/4, i)] = imgcodec.EncodePNG(photo(uint64(80+i), 112, 112, 8, 8))
	}
	return folder(t, files)
}

// However a plan is shared out, the merged dataset is that of one process, to the byte.
func TestPlanGivesTheSameDataset(t *testing.T) {
	for name, o := range map[string]ingest.Options{
		"untidy":        {Sources: []string{"folder=" + untidy(t)}, MaxRejectRate: 1, ShardRows: 4},
		"prefixes":      {Sources: []string{"folder=" + untidy(t), "folder=" + untidy(t)}, KeyPrefixes: []string{"a/", "b/"}, MaxRejectRate: 1, ShardRows: 5},
		"one key twice": {Sources: []string{"folder=" + untidy(t), "folder=" + clashing(t)}, MaxRejectRate: 1, ShardRows: 4},
		"min images":    {Sources: []string{"folder=" + untidy(t)}, MinImages: 2, Split: "train=0.5,val=0.5", MaxRejectRate: 1},
		"raw":           {Sources: []string{"folder=" + untidy(t)}, Store: ingest.StoreRaw, MaxRejectRate: 1},
		"all faces":     {Sources: []string{"folder=" + groups(t)}, Detector: detector(t), Faces: ingest.FacesAll, Split: "train=0.5,val=0.5", ShardRows: 6, MaxRejectRate: 1},
		"one face":      {Sources: []string{"folder=" + groups(t)}, Detector: detector(t), Faces: ingest.FacesOne, MaxRejectRate: 1},
	} {
		o.Out = filepath.Join(t.TempDir(), "whole.ds")
		mustRun(t, o)
		want := tree(t, o.Out)
		o.Out = filepath.Join(t.TempDir(), "faces.ds")
		job := filepath.Join(t.TempDir(), "job")
		perTask := 3
		if name == "one key twice" {
			perTask = 20 // both in one task
		}
		p, err := ingest.MakePlan(t.Context(), o, job, perTask)
		if err != nil {
			t.Fatal(err)
		}
		again, err := ingest.MakePlan(t.Context(), o, job, perTask)
		if err != nil || again != p || p.Tasks < 2 {
			t.Fatalf("%s: %+v, then %+v, %v", name, p, again, err)
		}
		for i := range 2 {
			if _, err := ingest.Work(t.Context(), job, worker.Worker{Index: i, Count: 2}, ingest.Options{Workers: 2}); err != nil {
				t.Fatal(err)
			}
		}
		s, err := ingest.MergePlan(t.Context(), job, ingest.MergeOptions{Options: ingest.Options{MaxRejectRate: 1}})
		if err != nil {
			t.Fatal(err)
		}
		if got := tree(t, s.Dataset); !maps.Equal(got, want) {
			t.Errorf("%s: the merged dataset is another: %+v", name, s)
		}
	}
}

// A plan holds what a manifest says of its photographs, not only which there are.
func TestPlanNoticesAnotherManifest(t *testing.T) {
	root := untidy(t)
	list := filepath.Join(root, "faces.csv")
	write := func(rows string) {
		t.Helper()
		if err := os.WriteFile(list, []byte("path,identity,split,box,landmarks\n"+rows), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	const row = "person_0/00.png,Ann,train,1 2 30 40,10 10 20 10 15 15 11 20 19 20\n"
	write(row)
	o := ingest.Options{Sources: []string{"manifest=" + list}, Out: filepath.Join(t.TempDir(), "faces.ds"), MaxRejectRate: 1}
	job := filepath.Join(t.TempDir(), "job")
	if _, err := ingest.MakePlan(t.Context(), o, job, 8); err != nil {
		t.Fatal(err)
	}
	for _, change := range []struct{ from, to string }{{"Ann", "Bob"}, {"train", "val"}, {"1 2 30 40", "1 2 30 41"}, {"10 10 20", "10 11 20"}} {
		write(strings.Replace(row, change.from, change.to, 1))
		if _, err := ingest.Work(t.Context(), job, worker.Worker{Count: 1}, ingest.Options{}); !errors.Is(err, store.ErrPlan) {
			t.Errorf("%s instead of %s: %v", change.to, change.from, err)
		}
	}
	write(row)
	if _, err := ingest.Work(t.Context(), job, worker.Worker{Count: 1}, ingest.Options{}); err != nil {
		t.Error(err)
	}
}

func TestPlanRefuses(t *testing.T) {
	root := untidy(t)
	o := ingest.Options{Sources: []string{"folder=" + root}, Out: filepath.Join(t.TempDir(), "faces.ds"), MaxRejectRate: 1}
	job := filepath.Join(t.TempDir(), "job")
	if _, err := ingest.MakePlan(t.Context(), o, job, 8); err != nil {
		t.Fatal(err)
	}
	if _, err := ingest.MakePlan(t.Context(), o, job, 9); !errors.Is(err, store.ErrPlan) {
		t.Errorf("another plan: %v", err)
	}
	one := worker.Worker{Index: 0, Count: 2}
	done, err := ingest.Work(t.Context(), job, one, ingest.Options{})
	if err != nil || done.Done != done.Tasks || done.Tasks == 0 {
		t.Fatalf("%+v, %v", done, err)
	}
	if again, err := ingest.Work(t.Context(), job, one, ingest.Options{}); err != nil || again.Done != 0 || again.Reused != done.Tasks {
		t.Errorf("again: %+v, %v", again, err)
	}
	merge := func() error {
		_, err := ingest.MergePlan(t.Context(), job, ingest.MergeOptions{Options: ingest.Options{MaxRejectRate: 1}})
		return err
	}
	if err := merge(); !errors.Is(err, store.ErrNotFound) || !strings.Contains(err.Error(), "part 1") || strings.Contains(err.Error(), "part 0") {
		t.Errorf("a merge that comes too early: %v", err)
	}
	if _, err := store.Open(o.Out); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("it left a dataset: %v", err)
	}
	if _, err := ingest.Work(t.Context(), job, worker.Worker{Index: 1, Count: 2}, ingest.Options{}); err != nil {
		t.Fatal(err)
	}
	crops := filepath.Join(job, "parts", "000000.ds", "crops", "000000.arrow")
	data, err := os.ReadFile(crops)
	if err != nil {
		t.Fatal(err)
	}
	overwrite := func(data []byte) {
		if err := errors.Join(os.Chmod(crops, 0o644), os.WriteFile(crops, data, 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	bent := append([]byte(nil), data...)
	bent[len(bent)/2] ^= 1
	overwrite(bent)
	if err := merge(); !errors.Is(err, store.ErrDamaged) || !strings.Contains(err.Error(), "000000.ds") {
		t.Errorf("a damaged part: %v", err)
	}
	overwrite(data)
	if err := os.Mkdir(filepath.Join(job, "parts", "000099.ds"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := merge(); err == nil || !strings.Contains(err.Error(), "000099.ds is of no task") {
		t.Errorf("a part of no task: %v", err)
	}
	if err := os.Remove(filepath.Join(job, "parts", "000099.ds")); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(root, "new.png"), imgcodec.EncodePNG(photo(99, 112, 112, 8, 8)), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := merge(); !errors.Is(err, store.ErrPlan) || !strings.Contains(err.Error(), "hold something else") {
		t.Errorf("a photograph more: %v", err)
	}
	if err := os.Remove(filepath.Join(root, "new.png")); err != nil {
		t.Fatal(err)
	}
	if err := merge(); err != nil {
		t.Error(err)
	}
}
