package store_test

import (
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"facepipe/store"
	"facepipe/store/cache"
	"facepipe/store/internal/table"
	"facepipe/store/storetest"
)

func TestAppendOutcomes(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "d")
	w := storetest.Writer(t, dir, 100)
	a := w.AddSource(storetest.Source)
	b := w.AddSource(store.SourceInfo{Kind: "folder", Path: "other", Detector: "none"})
	if again := w.AddSource(storetest.Source); again != a || a == b {
		t.Fatalf("sources are %d, %d, %d", a, b, again)
	}
	renamed := func(c store.Crop, key string) store.Crop { c.Key = key; return c }
	for _, step := range []struct {
		name string
		crop store.Crop
		want store.Outcome
	}{
		{"first", storetest.Crop(a, 0), store.Stored},
		{"same input again", storetest.Crop(a, 0), store.Repeated},
		{"same pixels under another key", renamed(storetest.Crop(a, 0), "alias"), store.Duplicate},
		{"that key again", renamed(storetest.Crop(a, 0), "alias"), store.Repeated},
		{"same key, other pixels, same source", renamed(storetest.Crop(a, 1), "alias"), store.Repeated},
		{"other source, same key and pixels", storetest.Crop(b, 0), store.Duplicate},
		{"that again", storetest.Crop(b, 0), store.Repeated},
		{"other source, alias of the same pixels", renamed(storetest.Crop(b, 0), "alias"), store.Duplicate},
		{"other source, taken key, new pixels", renamed(storetest.Crop(b, 2), storetest.Crop(a, 0).Key), store.Repeated},
		{"other source, new", storetest.Crop(b, 3), store.Stored},
		{"first source, key of the other, new pixels", renamed(storetest.Crop(a, 4), storetest.Crop(b, 3).Key), store.Conflict},
		{"that again", renamed(storetest.Crop(a, 4), storetest.Crop(b, 3).Key), store.Repeated},
		{"first source, key of the other, stored pixels", renamed(storetest.Crop(a, 0), storetest.Crop(b, 3).Key), store.Repeated},
	} {
		if got, err := w.Append(step.crop); err != nil || got != step.want {
			t.Errorf("%s: %v, %v, want %v", step.name, got, err, step.want)
		}
		if !w.Seen(step.crop.Source, step.crop.Key) {
			t.Errorf("%s: not seen", step.name)
		}
	}
	storetest.Close(t, w)
	d := storetest.Open(t, dir)
	if d.Rows() != 2 || d.Duplicates() != 3 || d.Rejects() != 1 {
		t.Errorf("%d rows, %d duplicates, %d rejects", d.Rows(), d.Duplicates(), d.Rejects())
	}
	for key, row := range map[string]int{storetest.Crop(0, 0).Key: 0, "alias": 0, storetest.Crop(0, 3).Key: 1} {
		if l, err := d.Lookup(key); err != nil || d.RowOf(l) != row {
			t.Errorf("%s is at %+v, %v", key, l, err)
		}
	}
	text, err := os.ReadFile(filepath.Join(dir, store.RejectsFile))
	want := `{"source":0,"key":"person_00/0003.png","stage":"store","reason":"key already taken by source 1 (folder=other), with other pixels"}` + "\n"
	if err != nil || string(text) != want {
		t.Errorf("rejects are %q, %v", text, err)
	}
	storetest.CleanCheck(t, dir)
}

// A crop that cannot be stored is an error that leaves the writer usable.
func TestAppendRefuses(t *testing.T) {
	w := storetest.Writer(t, filepath.Join(t.TempDir(), "d"), 100)
	src := w.AddSource(storetest.Source)
	for name, spoil := range map[string]func(*store.Crop){
		"no id":                func(c *store.Crop) { c.ID = store.ID{} },
		"no image":             func(c *store.Crop) { c.Image = nil },
		"huge image":           func(c *store.Crop) { c.Image = make([]byte, table.MaxImageBytes+1) },
		"no encoding":          func(c *store.Crop) { c.Encoding = "" },
		"no key":               func(c *store.Crop) { c.Key = "" },
		"long key":             func(c *store.Crop) { c.Key = strings.Repeat("k", store.MaxKeyBytes+1) },
		"key not UTF-8":        func(c *store.Crop) { c.Key = "\xff" },
		"NUL in key":           func(c *store.Crop) { c.Key = "a\x00b" },
		"NUL in name":          func(c *store.Crop) { c.Identity = "a\x00b" },
		"unknown source":       func(c *store.Crop) { c.Source = 1 },
		"NUL in split":         func(c *store.Crop) { c.Split = "a\x00b" },
		"attribute list":       func(c *store.Crop) { c.Attributes = `["a"]` },
		"no JSON":              func(c *store.Crop) { c.Attributes = `{"a":1` },
		"attributes not UTF-8": func(c *store.Crop) { c.Attributes = "{\"a\":\"\xff\"}" },
		"long attributes": func(c *store.Crop) {
			c.Attributes = `{"a":"` + strings.Repeat("a", store.MaxAttributesBytes) + `"}`
		},
		"infinite measure": func(c *store.Crop) {
			c.HasQuality, c.Quality.Yaw = true, float32(math.Inf(1))
		},
	} {
		c := storetest.Crop(src, 0)
		spoil(&c)
		if _, err := w.Append(c); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	if err := w.Reject(store.Reject{Source: src, Key: ""}); err == nil {
		t.Error("reject without key: no error")
	}
	if o, err := w.Append(storetest.Crop(src, 0)); err != nil || o != store.Stored {
		t.Errorf("after refusals: %v, %v", o, err)
	}
}

// Long attributes do not make a record batch larger than a reader takes.
func TestLongAttributes(t *testing.T) {
	dir := filepath.Join(storetest.MemoryDir(t), "d")
	w := storetest.Writer(t, dir, 1000)
	src := w.AddSource(storetest.Source)
	const n = 520
	for i := range n {
		c := storetest.Crop(src, i)
		c.Image = make([]byte, store.MaxAttributesBytes)
		c.Attributes = `{"a":"` + strings.Repeat("a", store.MaxAttributesBytes-8) + `"}`
		if o, err := w.Append(c); err != nil || o != store.Stored {
			t.Fatalf("crop %d: %v, %v", i, o, err)
		}
	}
	storetest.Close(t, w)
	if c := cropAt(t, storetest.Open(t, dir), n-1); len(c.Attributes) != store.MaxAttributesBytes {
		t.Errorf("%d bytes of attributes came back", len(c.Attributes))
	}
}

// Rejects and duplicates are durable without any crop: a shard of no rows records them.
func TestEventsWithoutRows(t *testing.T) {
	dir := storetest.Build(t, 10, 100)
	w := storetest.Writer(t, dir, 100)
	src := w.AddSource(store.SourceInfo{Kind: "folder", Path: "broken", Detector: "none"})
	if err := w.Reject(store.Reject{Source: src, Key: "a", Stage: "decode", Reason: "\xffempty" + strings.Repeat(".", 2*store.MaxReasonBytes)}); err != nil {
		t.Fatal(err)
	}
	storetest.Close(t, w)
	d := storetest.Open(t, dir)
	if d.Shards() != 2 || d.ShardRows(1) != 0 || d.Rows() != 10 || len(d.Sources()) != 2 {
		t.Fatalf("%d shards, %d rows, %d sources", d.Shards(), d.Rows(), len(d.Sources()))
	}
	s, err := d.CropShard(1)
	if err != nil || s.Rows() != 0 {
		t.Fatalf("shard without rows: %v", err)
	}
	storetest.Close(t, s)
	w = storetest.Writer(t, dir, 100)
	if !w.Seen(src, "a") {
		t.Error("the reject is forgotten")
	}
	if i := w.AddSource(storetest.Source); i != 0 {
		t.Errorf("the first source became %d", i)
	}
	// Further crops land in a third shard; rows before it keep their place.
	storetest.Ingest(t, w, storetest.Source, 10, 20)
	storetest.Close(t, w)
	d = storetest.Open(t, dir)
	if l := d.Locate(10); l != (store.Location{Shard: 2}) || d.RowOf(l) != 10 {
		t.Errorf("row 10 is at %+v", l)
	}
	storetest.CleanCheck(t, dir)
}

// A dataset may begin with a shard of no rows.
func TestFirstShardWithoutRows(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "d")
	w := storetest.Writer(t, dir, 8)
	if err := w.Reject(store.Reject{Source: w.AddSource(storetest.Source), Key: "a", Stage: "decode"}); err != nil {
		t.Fatal(err)
	}
	storetest.Close(t, w)
	if d := storetest.Open(t, dir); d.Rows() != 0 || d.Shards() != 1 {
		t.Errorf("%d rows, %d shards", d.Rows(), d.Shards())
	}
	w = storetest.Writer(t, dir, 8)
	storetest.Ingest(t, w, storetest.Source, 0, 10)
	storetest.Close(t, w)
	d := storetest.Open(t, dir)
	if l, err := d.LookupID(storetest.Crop(0, 0).ID); err != nil || l != (store.Location{Shard: 1}) {
		t.Errorf("%+v, %v", l, err)
	}
	storetest.Embed(t, d, storetest.Info(cache.FP16, true), -1, nil)
	s, err := storetest.Cache(t, d, "r50").Shard(0)
	if err != nil || s.Rows() != 0 {
		t.Fatalf("embeddings of no crops: %v", err)
	}
	storetest.Close(t, s)
	storetest.CleanCheck(t, dir)
}

// Many rejects in a row are committed as they come, not kept in memory.
func TestEventsAreBounded(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "d")
	w := storetest.Writer(t, dir, 100)
	src := w.AddSource(storetest.Source)
	for i := range store.MaxShardEvents + 10 {
		if err := w.Reject(store.Reject{Source: src, Key: fmt.Sprint(i), Stage: "decode"}); err != nil {
			t.Fatal(err)
		}
	}
	if n, err := store.CountManifests(filepath.Join(dir, store.CropsFolder)); n != 1 || err != nil {
		t.Errorf("%d manifests, %v", n, err)
	}
}

func TestClosingChangesNothingWithoutNews(t *testing.T) {
	dir := storetest.Build(t, 30, 8)
	before := storetest.Contents(t, dir)
	stat := func() os.FileInfo {
		info, err := os.Stat(filepath.Join(dir, store.DatasetFile))
		if err != nil {
			t.Fatal(err)
		}
		return info
	}
	was := stat()
	w := storetest.Writer(t, dir, 8)
	if n := storetest.Ingest(t, w, storetest.Source, 0, 30); len(n) != 0 {
		t.Errorf("appended again: %v", n)
	}
	storetest.Close(t, w)
	if !reflect.DeepEqual(before, storetest.Contents(t, dir)) || !os.SameFile(was, stat()) {
		t.Error("the dataset changed")
	}
	if err := w.Close(); err != nil {
		t.Error(err)
	}
	if _, err := w.Append(storetest.Crop(0, 99)); err == nil {
		t.Error("append after close succeeded")
	}
}

func TestOneWriterAtATime(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "d")
	w := storetest.Writer(t, dir, 8)
	if _, err := store.OpenWriter(dir, storetest.Contract, store.WriterOptions{}); !errors.Is(err, store.ErrLocked) || !strings.Contains(err.Error(), dir) {
		t.Errorf("second writer: %v", err)
	}
	storetest.Close(t, w)
	storetest.Close(t, storetest.Writer(t, dir, 8))
}

func TestWriterRefusesFolders(t *testing.T) {
	dir := storetest.Build(t, 5, 8)
	other := storetest.Contract
	other.Decoder = "another"
	if _, err := store.OpenWriter(dir, other, store.WriterOptions{}); !errors.Is(err, store.ErrContract) {
		t.Errorf("other contract: %v", err)
	}
	foreign := t.TempDir()
	if err := os.WriteFile(filepath.Join(foreign, "thesis.tex"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := store.OpenWriter(foreign, storetest.Contract, store.WriterOptions{}); err == nil {
		t.Error("a folder that holds something else was taken")
	}
	file := filepath.Join(foreign, "thesis.tex")
	if _, err := store.OpenWriter(file, storetest.Contract, store.WriterOptions{}); err == nil {
		t.Error("a file was taken")
	}
	if _, err := store.OpenWriter(dir, store.Contract{}, store.WriterOptions{}); err == nil {
		t.Error("an empty contract was taken")
	}
}

// A run that was interrupted at any point of its input and is run again writes the
// bytes of an uninterrupted run, over two sources and a second session.
func TestResumeIsByteIdentical(t *testing.T) {
	second := store.SourceInfo{Kind: "folder", Path: "more", Detector: "none"}
	build := func(dir string, stops []int) {
		for _, stop := range append(stops, 70) { // first session
			w := storetest.Writer(t, dir, 16)
			storetest.Ingest(t, w, storetest.Source, 0, stop)
			if stop == 70 {
				storetest.Close(t, w)
			} else if err := w.Abort(); err != nil {
				t.Fatal(err)
			}
		}
		for _, stop := range append(stops, 120) { // a second source is appended
			w := storetest.Writer(t, dir, 16)
			storetest.Ingest(t, w, second, 40, min(120, 40+stop))
			if stop == 120 {
				storetest.Close(t, w)
			} else if err := w.Abort(); err != nil {
				t.Fatal(err)
			}
		}
	}
	want := filepath.Join(storetest.MemoryDir(t), "d")
	build(want, nil)
	storetest.CleanCheck(t, want)
	for _, stops := range [][]int{{0}, {1}, {15}, {16}, {17}, {33}, {69}, {16, 40}, {5, 20, 20, 64}} {
		got := filepath.Join(storetest.MemoryDir(t), "d")
		build(got, stops)
		storetest.SameContents(t, got, want)
	}
}

// Files that a killed run leaves are removed by the next.
func TestWriterCleansUp(t *testing.T) {
	dir := storetest.Build(t, 20, 8)
	want := storetest.Contents(t, dir)
	for _, name := range []string{".tmp-1", "crops/.tmp-2", "crops/000003.arrow"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("half"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	storetest.Close(t, storetest.Writer(t, dir, 8))
	if got := storetest.Contents(t, dir); !reflect.DeepEqual(got, want) {
		t.Errorf("files are %d, want %d", len(got), len(want))
	}
}

// The writer of a later run knows the keys of every kind of event.
func TestSeenAfterReopening(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "d")
	w := storetest.Writer(t, dir, 4)
	storetest.Ingest(t, w, storetest.Source, 0, 40)
	storetest.Close(t, w)
	w = storetest.Writer(t, dir, 4)
	src := w.AddSource(storetest.Source)
	for _, key := range []string{storetest.Crop(0, 39).Key, "broken/0038.jpg", "twins/0033.png"} {
		if !w.Seen(src, key) {
			t.Errorf("%s was not seen", key)
		}
	}
	if !w.Refused(src, "broken/0038.jpg") || w.Refused(src, storetest.Crop(0, 39).Key) || w.Refused(src, "twins/0033.png") {
		t.Error("refused is not what was rejected")
	}
	if w.Seen(src, "person_99/0099.png") || w.Seen(src+1, storetest.Crop(0, 0).Key) {
		t.Error("saw what never came")
	}
	if w.Rows() != 40 {
		t.Errorf("%d rows", w.Rows())
	}
}
