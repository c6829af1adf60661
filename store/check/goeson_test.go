package check_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"facepipe/store"
	"facepipe/store/cache"
	"facepipe/store/check"
	"facepipe/store/derived"
	"facepipe/store/storetest"
)

// full makes a dataset with all that can lie in one.
func full(t *testing.T) (dir string) {
	t.Helper()
	dir = storetest.Build(t, 30, 8)
	d := storetest.Open(t, dir)
	storetest.Embed(t, d, storetest.Info(cache.FP16, true), -1, nil)
	w, err := cache.Create(d, storetest.Info(cache.FP16, true))
	if err != nil {
		t.Fatal(err)
	}
	if err := w.RecordRun(cache.Run{Ended: cache.RunDone}); err != nil {
		t.Fatal(err)
	}
	storetest.Close(t, w)
	if _, err := derived.DeriveCentres(t.Context(), dir, "r50", derived.CentresOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := derived.DeriveNeighbours(t.Context(), dir, "r50", derived.NeighboursOptions{K: 3}); err != nil {
		t.Fatal(err)
	}
	importClassifier(t, d)
	storetest.CleanCheck(t, dir)
	return dir
}

func importClassifier(t *testing.T, d *store.Dataset) {
	t.Helper()
	teacher := storetest.Cache(t, d, "r50")
	w, err := derived.CreateClassifier(teacher, derived.ClassifierInfo{Origin: "weight.npy", OriginDigest: "d1", DType: "float32"}, true)
	if err != nil {
		t.Fatal(err)
	}
	weights := make([]float32, teacher.Info().Dim)
	weights[0] = 1
	if err := errors.Join(w.Append("person_0", weights), w.Commit()); err != nil {
		t.Fatal(err)
	}
}

// filesOf are the files of a dataset, but for locks and what Badger keeps.
func filesOf(t *testing.T, dir string) (names []string) {
	t.Helper()
	err := fs.WalkDir(os.DirFS(dir), ".", func(name string, e fs.DirEntry, err error) error {
		if err == nil && !e.IsDir() && !strings.Contains(name, ".lock") && (!strings.HasPrefix(name, "index/") || strings.HasSuffix(name, ".json")) {
			names = append(names, name)
		}
		return err
	})
	if err != nil || len(names) < 20 {
		t.Fatalf("%q, %v", names, err)
	}
	return names
}

// Whatever lies in a file's place, check says so, and goes on to what else is wrong.
func TestCheckGoesOnOverWhatCannotBeRead(t *testing.T) {
	whole := full(t)
	other := func(name string) string {
		if strings.HasPrefix(name, "teachers/") || strings.HasPrefix(name, "index/") {
			return "crops/000002.arrow"
		}
		if name == "crops/000001.json" { // without it nothing can be told of its embeddings
			return "teachers/r50/000002.arrow"
		}
		return "teachers/r50/000001.arrow"
	}
	for what, put := range map[string]func(path string) error{
		"a folder": func(path string) error { return os.Mkdir(path, 0o755) },
		"a pipe":   func(path string) error { return unix.Mkfifo(path, 0o644) },
		"a link":   func(path string) error { return os.Symlink("/etc/hostname", path) },
		"a device": func(path string) error { return os.Symlink("/dev/zero", path) },
		"unreadable": func(path string) error {
			if os.Getuid() == 0 { // who may read everything
				return unix.Mkfifo(path, 0)
			}
			return os.WriteFile(path, nil, 0)
		},
	} {
		for _, name := range filesOf(t, whole) {
			dir := filepath.Join(storetest.MemoryDir(t), "d")
			if err := os.CopyFS(dir, os.DirFS(whole)); err != nil {
				t.Fatal(err)
			}
			if err := errors.Join(os.Remove(filepath.Join(dir, name)), put(filepath.Join(dir, name))); err != nil {
				t.Fatal(err)
			}
			storetest.Truncate(t, filepath.Join(dir, other(name)))
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			r, err := check.Run(ctx, dir, check.Options{ReadData: true})
			cancel()
			files := []string{}
			for _, p := range r.Problems {
				files = append(files, p.File)
			}
			// Crops that are damaged leave nothing to compare the rest with.
			silent := strings.HasPrefix(other(name), "crops/") && (strings.HasPrefix(name, "index/") || strings.Count(name, "/") > 2 && !strings.Contains(name, "/runs/"))
			if err != nil || r.OK || !slices.Contains(files, name) && !silent || name != "dataset.json" && !slices.Contains(files, other(name)) {
				t.Errorf("%s for %s: %+v, %v", what, name, r.Problems, err)
			}
			if err := os.RemoveAll(dir); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// A table without what describes it, and the reverse, is named; where no interruption can have left
// it, and nothing makes it anew by itself, as damage.
func TestCheckNamesOrphans(t *testing.T) {
	whole := full(t)
	for name, c := range map[string]struct {
		remove string // a pattern
		file   string // of the problem, "" for a note
		says   string
	}{
		"a crop shard's manifest":      {"crops/000001.json", "crops/000001.json", "missing"},
		"a crop shard's table":         {"crops/000001.arrow", "crops/000001.arrow", "missing"},
		"a shard's manifest":           {"teachers/r50/000001.json", "teachers/r50/000001.json", "missing, though 000001.arrow is there"},
		"the last shard's manifest":    {"teachers/r50/000003.json", "teachers/r50/000003.json", "missing, though 000003.arrow is there"},
		"a shard's table":              {"teachers/r50/000001.arrow", "teachers/r50/000001.arrow", "missing"},
		"what the cache is":            {"teachers/r50/teacher.json", "teachers/r50/teacher.json", "missing, though there is more of the teacher"},
		"the classifier's manifest":    {"teachers/r50/classifier/classifier.json", "teachers/r50/classifier/classifier.json", "missing, though classifier-"},
		"the classifier's table":       {"teachers/r50/classifier/*.arrow", "teachers/r50/classifier/classifier-", "missing"},
		"the centres' manifest":        {"teachers/r50/centres/centres.json", "", "has no centres.json"},
		"the centres' table":           {"teachers/r50/centres/centres-*.arrow", "teachers/r50/centres/centres-", "missing"},
		"the qualities' table":         {"teachers/r50/centres/quality-*.arrow", "teachers/r50/centres/quality-", "missing"},
		"the neighbours' manifest":     {"teachers/r50/neighbours/neighbours.json", "", "has no neighbours.json"},
		"the neighbours' table":        {"teachers/r50/neighbours/*.arrow", "teachers/r50/neighbours/neighbours-", "missing"},
		"what the index is":            {"index/BUILT.json", "index/BUILT.json", "missing"},
		"the list of rejects":          {"rejects.jsonl", "rejects.jsonl", "missing"},
		"all but the teacher's tables": {"teachers/r50/*.json", "teachers/r50/teacher.json", "missing"},
	} {
		dir := storetest.Copy(t, whole)
		paths, err := filepath.Glob(filepath.Join(dir, c.remove))
		if err != nil || len(paths) == 0 {
			t.Fatalf("%s: %q, %v", name, paths, err)
		}
		for _, path := range paths {
			if err := os.Remove(path); err != nil {
				t.Fatal(err)
			}
		}
		for _, read := range []bool{false, true} {
			r, err := check.Run(t.Context(), dir, check.Options{ReadData: read})
			said := strings.Join(r.Notes, "\n")
			if c.file != "" {
				said = fmt.Sprint(r.Problems)
			}
			if err != nil || r.OK != (c.file == "") || !strings.Contains(said, c.says) || !strings.Contains(said, c.file) {
				t.Errorf("%s: %+v, %v", name, r, err)
			}
		}
	}
}

// What a kill leaves is no damage: the lock tells.
func TestCheckOfTheInterrupted(t *testing.T) {
	whole := full(t)
	for name, folder := range map[string]string{"000001.json": "teachers/r50", "classifier.json": "teachers/r50/classifier"} {
		dir := storetest.Copy(t, whole)
		at := filepath.Join(dir, folder)
		if err := errors.Join(os.Remove(filepath.Join(at, name)), os.WriteFile(filepath.Join(at, ".lock"), []byte("7@host\n"), 0o644)); err != nil {
			t.Fatal(err)
		}
		if r := storetest.CleanCheck(t, dir); len(r.Notes) == 0 || !strings.Contains(strings.Join(r.Notes, "\n"), "a run was interrupted") {
			t.Errorf("%s: %q", name, r.Notes)
		}
	}
}

// Embeddings of crops that the dataset does not know are named, and shards of an interrupted ingest
// looked at.
func TestCheckOfShardsBeyondTheDataset(t *testing.T) {
	dir := storetest.Build(t, 20, 8)
	old, err := os.ReadFile(filepath.Join(dir, "dataset.json"))
	if err != nil {
		t.Fatal(err)
	}
	w := storetest.Writer(t, dir, 8)
	storetest.Ingest(t, w, storetest.Source, 20, 45)
	storetest.Close(t, w)
	storetest.Embed(t, storetest.Open(t, dir), storetest.Info(cache.FP16, true), -1, nil)
	storetest.WriteText(t, filepath.Join(dir, "dataset.json"), string(old))
	if err := os.Remove(filepath.Join(dir, "crops/000004.json")); err != nil {
		t.Fatal(err)
	}
	storetest.FlipBit(t, filepath.Join(dir, "crops/000005.json"), 200)
	r, err := check.Run(t.Context(), dir, check.Options{})
	if err != nil {
		t.Fatal(err)
	}
	found := fmt.Sprint(r.Problems)
	for _, want := range []string{"crops/000004.json missing, though a later shard", "crops/000005.json ", "teachers/r50/000003.json is of crops that the dataset does not have"} {
		if !strings.Contains(found, want) {
			t.Errorf("%q is not in %s", want, found)
		}
	}
}

// What is no dataset is not a damaged one.
func TestCheckOfNoDataset(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	storetest.WriteText(t, file, "x")
	for _, path := range []string{file, filepath.Join(file, "below"), t.TempDir()} {
		if r, err := check.Run(t.Context(), path, check.Options{}); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("%s: %+v, %v", path, r, err)
		}
	}
}

// A folder's place that a file has taken keeps nothing else from being looked at.
func TestCheckGoesOnWithoutFolders(t *testing.T) {
	whole := full(t)
	for _, name := range []string{"teachers/r50/runs", "teachers/r50/centres", "teachers/r50/classifier"} {
		dir := storetest.Copy(t, whole)
		path := filepath.Join(dir, name)
		if err := errors.Join(os.RemoveAll(path), os.WriteFile(path, nil, 0o644)); err != nil {
			t.Fatal(err)
		}
		storetest.FlipBit(t, filepath.Join(dir, "rejects.jsonl"), 10)
		r, err := check.Run(t.Context(), dir, check.Options{})
		if found := fmt.Sprint(r.Problems); err != nil || !strings.Contains(found, name) || !strings.Contains(found, "rejects.jsonl") {
			t.Errorf("%s: %+v, %v", name, r, err)
		}
	}
}
