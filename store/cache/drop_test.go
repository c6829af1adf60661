package cache_test

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
	"facepipe/store"
	"facepipe/store/cache"
	"facepipe/store/check"
	"facepipe/store/info"
	"facepipe/store/internal/table"
	"facepipe/store/storetest"
)

// twoTeachers is a dataset with the caches r50 and spare.
func twoTeachers(t testing.TB) string {
	t.Helper()
	dir := storetest.Build(t, 20, 8)
	d := storetest.Open(t, dir)
	teacher := storetest.Info(cache.FP16, true)
	storetest.Embed(t, d, teacher, -1, nil)
	teacher.Name = "spare"
	storetest.Embed(t, d, teacher, -1, nil)
	return dir
}

func TestDropTeacher(t *testing.T) {
	dir := twoTeachers(t)
	before := storetest.Contents(t, dir)
	dry, err := cache.Drop(dir, "r50", true)
	if err != nil || !dry.DryRun || dry.ModelFile != "r50.onnx" || dry.Fingerprint != "fp-fp16" {
		t.Errorf("dry run: %+v, %v", dry, err)
	}
	if after := storetest.Contents(t, dir); len(after) != len(before) {
		t.Errorf("a dry run left %d files of %d", len(after), len(before))
	}
	r, err := cache.Drop(dir, "r50", false)
	if err != nil || r.Files != 8 || r.Bytes != dry.Bytes || r.Files != dry.Files || r.DryRun { // teacher.json, 3 shards, their manifests, lock
		t.Errorf("%+v, %v", r, err)
	}
	after := storetest.Contents(t, dir)
	for name := range before {
		if _, there := after[name]; there == strings.HasPrefix(name, "teachers/r50/") {
			t.Errorf("%s: still there: %t", name, there)
		}
	}
	if list, err := info.Caches(dir); err != nil || len(list) != 1 || list[0].Name != "spare" || list[0].Rows != 20 || list[0].Missing != 0 || list[0].Digest == "" {
		t.Errorf("teachers are %+v, %v", list, err)
	}
	if r := storetest.CleanCheck(t, dir); len(r.Notes) > 0 {
		t.Errorf("notes %q", r.Notes)
	}
	for _, name := range []string{"r50", "", "..", "../crops", ".lock"} {
		if _, err := cache.Drop(dir, name, false); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("drop %q: %v", name, err)
		}
	}
	if _, err := cache.Drop(t.TempDir(), "r50", false); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("of no dataset: %v", err)
	}
	// The name is free.
	other := storetest.Info(cache.FP32, false)
	storetest.Embed(t, storetest.Open(t, dir), other, -1, nil)
	storetest.CleanCheck(t, dir)
}

func TestDropWhileWritten(t *testing.T) {
	dir := twoTeachers(t)
	w, err := cache.Create(storetest.Open(t, dir), storetest.Info(cache.FP16, true))
	if err != nil {
		t.Fatal(err)
	}
	before := storetest.Contents(t, dir)
	if _, err := cache.Drop(dir, "r50", false); !errors.Is(err, store.ErrLocked) {
		t.Errorf("while it is written: %v", err)
	}
	if after := storetest.Contents(t, dir); len(after) != len(before) {
		t.Errorf("%d files of %d", len(after), len(before))
	}
	storetest.Close(t, w)
	if _, err := cache.Drop(dir, "r50", false); err != nil {
		t.Error(err)
	}
}

// A cache that cannot be read can be dropped.
func TestDropDamaged(t *testing.T) {
	for _, file := range []string{"teacher.json", table.ArrowName(1), table.ManifestName(0)} {
		dir := twoTeachers(t)
		storetest.Truncate(t, filepath.Join(dir, "teachers", "r50", file))
		if _, err := cache.Drop(dir, "r50", false); err != nil {
			t.Errorf("%s: %v", file, err)
		}
		storetest.CleanCheck(t, dir)
	}
}

// Whoever has a shard open reads on.
func TestDropUnderAReader(t *testing.T) {
	dir := twoTeachers(t)
	teacher := storetest.Cache(t, storetest.Open(t, dir), "r50")
	s, err := teacher.Shard(0)
	if err != nil {
		t.Fatal(err)
	}
	defer storetest.Close(t, s)
	if _, err := cache.Drop(dir, "r50", false); err != nil {
		t.Fatal(err)
	}
	e := make([]float32, 24)
	if _, valid, err := s.Row(7, true, e); err != nil || !valid {
		t.Errorf("open shard: %v", err)
	}
	if _, err := teacher.Shard(1); !errors.Is(err, store.ErrDamaged) {
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
	if _, err := cache.Drop(without, "r50", false); err != nil {
		t.Fatal(err)
	}
	root := storetest.MemoryDir(t)
	dir := filepath.Join(root, "faces.ds")
	if err := os.CopyFS(dir, os.DirFS(whole)); err != nil {
		t.Fatal(err)
	}
	disk, err := powerloss.Watch(root)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := cache.DropOn(durable.Disk{FS: disk}, dir, "r50", false); err != nil {
		t.Fatal(err)
	}
	h := disk.History()
	rng := rand.New(rand.NewPCG(1, 1))
	outcomes := map[bool]int{}
	for n := range h.Len() + 1 {
		for _, s := range h.After(n).States(16, rng) {
			after := storetest.MemoryDir(t)
			if err := s.Write(after); err != nil {
				t.Fatal(err)
			}
			gone, err := dropAgain(t, filepath.Join(after, "faces.ds"))
			if err != nil {
				t.Fatalf("power lost after call %d of %d: %v", n, h.Len(), err)
			}
			outcomes[gone]++
			storetest.SameContents(t, filepath.Join(after, "faces.ds"), without)
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
	d := storetest.Open(t, dir)
	c, err := cache.Open(d, "r50")
	gone = errors.Is(err, store.ErrNotFound)
	if err != nil && !gone {
		return gone, err
	}
	if !gone {
		if _, err := c.Digest(); err != nil {
			return gone, err
		}
	}
	if r, err := check.Run(t.Context(), dir, check.Options{ReadData: true}); err != nil || !r.OK {
		return gone, fmt.Errorf("check: %+v, %w", r.Problems, err)
	}
	if _, err := cache.Drop(dir, "r50", false); err != nil && !(gone && errors.Is(err, store.ErrNotFound)) {
		return gone, err
	}
	return gone, nil
}
