package store

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
)

// input describes one crop of a dataset that is to be merged: the pixels of testCrop(n)
// under a key and an identity of its own.
type input struct {
	n             int
	key, identity string
}

// buildInputs makes a dataset of crops from one source, with a reject at its end.
func buildInputs(t testing.TB, name string, shardRows int, inputs ...input) string {
	t.Helper()
	dir := filepath.Join(memoryDir(t), name)
	w := mustWriter(t, dir, shardRows)
	src := w.AddSource(testSource) // the same words everywhere, as on two machines
	for _, in := range inputs {
		c := testCrop(src, in.n)
		c.Key, c.Identity = in.key, in.identity
		if o, err := w.Append(c); err != nil || o != Stored && o != Duplicate {
			t.Fatalf("%+v: %v, %v", in, o, err)
		}
	}
	if err := w.Reject(Reject{Source: src, Key: "broken of " + name, Stage: "decode", Reason: "truncated"}); err != nil {
		t.Fatal(err)
	}
	mustClose(t, w)
	return dir
}

var mergeQuietly = MergeOptions{ShardRows: 4, MaxRejectRate: 1, Logger: quiet}

func mustMerge(t testing.TB, out string, o MergeOptions, inputs ...string) MergeSummary {
	t.Helper()
	s, err := Merge(t.Context(), out, inputs, o)
	if err != nil {
		t.Fatal(err)
	}
	cleanCheck(t, out)
	return s
}

// rowsOf lists the crops of a dataset as "key identity label source".
func rowsOf(t testing.TB, d *Dataset) (list []string) {
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
		mustClose(t, s)
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
		if err := os.RemoveAll(filepath.Join(dir, indexFolder)); err != nil {
			t.Fatal(err)
		}
		before[dir] = contents(t, dir)
	}
	out := filepath.Join(memoryDir(t), "merged")
	s := mustMerge(t, out, mergeQuietly, a, b)
	if s.Seen != 12 || s.Written != 7 || s.Duplicates != 4 || s.Rejected != 1 || s.Skipped != 0 || s.CarriedRejects != 2 {
		t.Errorf("summary is %+v", s)
	}
	d := mustOpen(t, out)
	if s.Rows != 7 || s.Shards != d.Shards() || s.Identities != 3 || s.Digest != d.Digest() || s.Dataset != out || s.Inputs[1].Rows != 5 {
		t.Errorf("summary is %+v", s)
	}
	want := []string{"x/0 x 0 0", "x/1 x 0 0", "y/2 y 1 0", "3  -1 0", "z/4 z 2 1", "x/6 x 0 1", "x/5 x 0 1"}
	if got := rowsOf(t, d); strings.Join(got, ", ") != strings.Join(want, ", ") {
		t.Errorf("rows are %q, want %q", got, want)
	}
	for key, n := range map[string]int{"copy of 1": 1, "other": 0, "copy of 6": 6, "x/1": 1, "x/5": 5, "y/2": 2} {
		l, err := d.Lookup(key)
		if want, err2 := d.LookupID(testCrop(0, n).ID); err != nil || err2 != nil || l != want {
			t.Errorf("%s is at %+v, %v, want %+v, %v", key, l, err, want, err2)
		}
	}
	rejects, err := os.ReadFile(filepath.Join(out, rejectsFile))
	if err != nil || !strings.Contains(string(rejects), `"key":"broken of a","stage":"decode","reason":"truncated"`) ||
		!strings.Contains(string(rejects), `{"source":1,"key":"x/1","stage":"store"`) || bytes.Count(rejects, []byte("\n")) != 3 {
		t.Errorf("rejects are %s, %v", rejects, err)
	}
	for i, dir := range []string{a, b} {
		if src := d.Sources()[i]; src.Path != testSource.Path || src.MergedFrom != mustOpen(t, dir).Digest() {
			t.Errorf("source %d is %+v", i, src)
		}
		if after := contents(t, dir); len(after) != len(before[dir]) || fmt.Sprint(after) != fmt.Sprint(before[dir]) {
			t.Errorf("%s changed", dir)
		}
		if _, err := os.Stat(filepath.Join(dir, indexFolder)); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s: an index was built: %v", dir, err)
		}
	}
	again := mustMerge(t, out, mergeQuietly, a, b)
	if again.Skipped != 12 || again.RejectedBefore != 1 || again.Written+again.Duplicates+again.Rejected != 0 || again.Digest != s.Digest {
		t.Errorf("the same merge again: %+v", again)
	}
	var rate *ConflictRateError
	strict := mergeQuietly
	strict.MaxRejectRate = 0.05
	if s, err := Merge(t.Context(), out, []string{a, b}, strict); !errors.As(err, &rate) || rate.Rejected != 1 || rate.Seen != 12 || s.Rows != 7 {
		t.Errorf("one conflict of twelve: %v, %+v", err, s)
	}
}

// Datasets that have a part in common by way of merges have it once.
func TestMergeOfMerges(t *testing.T) {
	a := buildInputs(t, "a", 3, input{0, "0", "x"}, input{1, "1", "y"})
	b := buildInputs(t, "b", 3, input{2, "2", "y"}, input{3, "1", "y"})
	c := buildInputs(t, "c", 3, input{4, "4", "z"})
	ab, bc := filepath.Join(memoryDir(t), "ab"), filepath.Join(memoryDir(t), "bc")
	mustMerge(t, ab, mergeQuietly, a, b)
	mustMerge(t, bc, mergeQuietly, b, c)
	all := filepath.Join(memoryDir(t), "all")
	s := mustMerge(t, all, mergeQuietly, ab, bc)
	d := mustOpen(t, all)
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
	other := testContract
	other.Decoder = "another decoder"
	foreign := filepath.Join(t.TempDir(), "foreign")
	w, err := OpenWriter(foreign, other, WriterOptions{Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	mustClose(t, w)
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(a, link); err != nil {
		t.Fatal(err)
	}
	merged := filepath.Join(memoryDir(t), "merged")
	mustMerge(t, merged, mergeQuietly, a, b)
	photos := t.TempDir()
	writeText(t, filepath.Join(photos, "photo.jpg"), "a photo")
	for _, tc := range []struct {
		name, out string
		inputs    []string
		kind      error
		want      []string // in the message
	}{
		{"nothing", "", nil, nil, []string{"no dataset"}},
		{"two contracts", "", []string{a, foreign}, ErrContract, []string{a, foreign, testContract.Decoder, other.Decoder}},
		{"an input twice", "", []string{a, b, link}, nil, []string{"named twice"}},
		{"an input as the output", b, []string{a, b}, nil, []string{b, "both"}},
		{"no such input", "", []string{a, "/does/not/exist"}, ErrNotFound, []string{"/does/not/exist"}},
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
			kept = contents(t, out)
		}
		_, err := Merge(t.Context(), out, tc.inputs, mergeQuietly)
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
		} else if after := contents(t, out); fmt.Sprint(after) != fmt.Sprint(kept) {
			t.Errorf("%s: the folder changed", tc.name)
		}
	}
	if _, err := Merge(t.Context(), merged, []string{a, b}, mergeQuietly); err != nil {
		t.Errorf("afterwards: %v", err)
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
	a, b := filepath.Join(memoryDir(t), "a"), filepath.Join(memoryDir(t), "b")
	for dir, lo := range map[string]int{a: 0, b: 25} {
		w := mustWriter(t, dir, 7)
		ingest(t, w, testSource, lo, lo+40)
		src := w.AddSource(SourceInfo{Kind: "folder", Path: "conflicts", Detector: "none"})
		for i := range 12 {
			c := testCrop(src, 100+i+lo)
			c.Key = fmt.Sprintf("conflict/%d", i)
			if _, err := w.Append(c); err != nil {
				t.Fatal(err)
			}
			c.Key += fmt.Sprintf(" of %d", lo)
			if _, err := w.Append(c); err != nil {
				t.Fatal(err)
			}
		}
		mustClose(t, w)
		embed(t, mustOpen(t, dir), testTeacher(FP16, true), -1, spoilSome)
	}
	whole := filepath.Join(memoryDir(t), "whole")
	want := mustMerge(t, whole, mergeQuietly, a, b)
	if want.Rejected != 12 || len(want.Teachers) != 1 || want.Teachers[0].Copied != want.Rows {
		t.Fatalf("%+v", want)
	}
	for left := 0; ; left += 1 + left/6 {
		out := filepath.Join(memoryDir(t), "stopped")
		stops := 0
		var got MergeSummary
		for again := left; ; again += 1 + again/3 { // a little further each time
			var err error
			got, err = Merge(&countdown{t.Context(), again}, out, []string{a, b}, mergeQuietly)
			if err == nil {
				break
			}
			if !errors.Is(err, context.Canceled) {
				t.Fatal(err)
			}
			stops++
		}
		sameContents(t, out, whole)
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

// spoilSome makes every fifth embedding unusable.
func spoilSome(row int, e []float32) {
	if row%5 == 3 {
		clear(e)
	}
}

// The merged cache is what embedding the merged dataset gives, bit for bit.
func TestMergeTeachers(t *testing.T) {
	for _, info := range []TeacherInfo{testTeacher(FP16, true), testTeacher(FP32, false)} {
		a, b := buildDataset(t, 30, 8), filepath.Join(t.TempDir(), "b")
		w := mustWriter(t, b, 5)
		ingest(t, w, testSource, 20, 60)
		mustClose(t, w)
		// A crop has the same embedding in both, whatever its row.
		spoil := func(d *Dataset) func(int, []float32) {
			return func(row int, e []float32) {
				s, err := d.CropShard(int(d.Locate(row).Shard))
				if err != nil {
					t.Fatal(err)
				}
				defer mustClose(t, s)
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
			d := mustOpen(t, dir)
			embed(t, d, info, -1, spoil(d))
		}
		out := filepath.Join(memoryDir(t), "out")
		s := mustMerge(t, out, mergeQuietly, a, b)
		d := mustOpen(t, out)
		if len(s.Teachers) != 1 || s.Teachers[0] != (MergedTeacher{Teacher: "r50", Fingerprint: info.Fingerprint, Copied: d.Rows()}) || len(s.Notes) > 0 {
			t.Errorf("%+v, notes %q", s.Teachers, s.Notes)
		}
		bare := filepath.Join(memoryDir(t), "bare")
		o := mergeQuietly
		o.WithoutTeachers = true
		if s := mustMerge(t, bare, o, a, b); len(s.Teachers) > 0 {
			t.Errorf("without teachers: %+v", s.Teachers)
		}
		anew := mustOpen(t, bare)
		embed(t, anew, info, -1, spoil(anew))
		if mustTeacher(t, anew, "r50").Invalid() == 0 {
			t.Error("no embedding is invalid: the test shows little")
		}
		sameContents(t, out, bare)
	}
}

func TestMergeTeachersPartly(t *testing.T) {
	a, b, c := buildDataset(t, 30, 8), filepath.Join(t.TempDir(), "b"), filepath.Join(t.TempDir(), "c")
	for i, dir := range []string{b, c} {
		w := mustWriter(t, dir, 5)
		ingest(t, w, testSource, 40+20*i, 60+20*i)
		mustClose(t, w)
	}
	r50, other := testTeacher(FP16, true), testTeacher(FP32, false)
	other.Name = "other"
	embed(t, mustOpen(t, a), r50, 2, nil) // 2 of 4 shards
	for _, dir := range []string{b, c} {
		embed(t, mustOpen(t, dir), r50, -1, nil)
		embed(t, mustOpen(t, dir), other, -1, nil)
	}
	out := filepath.Join(memoryDir(t), "out")
	s := mustMerge(t, out, mergeQuietly, a, b, c)
	if len(s.Teachers) != 1 || s.Teachers[0].Copied == 0 || s.Teachers[0].Missing == 0 || s.Teachers[0].Copied+s.Teachers[0].Missing != s.Rows {
		t.Errorf("%+v of %d rows", s.Teachers, s.Rows)
	}
	if notes := strings.Join(s.Notes, "\n"); !strings.Contains(notes, "teacher other is not merged: "+a) || !strings.Contains(notes, "still to be embedded") {
		t.Errorf("notes are %q", notes)
	}
	// What is missing is embedded by whoever has the teacher, and then it is the same.
	d := mustOpen(t, out)
	embed(t, d, r50, -1, nil)
	whole := filepath.Join(memoryDir(t), "whole")
	embed(t, mustOpen(t, a), r50, -1, nil)
	mustMerge(t, whole, mergeQuietly, a, b, c)
	sameContents(t, out, whole)

	// One name, two fingerprints.
	odd := r50
	odd.Fingerprint = "another"
	e := buildDataset(t, 10, 8)
	embed(t, mustOpen(t, e), odd, -1, nil)
	_, err := Merge(t.Context(), filepath.Join(t.TempDir(), "x"), []string{b, e}, mergeQuietly)
	if !errors.Is(err, ErrFingerprint) || !strings.Contains(err.Error(), b) || !strings.Contains(err.Error(), e) || !strings.Contains(err.Error(), "another") {
		t.Errorf("two fingerprints: %v", err)
	}
	o := mergeQuietly
	o.WithoutTeachers = true
	mustMerge(t, filepath.Join(t.TempDir(), "x"), o, b, e)
}

// No flipped bit of an input gets into a merge.
func TestMergeOfDamage(t *testing.T) {
	a, b := buildDataset(t, 12, 8), buildInputs(t, "b", 4, input{50, "50", "z"})
	for _, dir := range []string{a, b} {
		embed(t, mustOpen(t, dir), testTeacher(FP16, true), -1, nil)
	}
	step := 1013
	for name, data := range contents(t, a) {
		if name == rejectsFile {
			continue // nothing reads it
		}
		path := filepath.Join(a, name)
		for offset := 300; offset < len(data); offset += step {
			flipBit(t, path, offset)
			out := filepath.Join(memoryDir(t), "out")
			if _, err := Merge(t.Context(), out, []string{a, b}, mergeQuietly); !errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), path) {
				t.Errorf("%s at %d: %v", name, offset, err)
			}
			flipBit(t, path, offset)
		}
	}
	mustMerge(t, filepath.Join(memoryDir(t), "out"), mergeQuietly, a, b)
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
			dir := filepath.Join(memoryDir(t), fmt.Sprint(k))
			w := mustWriter(t, dir, 1+rng.IntN(9))
			src := w.AddSource(testSource)
			for range rng.IntN(30) {
				c := testCrop(src, rng.IntN(15))
				c.Key, c.Identity = fmt.Sprint("key ", rng.IntN(25)), fmt.Sprint("person ", rng.IntN(4))
				o, err := w.Append(c)
				if err != nil {
					t.Fatal(err)
				}
				if o != Repeated {
					all = append(all, met{c.Key, c.ID.String()})
					pixels[c.ID.String()] = true
				}
			}
			mustClose(t, w)
			dirs = append(dirs, dir)
		}
		out := filepath.Join(memoryDir(t), "out")
		o := mergeQuietly
		o.ShardRows = 1 + rng.IntN(9)
		s := mustMerge(t, out, o, dirs...)
		if s.Seen != len(all) || s.Written != s.Rows || s.Written+s.Duplicates+s.Rejected+s.Skipped != s.Seen {
			t.Fatalf("round %d: %+v of %d inputs", round, s, len(all))
		}
		d := mustOpen(t, out)
		conflicts := 0
		for _, in := range all {
			l, err := d.Lookup(in.key)
			if err != nil {
				t.Fatalf("round %d: %v", round, err)
			}
			id, err := ParseID(in.of)
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
