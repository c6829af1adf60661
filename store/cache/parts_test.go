package cache_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"facepipe/internal/durable"
	"facepipe/store"
	"facepipe/store/cache"
	"facepipe/store/internal/table"
	"facepipe/store/storetest"
)

// ofParts is the teacher whose cache parts are for.
var ofParts = storetest.Info(cache.FP16, true)

// aside is a folder of parts for the cache of a dataset, on a file system.
func aside(t *testing.T, d *store.Dataset, fs durable.FS) *cache.Parts {
	t.Helper()
	d = storetest.OpenOn(t, d.Dir(), durable.Disk{FS: fs})
	return openParts(t, d, ofParts, filepath.Join(filepath.Dir(d.Dir()), "job", "parts"))
}

func openParts(t *testing.T, d *store.Dataset, info cache.Info, dir string) *cache.Parts {
	t.Helper()
	parts, err := cache.OpenParts(d, info, dir)
	if err != nil {
		t.Fatal(err)
	}
	return parts
}

// beginPart embeds a shard, as a GPU would whose results are off by so much, and does not
// commit it.
func beginPart(t *testing.T, d *store.Dataset, parts *cache.Parts, shard int, off float32) *cache.ShardWriter {
	t.Helper()
	w, err := parts.Shard(shard)
	if err != nil {
		t.Fatal(err)
	}
	if err := storetest.AppendShard(d, w, ofParts, shard, func(_ int, e []float32) { e[0] += off }); err != nil {
		t.Fatal(err)
	}
	return w
}

func embedPart(t *testing.T, d *store.Dataset, parts *cache.Parts, shard int, off float32) {
	t.Helper()
	if err := beginPart(t, d, parts, shard, off).Commit(); err != nil {
		t.Fatal(err)
	}
}

// filesIn are the names in a folder of parts, temporary ones by their prefix alone.
func filesIn(t *testing.T, parts *cache.Parts) string {
	t.Helper()
	entries, err := os.ReadDir(parts.Dir())
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		name := e.Name()
		if strings.HasPrefix(name, durable.TempPrefix) {
			name = durable.TempPrefix
		}
		names = append(names, name)
	}
	return strings.Join(names, " ")
}

// Of two workers at one shard the first counts, whatever the second has computed, and what
// is merged is what one process makes.
func TestFirstPartCounts(t *testing.T) {
	alone := storetest.Build(t, 20, 8)
	storetest.Embed(t, storetest.Open(t, alone), ofParts, -1, nil)
	d := storetest.Open(t, storetest.Build(t, 20, 8))
	parts := aside(t, d, durable.OS{})
	for shard := range d.Shards() {
		first, same, other := beginPart(t, d, parts, shard, 0), beginPart(t, d, parts, shard, 0), beginPart(t, d, parts, shard, 1)
		if there, err := parts.Has(shard); there || err != nil {
			t.Errorf("shard %d before its commit: %t, %v", shard, there, err)
		}
		if err := parts.Verify(shard); !errors.Is(err, store.ErrNotFound) || !strings.Contains(err.Error(), fmt.Sprintf("part %d: ", shard)) {
			t.Errorf("a part that is not there: %v", err)
		}
		for _, w := range []*cache.ShardWriter{first, same, other} {
			if err := w.Commit(); err != nil {
				t.Errorf("shard %d: %v", shard, err)
			}
			if there, err := parts.Has(shard); !there || err != nil {
				t.Errorf("shard %d after its commit: %t, %v", shard, there, err)
			}
		}
	}
	if err := storetest.MergeParts(d, ofParts, parts); err != nil {
		t.Fatal(err)
	}
	storetest.SameContents(t, d.Dir(), alone)
	storetest.CleanCheck(t, d.Dir())
}

// resent is a network file system whose answers get lost: a link that it has made is asked
// for again, and then the name is taken.
type resent struct{ durable.OS }

func (r resent) Link(a, b string) error {
	if err := r.OS.Link(a, b); err != nil {
		return err
	}
	return r.OS.Link(a, b)
}

func TestPartsWhoseLinksAreSentTwice(t *testing.T) {
	d := storetest.Open(t, storetest.Build(t, 12, 8))
	parts := aside(t, d, resent{})
	for shard := range d.Shards() {
		embedPart(t, d, parts, shard, 0)
		embedPart(t, d, parts, shard, 1)
		if err := parts.Verify(shard); err != nil {
			t.Error(err)
		}
	}
	if got := filesIn(t, parts); strings.Contains(got, durable.TempPrefix) || strings.Count(got, ".json") != 2 {
		t.Errorf("left %s", got)
	}
}

// A file that has a part's name and not its contents is not taken for it.
func TestPartWhoseNameIsTaken(t *testing.T) {
	d := storetest.Open(t, storetest.Build(t, 8, 8))
	parts := aside(t, d, durable.OS{})
	embedPart(t, d, parts, 0, 0)
	path, err := parts.File(0)
	if err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	data[len(data)/2] ^= 1
	if err := errors.Join(os.Remove(filepath.Join(parts.Dir(), "000000.json")), os.Remove(path), os.WriteFile(path, data, 0o644)); err != nil {
		t.Fatal(err)
	}
	if err := beginPart(t, d, parts, 0, 0).Commit(); !errors.Is(err, store.ErrDamaged) || !strings.Contains(err.Error(), path) {
		t.Errorf("got %v", err)
	}
	if there, err := parts.Has(0); there || err != nil {
		t.Errorf("a manifest stands for it: %t, %v", there, err)
	}
}

// Parts of another teacher, or of other crops, are no damage: they are in the wrong folder.
func TestForeignParts(t *testing.T) {
	d := storetest.Open(t, storetest.Build(t, 12, 8))
	parts := aside(t, d, durable.OS{})
	embedPart(t, d, parts, 1, 0)
	manifest := filepath.Join(parts.Dir(), "000001.json")
	teacher, crops := ofParts, storetest.Open(t, storetest.Build(t, 20, 8))
	teacher.Fingerprint = "another"
	for what, as := range map[string]struct {
		dataset *store.Dataset
		info    cache.Info
	}{"fingerprint another": {d, teacher}, "another crop shard": {crops, ofParts}} {
		p := openParts(t, as.dataset, as.info, parts.Dir())
		_, err := p.Has(1)
		for verb, err := range map[string]error{"has": err, "verify": p.Verify(1), "commit": beginPart(t, as.dataset, p, 1, 0).Commit()} {
			if !errors.Is(err, store.ErrPlan) || errors.Is(err, store.ErrDamaged) || !strings.Contains(err.Error(), manifest+": a part of another plan or model") ||
				!strings.Contains(err.Error(), "remove it, or name a new plan folder") {
				t.Errorf("%s, %s: %v", what, verb, err)
			}
		}
	}
	if err := parts.Verify(1); err != nil {
		t.Errorf("the part itself: %v", err)
	}
}

// What killed workers have left, and what came second, goes; parts and what is none of a
// worker's stay.
func TestTidyParts(t *testing.T) {
	d := storetest.Open(t, storetest.Build(t, 24, 8))
	parts := aside(t, d, durable.OS{})
	embedPart(t, d, parts, 0, 0)
	embedPart(t, d, parts, 0, 1)
	embedPart(t, d, parts, 1, 0)
	first, err := parts.File(0)
	if err != nil {
		t.Fatal(err)
	}
	second, err := parts.File(1)
	if err != nil {
		t.Fatal(err)
	}
	straggler := beginPart(t, d, parts, 0, 2)
	orphan := filepath.Join(parts.Dir(), "000002."+strings.Repeat("0", table.TableDigits)+table.ArrowSuffix) // its manifest may be on its way
	notes := filepath.Join(parts.Dir(), "notes.txt")
	for _, path := range []string{orphan, notes, filepath.Join(parts.Dir(), durable.TempPrefix+"killed")} {
		if err := os.WriteFile(path, []byte("1234"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	r, err := parts.Tidy()
	if err != nil || r.Files != 3 || r.Bytes < 4 {
		t.Errorf("removed %+v, %v", r, err)
	}
	want := []string{"000000.json", filepath.Base(first), "000001.json", filepath.Base(second), filepath.Base(orphan), "notes.txt"}
	slices.Sort(want)
	if got := filesIn(t, parts); got != strings.Join(want, " ") {
		t.Errorf("left %s", got)
	}
	if err := straggler.Commit(); !errors.Is(err, os.ErrNotExist) || errors.Is(err, store.ErrDamaged) || !strings.Contains(err.Error(), "deleted the unfinished file") {
		t.Errorf("a worker whose file is gone: %v", err)
	}
	if err := errors.Join(parts.Verify(0), parts.Verify(1)); err != nil {
		t.Error(err)
	}

	r, err = parts.Clear()
	if got := filesIn(t, parts); err != nil || r.Files != 5 || got != "notes.txt" {
		t.Errorf("cleared %+v, left %s, %v", r, got, err)
	}
}

// late is a file system on which something happens before each link of a manifest.
type late struct {
	durable.OS
	before func()
}

func (l late) Link(a, b string) error {
	if strings.HasSuffix(b, table.ManifestSuffix) {
		l.before()
	}
	return l.OS.Link(a, b)
}

// A worker whose part's file is deleted before its manifest is there leaves no manifest.
func TestPartClearedBeforeItsManifest(t *testing.T) {
	d := storetest.Open(t, storetest.Build(t, 8, 8))
	var parts *cache.Parts
	parts = aside(t, d, late{before: func() {
		// The temporary file of the manifest is there already, and stays.
		tables, err := filepath.Glob(filepath.Join(parts.Dir(), "*"+table.ArrowSuffix))
		if err != nil || len(tables) != 1 || len(strings.Fields(filesIn(t, parts))) != 2 {
			t.Fatalf("%q, %v", filesIn(t, parts), err)
		}
		if err := os.Remove(tables[0]); err != nil {
			t.Error(err)
		}
	}})
	if err := beginPart(t, d, parts, 0, 0).Commit(); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("got %v", err)
	}
	if got := filesIn(t, parts); got != "" {
		t.Errorf("left %s", got)
	}
}
