package store

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"facepipe/internal/durable"
	"facepipe/internal/powerloss"
)

// twoTeachers is a dataset with the caches r50 and spare.
func twoTeachers(t testing.TB) string {
	t.Helper()
	dir := buildDataset(t, 20, 8)
	d := mustOpen(t, dir)
	info := testTeacher(FP16, true)
	embed(t, d, info, -1, nil)
	info.Name = "spare"
	embed(t, d, info, -1, nil)
	return dir
}

func TestDropTeacher(t *testing.T) {
	dir := twoTeachers(t)
	before := contents(t, dir)
	dry, err := DropTeacher(dir, "r50", true)
	if err != nil || !dry.DryRun || dry.ModelFile != "r50.onnx" || dry.Fingerprint != "fp-fp16" {
		t.Errorf("dry run: %+v, %v", dry, err)
	}
	if after := contents(t, dir); len(after) != len(before) {
		t.Errorf("a dry run left %d files of %d", len(after), len(before))
	}
	r, err := DropTeacher(dir, "r50", false)
	if err != nil || r.Files != 8 || r.Bytes != dry.Bytes || r.Files != dry.Files || r.DryRun { // teacher.json, 3 shards, their manifests, lock
		t.Errorf("%+v, %v", r, err)
	}
	after := contents(t, dir)
	for name := range before {
		if _, there := after[name]; there == strings.HasPrefix(name, "teachers/r50/") {
			t.Errorf("%s: still there: %t", name, there)
		}
	}
	if list, err := ListTeachers(dir); err != nil || len(list) != 1 || list[0].Name != "spare" || list[0].Rows != 20 || list[0].Missing != 0 || list[0].Digest == "" {
		t.Errorf("teachers are %+v, %v", list, err)
	}
	if r := cleanCheck(t, dir); len(r.Notes) > 0 {
		t.Errorf("notes %q", r.Notes)
	}
	for _, name := range []string{"r50", "", "..", "../crops", ".lock"} {
		if _, err := DropTeacher(dir, name, false); !errors.Is(err, ErrNotFound) {
			t.Errorf("drop %q: %v", name, err)
		}
	}
	if _, err := DropTeacher(t.TempDir(), "r50", false); !errors.Is(err, ErrNotFound) {
		t.Errorf("of no dataset: %v", err)
	}
	// The name is free.
	other := testTeacher(FP32, false)
	embed(t, mustOpen(t, dir), other, -1, nil)
	cleanCheck(t, dir)
}

func TestDropWhileWritten(t *testing.T) {
	dir := twoTeachers(t)
	w, err := mustOpen(t, dir).CreateTeacher(testTeacher(FP16, true))
	if err != nil {
		t.Fatal(err)
	}
	before := contents(t, dir)
	if _, err := DropTeacher(dir, "r50", false); !errors.Is(err, ErrLocked) {
		t.Errorf("while it is written: %v", err)
	}
	if after := contents(t, dir); len(after) != len(before) {
		t.Errorf("%d files of %d", len(after), len(before))
	}
	mustClose(t, w)
	if _, err := DropTeacher(dir, "r50", false); err != nil {
		t.Error(err)
	}
}

// A cache that cannot be read can be dropped.
func TestDropDamaged(t *testing.T) {
	for _, file := range []string{teacherFile, arrowName(1), manifestName(0)} {
		dir := twoTeachers(t)
		truncate(t, filepath.Join(dir, teachersFolder, "r50", file))
		if _, err := DropTeacher(dir, "r50", false); err != nil {
			t.Errorf("%s: %v", file, err)
		}
		cleanCheck(t, dir)
	}
}

// Whoever has a shard open reads on.
func TestDropUnderAReader(t *testing.T) {
	dir := twoTeachers(t)
	teacher := mustTeacher(t, mustOpen(t, dir), "r50")
	s, err := teacher.Shard(0)
	if err != nil {
		t.Fatal(err)
	}
	defer mustClose(t, s)
	if _, err := DropTeacher(dir, "r50", false); err != nil {
		t.Fatal(err)
	}
	e := make([]float32, 24)
	if _, valid, err := s.Row(7, true, e); err != nil || !valid {
		t.Errorf("open shard: %v", err)
	}
	if _, err := teacher.Shard(1); !errors.Is(err, ErrDamaged) {
		t.Errorf("another shard: %v", err)
	}
}

// A kill at any moment, and a loss of power, leave the whole cache or none, and the same
// command goes on.
func TestDropInterrupted(t *testing.T) {
	whole := twoTeachers(t)
	without := filepath.Join(t.TempDir(), "without.ds")
	if err := os.CopyFS(without, os.DirFS(whole)); err != nil {
		t.Fatal(err)
	}
	if _, err := DropTeacher(without, "r50", false); err != nil {
		t.Fatal(err)
	}
	root := memoryDir(t)
	dir := filepath.Join(root, "faces.ds")
	if err := os.CopyFS(dir, os.DirFS(whole)); err != nil {
		t.Fatal(err)
	}
	disk, err := powerloss.Watch(root)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := dropTeacher(durable.Disk{FS: disk}, dir, "r50", false); err != nil {
		t.Fatal(err)
	}
	h := disk.History()
	rng := rand.New(rand.NewPCG(1, 1))
	outcomes := map[bool]int{}
	for n := range h.Len() + 1 {
		for _, s := range h.After(n).States(16, rng) {
			after := memoryDir(t)
			if err := s.Write(after); err != nil {
				t.Fatal(err)
			}
			gone, err := dropAgain(t, filepath.Join(after, "faces.ds"))
			if err != nil {
				t.Fatalf("power lost after call %d of %d: %v", n, h.Len(), err)
			}
			outcomes[gone]++
			sameContents(t, filepath.Join(after, "faces.ds"), without)
			if err := os.RemoveAll(after); err != nil {
				t.Fatal(err)
			}
		}
	}
	if outcomes[true] == 0 || outcomes[false] == 0 {
		t.Errorf("the cache was gone in %d states, there in %d", outcomes[true], outcomes[false])
	}
}

// dropAgain judges what an interrupted drop left and runs it again.
func dropAgain(t *testing.T, dir string) (gone bool, err error) {
	t.Helper()
	d := mustOpen(t, dir)
	cache, err := d.OpenTeacher("r50")
	gone = errors.Is(err, ErrNotFound)
	if err != nil && !gone {
		return gone, err
	}
	if !gone {
		if _, err := cache.Digest(); err != nil {
			return gone, err
		}
	}
	if r, err := Check(t.Context(), dir, CheckOptions{ReadData: true}); err != nil || !r.OK {
		return gone, fmt.Errorf("check: %+v, %w", r.Problems, err)
	}
	if _, err := DropTeacher(dir, "r50", false); err != nil && !(gone && errors.Is(err, ErrNotFound)) {
		return gone, err
	}
	return gone, nil
}
