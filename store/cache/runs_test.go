package cache_test

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"facepipe/internal/durable"
	"facepipe/internal/powerloss"
	"facepipe/store"
	"facepipe/store/cache"
	"facepipe/store/check"
	"facepipe/store/info"
	"facepipe/store/merge"
	"facepipe/store/storetest"
)

var update = flag.Bool("update", false, "write golden files anew")

// testRun is the record of a run of some hour.
func testRun(hour int) cache.Run {
	return cache.Run{
		Begun: time.Date(2026, 1, 2, hour, 4, 5, 678, time.UTC), Ended: cache.RunStopped,
		Pipe: "1.2.3", Runtime: "1.24.3", Provider: "cuda", Devices: []int{0, 2}, Half: true, Fallback: true, Batch: 64, Decoder: "go",
		Plan: "p1", Worker: "0/2", Shards: 2, Computed: 10 + hour, Copied: 3, CopiedFrom: []cache.Donor{{Dataset: "other.ds", Teacher: "r50", Copied: 3}},
		Seconds: 4.5, CPUSeconds: 7.25, DeviceSeconds: 2.5,
		Stages:   cache.Stages{Open: 1, SelfTest: 2, Read: 3, Decode: 4, Normalise: 5, Infer: 6, Wait: 7, Write: 8, Commit: 9},
		SelfTest: &cache.SelfTestVerdict{Crops: 96, Contract: "BGR raw", Separation: 2.5, AUC: 0.75, Better: "RGB raw"},
		Drift:    &cache.Drift{Embeddings: 5, MinCosine: 0.5, MeanCosine: 0.75},
	}
}

// record adds records to the cache r50 of a dataset.
func record(t testing.TB, dir string, runs ...cache.Run) {
	t.Helper()
	w, err := cache.Create(storetest.Open(t, dir), storetest.Info(cache.FP16, true))
	if err != nil {
		t.Fatal(err)
	}
	defer storetest.Close(t, w)
	for _, r := range runs {
		if err := w.RecordRun(r); err != nil {
			t.Fatal(err)
		}
	}
}

// recorded12 is a dataset of 12 crops with a cache and the records of three runs.
func recorded12(t testing.TB) string {
	t.Helper()
	dir := storetest.Build(t, 12, 8)
	storetest.Embed(t, storetest.Open(t, dir), storetest.Info(cache.FP16, true), -1, nil)
	record(t, dir, testRun(7), testRun(3), testRun(5))
	return dir
}

func runFiles(t testing.TB, dir string) []string {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(cache.RunsFolder(filepath.Join(dir, "teachers/r50")), "*"))
	if err != nil {
		t.Fatal(err)
	}
	return paths
}

func TestRuns(t *testing.T) {
	dir := storetest.Build(t, 12, 8)
	storetest.Embed(t, storetest.Open(t, dir), storetest.Info(cache.FP16, true), -1, nil)
	before, err := info.Caches(dir)
	if err != nil || before[0].Runs != (cache.RunTotals{}) {
		t.Fatalf("without records: %+v, %v", before, err)
	}
	record(t, dir, testRun(7), testRun(3), testRun(5), testRun(3)) // the last is there already
	runs, err := storetest.Cache(t, storetest.Open(t, dir), "r50").Runs()
	if want := []cache.Run{testRun(3), testRun(5), testRun(7)}; err != nil || !reflect.DeepEqual(runs, want) {
		t.Errorf("read\n%+v, %v, want\n%+v", runs, err, want)
	}
	after, err := info.Caches(dir)
	if want := (cache.RunTotals{Runs: 3, Computed: 45, Copied: 9, Seconds: 13.5, CPUSeconds: 21.75, DeviceSeconds: 7.5}); err != nil || after[0].Runs != want {
		t.Errorf("in all %+v, %v, want %+v", after, err, want)
	}
	if before[0].Digest == "" || after[0].Digest != before[0].Digest {
		t.Errorf("the digest was %s and is %s", before[0].Digest, after[0].Digest)
	}
	if r := storetest.CleanCheck(t, dir); len(r.Notes) > 0 {
		t.Errorf("notes %q", r.Notes)
	}
}

// A record is written today as the golden file has it.
func TestGoldenRun(t *testing.T) {
	dir := t.TempDir()
	if err := cache.RecordRun(dir, "fp-fp16", testRun(3)); err != nil {
		t.Fatal(err)
	}
	files, err := os.ReadDir(dir)
	if err != nil || len(files) != 1 {
		t.Fatalf("%q, %v", files, err)
	}
	name := files[0].Name()
	data, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		t.Fatal(err)
	}
	storetest.Golden(t, "../testdata/run.json", append([]byte(name+"\n"), data...), *update)
}

func TestDamagedRun(t *testing.T) {
	for name, hurt := range map[string]func(path string){
		"flipped":   func(path string) { storetest.FlipBit(t, path, 400) },
		"truncated": func(path string) { storetest.Truncate(t, path) },
		"renamed": func(path string) {
			if err := os.Rename(path, filepath.Join(filepath.Dir(path), "0123456789abcdef.json")); err != nil {
				t.Fatal(err)
			}
		},
		"another teacher's": func(path string) {
			if err := os.Remove(path); err != nil {
				t.Fatal(err)
			}
			if err := cache.RecordRun(filepath.Dir(path), "another", testRun(1)); err != nil {
				t.Fatal(err)
			}
		},
	} {
		dir := recorded12(t)
		hurt(runFiles(t, dir)[1])
		r, err := check.Run(t.Context(), dir, check.Options{})
		if err != nil || len(r.Problems) != 1 || !strings.HasPrefix(r.Problems[0].File, "teachers/r50/runs/") {
			t.Errorf("%s: check says %+v, %v", name, r, err)
		}
		if _, err := info.Caches(dir); !errors.Is(err, store.ErrDamaged) {
			t.Errorf("%s: listing it: %v", name, err)
		}
		// What is embedded is not concerned.
		if _, err := storetest.Cache(t, storetest.Open(t, dir), "r50").Digest(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	dir := recorded12(t)
	storetest.Rewrite(t, runFiles(t, dir)[0], func(data []byte) []byte {
		return storetest.Reseal(bytes.Replace(data, []byte(`"version": 1`), []byte(`"version": 2`), 1))
	})
	if _, err := info.Caches(dir); !errors.Is(err, store.ErrVersion) {
		t.Errorf("of a later version: %v", err)
	}
}

// Other files may lie beside records; what a killed run left is noted, and removed by the
// next.
func TestRemainsOfRuns(t *testing.T) {
	dir := recorded12(t)
	folder := filepath.Dir(runFiles(t, dir)[0])
	for _, name := range []string{durable.TempPrefix + "1", "notes.txt", "12.json"} {
		if err := os.WriteFile(filepath.Join(folder, name), []byte("{"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if r := storetest.CleanCheck(t, dir); len(r.Notes) != 1 || !strings.Contains(r.Notes[0], "runs/"+durable.TempPrefix+"1") {
		t.Errorf("notes %q", r.Notes)
	}
	record(t, dir)
	if r := storetest.CleanCheck(t, dir); len(r.Notes) > 0 || len(runFiles(t, dir)) != 5 {
		t.Errorf("notes %q, files %q", r.Notes, runFiles(t, dir))
	}
}

// Records of a plan's workers are taken over once, or not at all.
func TestAdoptRuns(t *testing.T) {
	dir, plan := recorded12(t), cache.RunsFolder(t.TempDir())
	adopt := func() (cache.RunTotals, error) {
		t.Helper()
		w, err := cache.Create(storetest.Open(t, dir), storetest.Info(cache.FP16, true))
		if err != nil {
			t.Fatal(err)
		}
		defer storetest.Close(t, w)
		return w.AdoptRuns(plan)
	}
	if sum, err := adopt(); err != nil || sum != (cache.RunTotals{}) {
		t.Errorf("of no folder: %+v, %v", sum, err)
	}
	for _, hour := range []int{9, 10} {
		if err := cache.RecordRun(plan, "fp-fp16", testRun(hour)); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 {
		if sum, err := adopt(); err != nil || sum.Runs != 2 || sum.Computed != 39 {
			t.Errorf("%+v, %v", sum, err)
		}
		if len(runFiles(t, dir)) != 5 {
			t.Errorf("records are %q", runFiles(t, dir))
		}
	}
	if err := cache.RecordRun(plan, "another", testRun(11)); err != nil {
		t.Fatal(err)
	}
	if err := cache.RecordRun(plan, "fp-fp16", testRun(12)); err != nil {
		t.Fatal(err)
	}
	if _, err := adopt(); !errors.Is(err, store.ErrDamaged) || len(runFiles(t, dir)) != 5 {
		t.Errorf("one of another teacher: %v, %q", err, runFiles(t, dir))
	}
}

func mustMerge(t *testing.T, out string, inputs ...string) {
	t.Helper()
	o := merge.Options{ShardRows: 4, MaxRejectRate: 1, Logger: storetest.Quiet}
	if _, err := merge.Datasets(t.Context(), out, inputs, o); err != nil {
		t.Fatal(err)
	}
	storetest.CleanCheck(t, out)
}

// A merged cache has the records of all that its embeddings come from, each once.
func TestMergeRuns(t *testing.T) {
	a, b, c := recorded12(t), storetest.Build(t, 20, 8), storetest.Build(t, 20, 8)
	teacher := storetest.Info(cache.FP16, true)
	storetest.Embed(t, storetest.Open(t, b), teacher, -1, nil)
	record(t, b, testRun(3), testRun(11)) // the first is one of a's
	out := filepath.Join(storetest.MemoryDir(t), "out")
	mustMerge(t, out, a, b)
	runs, err := storetest.Cache(t, storetest.Open(t, out), "r50").Runs()
	if want := []cache.Run{testRun(3), testRun(5), testRun(7), testRun(11)}; err != nil || !reflect.DeepEqual(runs, want) {
		t.Errorf("%+v, %v", runs, err)
	}
	// Of a cache that has nothing to give, not its records either.
	storetest.Embed(t, storetest.Open(t, c), teacher, 0, nil)
	record(t, c, testRun(1))
	none := filepath.Join(storetest.MemoryDir(t), "none")
	mustMerge(t, none, c)
	if files := runFiles(t, none); len(files) > 0 {
		t.Errorf("records of nothing: %q", files)
	}
}

func TestDropWithRuns(t *testing.T) {
	dir := recorded12(t)
	if r, err := cache.Drop(dir, "r50", false); err != nil || r.Files != 9 { // teacher.json, 2 shards, their manifests, lock, records
		t.Errorf("%+v, %v", r, err)
	}
	if files := runFiles(t, dir); len(files) > 0 {
		t.Errorf("left %q", files)
	}
	storetest.CleanCheck(t, dir)
}

// Power that is lost at any moment while a run is recorded leaves the record, or none.
func TestPowerLossOfRuns(t *testing.T) {
	root := storetest.MemoryDir(t)
	dir := filepath.Join(root, "faces.ds")
	whole := storetest.Build(t, 4, 8)
	storetest.Embed(t, storetest.Open(t, whole), storetest.Info(cache.FP16, true), -1, nil)
	if err := os.CopyFS(dir, os.DirFS(whole)); err != nil {
		t.Fatal(err)
	}
	disk, err := powerloss.Watch(root)
	if err != nil {
		t.Fatal(err)
	}
	w, err := cache.Create(storetest.OpenOn(t, dir, durable.Disk{FS: disk}), storetest.Info(cache.FP16, true))
	if err != nil {
		t.Fatal(err)
	}
	defer storetest.Close(t, w)
	kept := []int{} // calls after which so many records are there for good
	for hour := range 2 {
		if err := w.RecordRun(testRun(hour)); err != nil {
			t.Fatal(err)
		}
		kept = append(kept, disk.History().Len())
	}
	h := disk.History()
	rng := rand.New(rand.NewPCG(1, 1))
	for n := range h.Len() + 1 {
		least := 0
		for _, calls := range kept {
			if n >= calls {
				least++
			}
		}
		for _, s := range h.After(n).States(16, rng) {
			after := storetest.MemoryDir(t)
			if err := s.Write(after); err != nil {
				t.Fatal(err)
			}
			if err := survived(filepath.Join(after, "faces.ds"), least); err != nil {
				t.Fatalf("power lost after call %d of %d (%s): %v", n, h.Len(), h.Describe(max(0, n-1)), err)
			}
			if err := os.RemoveAll(after); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// survived wants a dataset without damage that has that many records at least.
func survived(dir string, least int) error {
	states, err := info.Caches(dir, store.WithLogger(storetest.Quiet))
	if err != nil {
		return err
	}
	if states[0].Runs.Runs < least {
		return fmt.Errorf("%d records of %d", states[0].Runs.Runs, least)
	}
	return nil
}
