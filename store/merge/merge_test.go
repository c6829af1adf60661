package merge_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"facepipe/store"
	"facepipe/store/cache"
	"facepipe/store/merge"
	"facepipe/store/storetest"
)

// input describes one crop of a dataset that is to be merged: the pixels of Crop(n)
// under a key and an identity of its own.
type input struct {
	n             int
	key, identity string
}

// buildInputs makes a dataset of crops from one source, with a reject at its end.
func buildInputs(t testing.TB, name string, shardRows int, inputs ...input) string {
	t.Helper()
	dir := filepath.Join(storetest.MemoryDir(t), name)
	w := storetest.Writer(t, dir, shardRows)
	src := w.AddSource(storetest.Source) // the same words everywhere, as on two machines
	for _, in := range inputs {
		c := storetest.Crop(src, in.n)
		c.Key, c.Identity = in.key, in.identity
		if o, err := w.Append(c); err != nil || o != store.Stored && o != store.Duplicate {
			t.Fatalf("%+v: %v, %v", in, o, err)
		}
	}
	if err := w.Reject(store.Reject{Source: src, Key: "broken of " + name, Stage: "decode", Reason: "truncated"}); err != nil {
		t.Fatal(err)
	}
	storetest.Close(t, w)
	return dir
}

var quietly = merge.Options{ShardRows: 4, MaxRejectRate: 1, Logger: storetest.Quiet}

func mustMerge(t testing.TB, out string, o merge.Options, inputs ...string) merge.Summary {
	t.Helper()
	s, err := merge.Datasets(t.Context(), out, inputs, o)
	if err != nil {
		t.Fatal(err)
	}
	storetest.CleanCheck(t, out)
	return s
}

// rowsOf lists the crops of a dataset as "key identity label source".
func rowsOf(t testing.TB, d *store.Dataset) (list []string) {
	t.Helper()
	for i := range d.Shards() {
		s, err := d.CropShard(i)
		if err != nil {
			t.Fatal(err)
		}
		for k := range s.Rows() {
			c, err := s.Crop(k)
			if err != nil {
				t.Fatal(err)
			}
			list = append(list, fmt.Sprintf("%s %s %d %d", c.Key, c.Identity, c.Label, c.Source))
		}
		storetest.Close(t, s)
	}
	return list
}

func TestMerge(t *testing.T) {
	a := buildInputs(t, "a", 3,
		input{0, "x/0", "x"}, input{1, "x/1", "x"}, input{2, "y/2", "y"}, input{1, "copy of 1", ""}, input{3, "3", ""})
	b := buildInputs(t, "b", 2,
		input{4, "z/4", "z"},   // new
		input{2, "y/2", "y"},   // the same key and pixels
		input{0, "other", "w"}, // stored pixels under another key
		input{5, "x/1", "x"},   // a key of other pixels ...
		input{5, "x/5", "x"},   // ... which this one has too: they are not lost
		input{6, "x/6", "x"},   // an identity of a
		input{6, "copy of 6", "x"},
	)
	before := map[string]map[string][]byte{}
	for _, dir := range []string{a, b} {
		if err := os.RemoveAll(filepath.Join(dir, "index")); err != nil {
			t.Fatal(err)
		}
		before[dir] = storetest.Contents(t, dir)
	}
	out := filepath.Join(storetest.MemoryDir(t), "merged")
	s := mustMerge(t, out, quietly, a, b)
	if s.Seen != 12 || s.Written != 7 || s.Duplicates != 4 || s.Rejected != 1 || s.Skipped != 0 || s.CarriedRejects != 2 {
		t.Errorf("summary is %+v", s)
	}
	d := storetest.Open(t, out)
	if s.Rows != 7 || s.Shards != d.Shards() || s.Identities != 3 || s.Digest != d.Digest() || s.Dataset != out || s.Inputs[1].Rows != 5 {
		t.Errorf("summary is %+v", s)
	}
	want := []string{"x/0 x 0 0", "x/1 x 0 0", "y/2 y 1 0", "3  -1 0", "z/4 z 2 1", "x/6 x 0 1", "x/5 x 0 1"}
	if got := rowsOf(t, d); strings.Join(got, ", ") != strings.Join(want, ", ") {
		t.Errorf("rows are %q, want %q", got, want)
	}
	for key, n := range map[string]int{"copy of 1": 1, "other": 0, "copy of 6": 6, "x/1": 1, "x/5": 5, "y/2": 2} {
		l, err := d.Lookup(key)
		if want, err2 := d.LookupID(storetest.Crop(0, n).ID); err != nil || err2 != nil || l != want {
			t.Errorf("%s is at %+v, %v, want %+v, %v", key, l, err, want, err2)
		}
	}
	rejects, err := os.ReadFile(filepath.Join(out, "rejects.jsonl"))
	if err != nil || !strings.Contains(string(rejects), `"key":"broken of a","stage":"decode","reason":"truncated"`) ||
		!strings.Contains(string(rejects), `{"source":1,"key":"x/1","stage":"store"`) || bytes.Count(rejects, []byte("\n")) != 3 {
		t.Errorf("rejects are %s, %v", rejects, err)
	}
	for i, dir := range []string{a, b} {
		if src := d.Sources()[i]; src.Path != storetest.Source.Path || src.MergedFrom != storetest.Open(t, dir).Digest() {
			t.Errorf("source %d is %+v", i, src)
		}
		if after := storetest.Contents(t, dir); len(after) != len(before[dir]) || fmt.Sprint(after) != fmt.Sprint(before[dir]) {
			t.Errorf("%s changed", dir)
		}
		if _, err := os.Stat(filepath.Join(dir, "index")); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s: an index was built: %v", dir, err)
		}
	}
	again := mustMerge(t, out, quietly, a, b)
	if again.Skipped != 12 || again.RejectedBefore != 1 || again.Written+again.Duplicates+again.Rejected != 0 || again.Digest != s.Digest {
		t.Errorf("the same merge again: %+v", again)
	}
	var rate *merge.ConflictRateError
	strict := quietly
	strict.MaxRejectRate = 0.05
	if s, err := merge.Datasets(t.Context(), out, []string{a, b}, strict); !errors.As(err, &rate) || rate.Rejected != 1 || rate.Seen != 12 || s.Rows != 7 {
		t.Errorf("one conflict of twelve: %v, %+v", err, s)
	}
}

// Datasets that have a part in common by way of merges have it once.
func TestMergeOfMerges(t *testing.T) {
	a := buildInputs(t, "a", 3, input{0, "0", "x"}, input{1, "1", "y"})
	b := buildInputs(t, "b", 3, input{2, "2", "y"}, input{3, "1", "y"})
	c := buildInputs(t, "c", 3, input{4, "4", "z"})
	ab, bc := filepath.Join(storetest.MemoryDir(t), "ab"), filepath.Join(storetest.MemoryDir(t), "bc")
	mustMerge(t, ab, quietly, a, b)
	mustMerge(t, bc, quietly, b, c)
	all := filepath.Join(storetest.MemoryDir(t), "all")
	s := mustMerge(t, all, quietly, ab, bc)
	d := storetest.Open(t, all)
	if s.Rows != 4 || s.Skipped != 2 || s.RejectedBefore != 1 || len(d.Sources()) != 3 || d.Duplicates() != 0 || d.Rejects() != 4 {
		t.Errorf("%+v, sources %+v", s, d.Sources())
	}
	if _, err := d.Lookup("4"); err != nil {
		t.Error(err)
	}
}

func TestMergeRefuses(t *testing.T) {
	a := buildInputs(t, "a", 3, input{0, "0", "x"})
	b := buildInputs(t, "b", 3, input{1, "1", "x"})
	other := storetest.Contract
	other.Decoder = "another decoder"
	foreign := filepath.Join(t.TempDir(), "foreign")
	w, err := store.OpenWriter(foreign, other, store.WriterOptions{Logger: storetest.Quiet})
	if err != nil {
		t.Fatal(err)
	}
	storetest.Close(t, w)
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(a, link); err != nil {
		t.Fatal(err)
	}
	merged := filepath.Join(storetest.MemoryDir(t), "merged")
	mustMerge(t, merged, quietly, a, b)
	photos := t.TempDir()
	storetest.WriteText(t, filepath.Join(photos, "photo.jpg"), "a photo")
	for _, tc := range []struct {
		name, out string
		inputs    []string
		kind      error
		want      []string // in the message
	}{
		{"nothing", "", nil, nil, []string{"no dataset"}},
		{"two contracts", "", []string{a, foreign}, store.ErrContract, []string{a, foreign, storetest.Contract.Decoder, other.Decoder}},
		{"an input twice", "", []string{a, b, link}, nil, []string{"named twice"}},
		{"an input as the output", b, []string{a, b}, nil, []string{b, "both"}},
		{"no such input", "", []string{a, "/does/not/exist"}, store.ErrNotFound, []string{"/does/not/exist"}},
		{"into another merge", merged, []string{b, a}, nil, []string{merged, "something else"}},
		{"into part of a merge", merged, []string{a}, nil, []string{merged, "something else"}},
		{"into photographs", photos, []string{a, b}, nil, []string{photos, "something else"}},
	} {
		out := tc.out
		if out == "" {
			out = filepath.Join(t.TempDir(), "out")
		}
		kept := map[string][]byte{}
		if tc.out != "" {
			kept = storetest.Contents(t, out)
		}
		_, err := merge.Datasets(t.Context(), out, tc.inputs, quietly)
		if err == nil || tc.kind != nil && !errors.Is(err, tc.kind) {
			t.Errorf("%s: %v, want %v", tc.name, err, tc.kind)
			continue
		}
		for _, want := range tc.want {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %v does not say %q", tc.name, err, want)
			}
		}
		if tc.out == "" {
			if _, err := os.Stat(out); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("%s: a dataset was begun: %v", tc.name, err)
			}
		} else if after := storetest.Contents(t, out); fmt.Sprint(after) != fmt.Sprint(kept) {
			t.Errorf("%s: the folder changed", tc.name)
		}
	}
	if _, err := merge.Datasets(t.Context(), merged, []string{a, b}, quietly); err != nil {
		t.Errorf("afterwards: %v", err)
	}
}

// Numbers of two datasets are different people, unless prefixes keep them apart or the caller says
// that they are the same.
func TestMergeKeepsPeopleApart(t *testing.T) {
	a := buildInputs(t, "a", 3, input{0, "0/0", "0"}, input{1, "1/1", "1"}, input{2, "Ann/2", "Ann"}, input{2, "copy", "1"})
	b := buildInputs(t, "b", 3, input{10, "1/10", "1"}, input{11, "2/11", "2"}, input{12, "Ann/12", "Ann"}, input{10, "copy", "2"})
	c := buildInputs(t, "c", 3, input{20, "3/20", "3"}, input{21, "Ann/21", "Ann"})
	out := func() string { return filepath.Join(storetest.MemoryDir(t), "out") }
	mixed := out()
	_, err := merge.Datasets(t.Context(), mixed, []string{c, a, b}, quietly)
	if err == nil || !strings.Contains(err.Error(), a+" and "+b+" have different people of one number: 1:") ||
		!strings.Contains(err.Error(), "--key-prefix") || !strings.Contains(err.Error(), "--same-people") {
		t.Errorf("error %v", err)
	}
	if _, err := os.Stat(mixed); !errors.Is(err, os.ErrNotExist) {
		t.Error("the dataset was begun")
	}
	if s := mustMerge(t, out(), quietly, a, c); s.Identities != 4 {
		t.Errorf("numbers apart: %+v", s)
	}
	same := quietly
	same.SamePeople = true
	together := out()
	if s := mustMerge(t, together, same, a, b); s.Identities != 4 || s.Rejected != 1 {
		t.Errorf("the same people: %+v", s)
	}
	// A source that reaches the merge twice is itself.
	if s := mustMerge(t, out(), quietly, together, a); s.Identities != 4 || s.Skipped != 4 {
		t.Errorf("a dataset and one that it is in: %+v", s)
	}
	apart := quietly
	apart.KeyPrefixes = []string{"a/", "b/"}
	prefixed := out()
	s := mustMerge(t, prefixed, apart, a, b)
	d := storetest.Open(t, prefixed)
	want := []string{"a/0/0 a/0 0 0", "a/1/1 a/1 1 0", "a/Ann/2 a/Ann 2 0", "b/1/10 b/1 3 1", "b/2/11 b/2 4 1", "b/Ann/12 b/Ann 5 1"}
	if got := rowsOf(t, d); strings.Join(got, ", ") != strings.Join(want, ", ") || s.Rejected != 0 || s.Duplicates != 2 {
		t.Errorf("rows are %q, want %q; %+v", got, want, s)
	}
	if at, err := d.Lookup("b/copy"); err != nil || at != (store.Location{Shard: 0, Row: 3}) {
		t.Errorf("a duplicate: %v, %v", at, err)
	}
	rejects, _ := os.ReadFile(filepath.Join(prefixed, "rejects.jsonl"))
	if !strings.Contains(string(rejects), `"key":"b/broken of b"`) || d.Sources()[1].KeyPrefix != "b/" {
		t.Errorf("rejects %s, sources %+v", rejects, d.Sources())
	}
	if again := mustMerge(t, prefixed, apart, a, b); again.Digest != s.Digest || again.Skipped != 8 {
		t.Errorf("again: %+v", again)
	}
	apart.KeyPrefixes[1] = "c/"
	if _, err := merge.Datasets(t.Context(), prefixed, []string{a, b}, apart); err == nil || !strings.Contains(err.Error(), "something else") {
		t.Errorf("with other prefixes: %v", err)
	}
	apart.KeyPrefixes[1] = strings.Repeat("b", store.MaxKeyBytes)
	if _, err := merge.Datasets(t.Context(), out(), []string{a, b}, apart); err == nil || !strings.Contains(err.Error(), "shorter") || errors.Is(err, store.ErrDamaged) {
		t.Errorf("with a long prefix: %v", err)
	}
	apart.KeyPrefixes = apart.KeyPrefixes[:1]
	if _, err := merge.Datasets(t.Context(), out(), []string{a, b}, apart); err == nil || !strings.Contains(err.Error(), "1 key prefixes for 2") {
		t.Errorf("with too few prefixes: %v", err)
	}
}

// countdown is a context that is done after a number of looks at it.
type countdown struct {
	context.Context
	left int
}

func (c *countdown) Err() error {
	if c.left--; c.left < 0 {
		return context.Canceled
	}
	return nil
}

// A merge that is stopped at every moment at which it can be, and repeated, gives the
// bytes of one that is not.
func TestMergeGoesOn(t *testing.T) {
	a, b := filepath.Join(storetest.MemoryDir(t), "a"), filepath.Join(storetest.MemoryDir(t), "b")
	for dir, lo := range map[string]int{a: 0, b: 25} {
		w := storetest.Writer(t, dir, 7)
		storetest.Ingest(t, w, storetest.Source, lo, lo+40)
		src := w.AddSource(store.SourceInfo{Kind: "folder", Path: "conflicts", Detector: "none"})
		for i := range 12 {
			c := storetest.Crop(src, 100+i+lo)
			c.Key = fmt.Sprintf("conflict/%d", i)
			if _, err := w.Append(c); err != nil {
				t.Fatal(err)
			}
			c.Key += fmt.Sprintf(" of %d", lo)
			if _, err := w.Append(c); err != nil {
				t.Fatal(err)
			}
		}
		storetest.Close(t, w)
		storetest.Embed(t, storetest.Open(t, dir), storetest.Info(cache.FP16, true), -1, storetest.SpoilSome)
	}
	whole := filepath.Join(storetest.MemoryDir(t), "whole")
	want := mustMerge(t, whole, quietly, a, b)
	if want.Rejected != 12 || len(want.Teachers) != 1 || want.Teachers[0].Copied != want.Rows {
		t.Fatalf("%+v", want)
	}
	for left := 0; ; left += 1 + left/6 {
		out := filepath.Join(storetest.MemoryDir(t), "stopped")
		stops := 0
		var got merge.Summary
		for again := left; ; again += 1 + again/3 { // a little further each time
			var err error
			got, err = merge.Datasets(&countdown{t.Context(), again}, out, []string{a, b}, quietly)
			if err == nil {
				break
			}
			if !errors.Is(err, context.Canceled) {
				t.Fatal(err)
			}
			stops++
		}
		storetest.SameContents(t, out, whole)
		if got.Seen != want.Seen || got.Rejected+got.RejectedBefore != want.Rejected || got.Digest != want.Digest {
			t.Errorf("after %d stops: %+v, want %+v", stops, got, want)
		}
		if stops == 0 {
			break
		}
		if err := os.RemoveAll(out); err != nil {
			t.Fatal(err)
		}
	}
}

// The merged cache is what embedding the merged dataset gives, bit for bit.
func TestMergeTeachers(t *testing.T) {
	for _, info := range []cache.Info{storetest.Info(cache.FP16, true), storetest.Info(cache.FP32, false)} {
		a, b := storetest.Build(t, 30, 8), filepath.Join(t.TempDir(), "b")
		w := storetest.Writer(t, b, 5)
		storetest.Ingest(t, w, storetest.Source, 20, 60)
		storetest.Close(t, w)
		// A crop has the same embedding in both, whatever its row.
		spoil := func(d *store.Dataset) func(int, []float32) {
			return func(row int, e []float32) {
				s, err := d.CropShard(int(d.Locate(row).Shard))
				if err != nil {
					t.Fatal(err)
				}
				defer storetest.Close(t, s)
				c, err := s.Crop(int(d.Locate(row).Row))
				if err != nil {
					t.Fatal(err)
				}
				if c.ID[5]%4 == 0 {
					e[3] = float32(c.ID[6]) * 1e37 * 1e3 // infinite, mostly
				}
			}
		}
		for _, dir := range []string{a, b} {
			d := storetest.Open(t, dir)
			storetest.Embed(t, d, info, -1, spoil(d))
		}
		out := filepath.Join(storetest.MemoryDir(t), "out")
		s := mustMerge(t, out, quietly, a, b)
		d := storetest.Open(t, out)
		if len(s.Teachers) != 1 || s.Teachers[0] != (cache.Joined{Teacher: "r50", Fingerprint: info.Fingerprint, Copied: d.Rows()}) || len(s.Notes) > 0 {
			t.Errorf("%+v, notes %q", s.Teachers, s.Notes)
		}
		bare := filepath.Join(storetest.MemoryDir(t), "bare")
		o := quietly
		o.WithoutTeachers = true
		if s := mustMerge(t, bare, o, a, b); len(s.Teachers) > 0 {
			t.Errorf("without teachers: %+v", s.Teachers)
		}
		anew := storetest.Open(t, bare)
		storetest.Embed(t, anew, info, -1, spoil(anew))
		if storetest.Cache(t, anew, "r50").Invalid() == 0 {
			t.Error("no embedding is invalid: the test shows little")
		}
		storetest.SameContents(t, out, bare)
	}
}

func TestMergeTeachersPartly(t *testing.T) {
	a, b, c := storetest.Build(t, 30, 8), filepath.Join(t.TempDir(), "b"), filepath.Join(t.TempDir(), "c")
	for i, dir := range []string{b, c} {
		w := storetest.Writer(t, dir, 5)
		storetest.Ingest(t, w, storetest.Source, 40+20*i, 60+20*i)
		storetest.Close(t, w)
	}
	r50, other := storetest.Info(cache.FP16, true), storetest.Info(cache.FP32, false)
	other.Name = "other"
	storetest.Embed(t, storetest.Open(t, a), r50, 2, nil) // 2 of 4 shards
	for _, dir := range []string{b, c} {
		storetest.Embed(t, storetest.Open(t, dir), r50, -1, nil)
		storetest.Embed(t, storetest.Open(t, dir), other, -1, nil)
	}
	out := filepath.Join(storetest.MemoryDir(t), "out")
	s := mustMerge(t, out, quietly, a, b, c)
	if len(s.Teachers) != 1 || s.Teachers[0].Copied == 0 || s.Teachers[0].Missing == 0 || s.Teachers[0].Copied+s.Teachers[0].Missing != s.Rows {
		t.Errorf("%+v of %d rows", s.Teachers, s.Rows)
	}
	if notes := strings.Join(s.Notes, "\n"); !strings.Contains(notes, "teacher other is not merged: "+a) || !strings.Contains(notes, "still to be embedded") {
		t.Errorf("notes are %q", notes)
	}
	// What is missing is embedded by whoever has the teacher, and then it is the same.
	d := storetest.Open(t, out)
	storetest.Embed(t, d, r50, -1, nil)
	whole := filepath.Join(storetest.MemoryDir(t), "whole")
	storetest.Embed(t, storetest.Open(t, a), r50, -1, nil)
	mustMerge(t, whole, quietly, a, b, c)
	storetest.SameContents(t, out, whole)

	// One name, two fingerprints.
	odd := r50
	odd.Fingerprint = "another"
	e := storetest.Build(t, 10, 8)
	storetest.Embed(t, storetest.Open(t, e), odd, -1, nil)
	_, err := merge.Datasets(t.Context(), filepath.Join(t.TempDir(), "x"), []string{b, e}, quietly)
	if !errors.Is(err, store.ErrFingerprint) || !strings.Contains(err.Error(), b) || !strings.Contains(err.Error(), e) || !strings.Contains(err.Error(), "another") {
		t.Errorf("two fingerprints: %v", err)
	}
	o := quietly
	o.WithoutTeachers = true
	mustMerge(t, filepath.Join(t.TempDir(), "x"), o, b, e)
}

// No flipped bit of an input gets into a merge.
func TestMergeOfDamage(t *testing.T) {
	a, b := storetest.Build(t, 12, 8), buildInputs(t, "b", 4, input{50, "50", "z"})
	for _, dir := range []string{a, b} {
		storetest.Embed(t, storetest.Open(t, dir), storetest.Info(cache.FP16, true), -1, nil)
	}
	step := 1013
	for name, data := range storetest.Contents(t, a) {
		if name == "rejects.jsonl" {
			continue // nothing reads it
		}
		path := filepath.Join(a, name)
		for offset := 300; offset < len(data); offset += step {
			storetest.FlipBit(t, path, offset)
			out := filepath.Join(storetest.MemoryDir(t), "out")
			if _, err := merge.Datasets(t.Context(), out, []string{a, b}, quietly); !errors.Is(err, store.ErrDamaged) || !strings.Contains(err.Error(), path) {
				t.Errorf("%s at %d: %v", name, offset, err)
			}
			storetest.FlipBit(t, path, offset)
		}
	}
	mustMerge(t, filepath.Join(storetest.MemoryDir(t), "out"), quietly, a, b)
}

// Whatever is merged, every input of every dataset is found in it once: its key leads
// to its pixels, or it is a reject.
func TestMergeLosesNothing(t *testing.T) {
	rounds := 25
	if testing.Short() {
		rounds = 8
	}
	for round := range rounds {
		rng := rand.New(rand.NewPCG(uint64(round), 7))
		type met struct{ key, of string }
		var all []met
		var dirs []string
		pixels := map[string]bool{}
		for k := range 2 + rng.IntN(2) {
			dir := filepath.Join(storetest.MemoryDir(t), fmt.Sprint(k))
			w := storetest.Writer(t, dir, 1+rng.IntN(9))
			src := w.AddSource(storetest.Source)
			for range rng.IntN(30) {
				c := storetest.Crop(src, rng.IntN(15))
				c.Key, c.Identity = fmt.Sprint("key ", rng.IntN(25)), fmt.Sprint("person ", rng.IntN(4))
				o, err := w.Append(c)
				if err != nil {
					t.Fatal(err)
				}
				if o != store.Repeated {
					all = append(all, met{c.Key, c.ID.String()})
					pixels[c.ID.String()] = true
				}
			}
			storetest.Close(t, w)
			dirs = append(dirs, dir)
		}
		out := filepath.Join(storetest.MemoryDir(t), "out")
		o := quietly
		o.ShardRows = 1 + rng.IntN(9)
		s := mustMerge(t, out, o, dirs...)
		if s.Seen != len(all) || s.Written != s.Rows || s.Written+s.Duplicates+s.Rejected+s.Skipped != s.Seen {
			t.Fatalf("round %d: %+v of %d inputs", round, s, len(all))
		}
		d := storetest.Open(t, out)
		conflicts := 0
		for _, in := range all {
			l, err := d.Lookup(in.key)
			if err != nil {
				t.Fatalf("round %d: %v", round, err)
			}
			id, err := store.ParseID(in.of)
			if err != nil {
				t.Fatal(err)
			}
			if at, err := d.LookupID(id); err != nil || at != l {
				conflicts++
			}
		}
		if conflicts != s.Rejected+s.RejectedBefore {
			t.Fatalf("round %d: %d keys lead elsewhere, %d are rejected: %+v", round, conflicts, s.Rejected, s)
		}
	}
}

// What check calls damage of a cache, a merge does not leave out in silence.
func TestMergeRefusesCachesThatLostSomething(t *testing.T) {
	whole := buildInputs(t, "whole", 4, input{1, "a", "x"}, input{2, "b", "x"}, input{3, "c", "y"}, input{4, "d", "y"}, input{5, "e", "z"})
	other := buildInputs(t, "other", 4, input{6, "f", "v"}, input{7, "g", "v"})
	for _, dir := range []string{whole, other} {
		storetest.Embed(t, storetest.Open(t, dir), storetest.Info(cache.FP16, true), -1, nil)
	}
	for _, name := range []string{"teacher.json", "000000.json", "000001.json", "000001.arrow"} {
		hurt := storetest.Copy(t, whole)
		if err := os.Remove(filepath.Join(hurt, "teachers/r50", name)); err != nil {
			t.Fatal(err)
		}
		out := filepath.Join(t.TempDir(), "out")
		if _, err := merge.Datasets(t.Context(), out, []string{hurt, other}, quietly); !errors.Is(err, store.ErrDamaged) || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := os.Stat(out); err == nil {
			t.Errorf("%s: something was written", name)
		}
		o := quietly
		o.WithoutTeachers = true
		mustMerge(t, out, o, hurt, other)
	}
}

// Shards that an interrupted ingest has left in an input are not merged, which is said.
func TestMergeTellsOfUnfinishedInputs(t *testing.T) {
	dir, other := buildInputs(t, "a", 4, input{1, "a", "x"}), buildInputs(t, "b", 4, input{2, "b", "y"})
	w := storetest.Writer(t, dir, 4)
	src := w.AddSource(storetest.Source)
	for i := 10; i < 15; i++ {
		if _, err := w.Append(storetest.Crop(src, i)); err != nil {
			t.Fatal(err)
		}
	}
	storetest.Abort(t, w)
	s := mustMerge(t, filepath.Join(t.TempDir(), "out"), quietly, dir, other)
	if len(s.Notes) != 1 || !strings.Contains(s.Notes[0], dir+": 1 shards of an interrupted ingest") {
		t.Errorf("%q", s.Notes)
	}
}
