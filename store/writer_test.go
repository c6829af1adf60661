package store

import (
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

func TestAppendOutcomes(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "d")
	w := mustWriter(t, dir, 100)
	a := w.AddSource(testSource)
	b := w.AddSource(SourceInfo{Kind: "folder", Path: "other", Detector: "none"})
	if again := w.AddSource(testSource); again != a || a == b {
		t.Fatalf("sources are %d, %d, %d", a, b, again)
	}
	renamed := func(c Crop, key string) Crop { c.Key = key; return c }
	for _, step := range []struct {
		name string
		crop Crop
		want Outcome
	}{
		{"first", testCrop(a, 0), Stored},
		{"same input again", testCrop(a, 0), Repeated},
		{"same pixels under another key", renamed(testCrop(a, 0), "alias"), Duplicate},
		{"that key again", renamed(testCrop(a, 0), "alias"), Repeated},
		{"same key, other pixels, same source", renamed(testCrop(a, 1), "alias"), Repeated},
		{"other source, same key and pixels", testCrop(b, 0), Duplicate},
		{"that again", testCrop(b, 0), Repeated},
		{"other source, alias of the same pixels", renamed(testCrop(b, 0), "alias"), Duplicate},
		{"other source, taken key, new pixels", renamed(testCrop(b, 2), testCrop(a, 0).Key), Repeated},
		{"other source, new", testCrop(b, 3), Stored},
		{"first source, key of the other, new pixels", renamed(testCrop(a, 4), testCrop(b, 3).Key), Conflict},
		{"that again", renamed(testCrop(a, 4), testCrop(b, 3).Key), Repeated},
		{"first source, key of the other, stored pixels", renamed(testCrop(a, 0), testCrop(b, 3).Key), Repeated},
	} {
		if got, err := w.Append(step.crop); err != nil || got != step.want {
			t.Errorf("%s: %v, %v, want %v", step.name, got, err, step.want)
		}
		if !w.Seen(step.crop.Source, step.crop.Key) {
			t.Errorf("%s: not seen", step.name)
		}
	}
	mustClose(t, w)
	d := mustOpen(t, dir)
	if d.Rows() != 2 || d.Duplicates() != 3 || d.Rejects() != 1 {
		t.Errorf("%d rows, %d duplicates, %d rejects", d.Rows(), d.Duplicates(), d.Rejects())
	}
	for key, row := range map[string]int{testCrop(0, 0).Key: 0, "alias": 0, testCrop(0, 3).Key: 1} {
		if l, err := d.Lookup(key); err != nil || d.RowOf(l) != row {
			t.Errorf("%s is at %+v, %v", key, l, err)
		}
	}
	text, err := os.ReadFile(filepath.Join(dir, rejectsFile))
	want := `{"source":0,"key":"person_00/0003.png","stage":"store","reason":"key already taken by source 1 (folder=other), with other pixels"}` + "\n"
	if err != nil || string(text) != want {
		t.Errorf("rejects are %q, %v", text, err)
	}
	cleanCheck(t, dir)
}

// A crop that cannot be stored is an error that leaves the writer usable.
func TestAppendRefuses(t *testing.T) {
	w := mustWriter(t, filepath.Join(t.TempDir(), "d"), 100)
	src := w.AddSource(testSource)
	for name, spoil := range map[string]func(*Crop){
		"no id":                func(c *Crop) { c.ID = ID{} },
		"no image":             func(c *Crop) { c.Image = nil },
		"huge image":           func(c *Crop) { c.Image = make([]byte, maxImageBytes+1) },
		"no encoding":          func(c *Crop) { c.Encoding = "" },
		"no key":               func(c *Crop) { c.Key = "" },
		"long key":             func(c *Crop) { c.Key = strings.Repeat("k", MaxKeyBytes+1) },
		"key not UTF-8":        func(c *Crop) { c.Key = "\xff" },
		"NUL in key":           func(c *Crop) { c.Key = "a\x00b" },
		"NUL in name":          func(c *Crop) { c.Identity = "a\x00b" },
		"unknown source":       func(c *Crop) { c.Source = 1 },
		"NUL in split":         func(c *Crop) { c.Split = "a\x00b" },
		"attribute list":       func(c *Crop) { c.Attributes = `["a"]` },
		"no JSON":              func(c *Crop) { c.Attributes = `{"a":1` },
		"attributes not UTF-8": func(c *Crop) { c.Attributes = "{\"a\":\"\xff\"}" },
		"long attributes": func(c *Crop) {
			c.Attributes = `{"a":"` + strings.Repeat("a", MaxAttributesBytes) + `"}`
		},
		"infinite measure": func(c *Crop) {
			c.HasQuality, c.Quality.Yaw = true, float32(math.Inf(1))
		},
	} {
		c := testCrop(src, 0)
		spoil(&c)
		if _, err := w.Append(c); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	if err := w.Reject(Reject{Source: src, Key: ""}); err == nil {
		t.Error("reject without key: no error")
	}
	if o, err := w.Append(testCrop(src, 0)); err != nil || o != Stored {
		t.Errorf("after refusals: %v, %v", o, err)
	}
}

// Long attributes do not make a record batch larger than a reader takes.
func TestLongAttributes(t *testing.T) {
	dir := filepath.Join(memoryDir(t), "d")
	w := mustWriter(t, dir, 1000)
	src := w.AddSource(testSource)
	const n = 520
	for i := range n {
		c := testCrop(src, i)
		c.Image = make([]byte, MaxAttributesBytes)
		c.Attributes = `{"a":"` + strings.Repeat("a", MaxAttributesBytes-8) + `"}`
		if o, err := w.Append(c); err != nil || o != Stored {
			t.Fatalf("crop %d: %v, %v", i, o, err)
		}
	}
	mustClose(t, w)
	if c := cropAt(t, mustOpen(t, dir), n-1); len(c.Attributes) != MaxAttributesBytes {
		t.Errorf("%d bytes of attributes came back", len(c.Attributes))
	}
}

// Rejects and duplicates are durable without any crop: a shard of no rows records them.
func TestEventsWithoutRows(t *testing.T) {
	dir := buildDataset(t, 10, 100)
	w := mustWriter(t, dir, 100)
	src := w.AddSource(SourceInfo{Kind: "folder", Path: "broken", Detector: "none"})
	if err := w.Reject(Reject{Source: src, Key: "a", Stage: "decode", Reason: "\xffempty" + strings.Repeat(".", 2*maxReasonBytes)}); err != nil {
		t.Fatal(err)
	}
	mustClose(t, w)
	d := mustOpen(t, dir)
	if d.Shards() != 2 || d.ShardRows(1) != 0 || d.Rows() != 10 || len(d.Sources()) != 2 {
		t.Fatalf("%d shards, %d rows, %d sources", d.Shards(), d.Rows(), len(d.Sources()))
	}
	s, err := d.CropShard(1)
	if err != nil || s.Rows() != 0 {
		t.Fatalf("shard without rows: %v", err)
	}
	mustClose(t, s)
	w = mustWriter(t, dir, 100)
	if !w.Seen(src, "a") {
		t.Error("the reject is forgotten")
	}
	if i := w.AddSource(testSource); i != 0 {
		t.Errorf("the first source became %d", i)
	}
	// Further crops land in a third shard; rows before it keep their place.
	ingest(t, w, testSource, 10, 20)
	mustClose(t, w)
	d = mustOpen(t, dir)
	if l := d.Locate(10); l != (Location{Shard: 2}) || d.RowOf(l) != 10 {
		t.Errorf("row 10 is at %+v", l)
	}
	cleanCheck(t, dir)
}

// A dataset may begin with a shard of no rows.
func TestFirstShardWithoutRows(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "d")
	w := mustWriter(t, dir, 8)
	if err := w.Reject(Reject{Source: w.AddSource(testSource), Key: "a", Stage: "decode"}); err != nil {
		t.Fatal(err)
	}
	mustClose(t, w)
	if d := mustOpen(t, dir); d.Rows() != 0 || d.Shards() != 1 {
		t.Errorf("%d rows, %d shards", d.Rows(), d.Shards())
	}
	w = mustWriter(t, dir, 8)
	ingest(t, w, testSource, 0, 10)
	mustClose(t, w)
	d := mustOpen(t, dir)
	if l, err := d.LookupID(testCrop(0, 0).ID); err != nil || l != (Location{Shard: 1}) {
		t.Errorf("%+v, %v", l, err)
	}
	embed(t, d, testTeacher(FP16, true), -1, nil)
	s, err := mustTeacher(t, d, "r50").Shard(0)
	if err != nil || s.Rows() != 0 {
		t.Fatalf("embeddings of no crops: %v", err)
	}
	mustClose(t, s)
	cleanCheck(t, dir)
}

// Many rejects in a row are committed as they come, not kept in memory.
func TestEventsAreBounded(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "d")
	w := mustWriter(t, dir, 100)
	src := w.AddSource(testSource)
	for i := range maxShardEvents + 10 {
		if err := w.Reject(Reject{Source: src, Key: fmt.Sprint(i), Stage: "decode"}); err != nil {
			t.Fatal(err)
		}
	}
	if n, err := countManifests(filepath.Join(dir, cropsFolder)); n != 1 || err != nil {
		t.Errorf("%d manifests, %v", n, err)
	}
}

func TestClosingChangesNothingWithoutNews(t *testing.T) {
	dir := buildDataset(t, 30, 8)
	before := contents(t, dir)
	stat := func() os.FileInfo {
		info, err := os.Stat(filepath.Join(dir, datasetFile))
		if err != nil {
			t.Fatal(err)
		}
		return info
	}
	was := stat()
	w := mustWriter(t, dir, 8)
	if n := ingest(t, w, testSource, 0, 30); len(n) != 0 {
		t.Errorf("appended again: %v", n)
	}
	mustClose(t, w)
	if !reflect.DeepEqual(before, contents(t, dir)) || !os.SameFile(was, stat()) {
		t.Error("the dataset changed")
	}
	if err := w.Close(); err != nil {
		t.Error(err)
	}
	if _, err := w.Append(testCrop(0, 99)); err == nil {
		t.Error("append after close succeeded")
	}
}

func TestOneWriterAtATime(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "d")
	w := mustWriter(t, dir, 8)
	if _, err := OpenWriter(dir, testContract, WriterOptions{}); !errors.Is(err, ErrLocked) || !strings.Contains(err.Error(), dir) {
		t.Errorf("second writer: %v", err)
	}
	mustClose(t, w)
	mustClose(t, mustWriter(t, dir, 8))
}

func TestWriterRefusesFolders(t *testing.T) {
	dir := buildDataset(t, 5, 8)
	other := testContract
	other.Decoder = "another"
	if _, err := OpenWriter(dir, other, WriterOptions{}); !errors.Is(err, ErrContract) {
		t.Errorf("other contract: %v", err)
	}
	foreign := t.TempDir()
	if err := os.WriteFile(filepath.Join(foreign, "thesis.tex"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenWriter(foreign, testContract, WriterOptions{}); err == nil {
		t.Error("a folder that holds something else was taken")
	}
	file := filepath.Join(foreign, "thesis.tex")
	if _, err := OpenWriter(file, testContract, WriterOptions{}); err == nil {
		t.Error("a file was taken")
	}
	if _, err := OpenWriter(dir, Contract{}, WriterOptions{}); err == nil {
		t.Error("an empty contract was taken")
	}
}

// A run that was interrupted at any point of its input and is run again writes the
// bytes of an uninterrupted run, over two sources and a second session.
func TestResumeIsByteIdentical(t *testing.T) {
	second := SourceInfo{Kind: "folder", Path: "more", Detector: "none"}
	build := func(dir string, stops []int) {
		for _, stop := range append(stops, 70) { // first session
			w := mustWriter(t, dir, 16)
			ingest(t, w, testSource, 0, stop)
			if stop == 70 {
				mustClose(t, w)
			} else if err := w.Abort(); err != nil {
				t.Fatal(err)
			}
		}
		for _, stop := range append(stops, 120) { // a second source is appended
			w := mustWriter(t, dir, 16)
			ingest(t, w, second, 40, min(120, 40+stop))
			if stop == 120 {
				mustClose(t, w)
			} else if err := w.Abort(); err != nil {
				t.Fatal(err)
			}
		}
	}
	want := filepath.Join(memoryDir(t), "d")
	build(want, nil)
	cleanCheck(t, want)
	for _, stops := range [][]int{{0}, {1}, {15}, {16}, {17}, {33}, {69}, {16, 40}, {5, 20, 20, 64}} {
		got := filepath.Join(memoryDir(t), "d")
		build(got, stops)
		sameContents(t, got, want)
	}
}

// Files that a killed run leaves are removed by the next.
func TestWriterCleansUp(t *testing.T) {
	dir := buildDataset(t, 20, 8)
	want := contents(t, dir)
	for _, name := range []string{".tmp-1", "crops/.tmp-2", "crops/000003.arrow"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("half"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	mustClose(t, mustWriter(t, dir, 8))
	if got := contents(t, dir); !reflect.DeepEqual(got, want) {
		t.Errorf("files are %d, want %d", len(got), len(want))
	}
}

// The writer of a later run knows the keys of every kind of event.
func TestSeenAfterReopening(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "d")
	w := mustWriter(t, dir, 4)
	ingest(t, w, testSource, 0, 40)
	mustClose(t, w)
	w = mustWriter(t, dir, 4)
	src := w.AddSource(testSource)
	for _, key := range []string{testCrop(0, 39).Key, "broken/0038.jpg", "twins/0033.png"} {
		if !w.Seen(src, key) {
			t.Errorf("%s was not seen", key)
		}
	}
	if !w.Refused(src, "broken/0038.jpg") || w.Refused(src, testCrop(0, 39).Key) || w.Refused(src, "twins/0033.png") {
		t.Error("refused is not what was rejected")
	}
	if w.Seen(src, "person_99/0099.png") || w.Seen(src+1, testCrop(0, 0).Key) {
		t.Error("saw what never came")
	}
	if w.Rows() != 40 {
		t.Errorf("%d rows", w.Rows())
	}
}
