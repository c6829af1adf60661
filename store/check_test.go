package store

import (
	"bytes"
	"context"
	"errors"
	"image"
	"image/jpeg"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"facepipe/internal/durable"
	"facepipe/internal/imgcodec"
)

// buildOne makes a dataset of one crop under a contract.
func buildOne(t *testing.T, contract Contract, c Crop) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "d")
	w, err := OpenWriter(dir, contract, WriterOptions{Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	c.Source = w.AddSource(testSource)
	if _, err := w.Append(c); err != nil {
		t.Fatal(err)
	}
	mustClose(t, w)
	return dir
}

// Damage that was written with a right checksum is found by reading the data.
func TestCheckReadsCrops(t *testing.T) {
	wrongID, wrongSize := testCrop(0, 0), testCrop(0, 1)
	wrongID.ID = testCrop(0, 2).ID
	wrongSize.Image = wrongSize.Image[1:]
	for want, crop := range map[string]Crop{"its pixels give": wrongID, "does not decode": wrongSize} {
		dir := buildOne(t, testContract, crop)
		if r, err := Check(t.Context(), dir, CheckOptions{}); err != nil || !r.OK {
			t.Errorf("structure: %+v, %v", r, err)
		}
		r, err := Check(t.Context(), dir, CheckOptions{ReadData: true})
		if err != nil || r.OK || len(r.Problems) != 1 || r.Problems[0].File != "crops/000000.arrow" || !strings.Contains(r.Problems[0].What, want) {
			t.Errorf("%q: %+v, %v", want, r, err)
		}
	}
}

// The id of a JPEG is compared only where the decoder is the one it was made with.
func TestCheckJPEG(t *testing.T) {
	var b bytes.Buffer
	if err := jpeg.Encode(&b, image.NewRGBA(image.Rect(0, 0, 8, 8)), nil); err != nil {
		t.Fatal(err)
	}
	crop := testCrop(0, 1) // its id is another's
	crop.Encoding, crop.Image = imgcodec.JPEG, b.Bytes()
	r := cleanCheck(t, buildOne(t, testContract, crop))
	if notes := strings.Join(r.Notes, "\n"); !strings.Contains(notes, "1 JPEG") || !strings.Contains(notes, testContract.Decoder) {
		t.Errorf("notes are %q", notes)
	}
	own := testContract
	own.Decoder = imgcodec.DecoderName()
	if r, err := Check(t.Context(), buildOne(t, own, crop), CheckOptions{ReadData: true}); err != nil || r.OK {
		t.Errorf("with the same decoder: %+v, %v", r, err)
	}
}

// What an interrupted run leaves is noted, and is no problem.
func TestCheckNotes(t *testing.T) {
	dir := buildDataset(t, 20, 8)
	w := mustWriter(t, dir, 8)
	src := w.AddSource(testSource)
	for i := 20; i < 33; i++ { // one full shard and a half
		if _, err := w.Append(testCrop(src, i)); err != nil {
			t.Fatal(err)
		}
	}
	r := cleanCheck(t, dir)
	for _, want := range []string{"1 shards are committed", durable.TempPrefix} {
		if !strings.Contains(strings.Join(r.Notes, "\n"), want) {
			t.Errorf("%q is not among %q", want, r.Notes)
		}
	}
	mustAbort(t, w)
	if err := os.RemoveAll(filepath.Join(dir, indexFolder)); err != nil {
		t.Fatal(err)
	}
	if r := cleanCheck(t, dir); !strings.Contains(strings.Join(r.Notes, "\n"), "index is rebuilt") {
		t.Errorf("notes are %q", r.Notes)
	}
	if _, err := os.Stat(filepath.Join(dir, indexFolder)); err == nil {
		t.Error("check built the index")
	}
}

// Check goes on after damage, and says everything once.
func TestCheckFindsAll(t *testing.T) {
	dir := buildDataset(t, 30, 8)
	embed(t, mustOpen(t, dir), testTeacher(FP16, true), -1, nil)
	hurt := []string{"crops/000001.arrow", "crops/000003.json", "rejects.jsonl", "teachers/r50/000000.arrow", "teachers/r50/000002.json"}
	for _, name := range hurt {
		flipBit(t, filepath.Join(dir, name), 250)
	}
	r, err := Check(t.Context(), dir, CheckOptions{ReadData: true})
	if err != nil || r.OK {
		t.Fatalf("%+v, %v", r, err)
	}
	found := map[string]int{}
	for _, p := range r.Problems {
		found[p.File]++
	}
	for _, name := range hurt {
		// Rejects are compared with manifests, which one of is damaged here.
		if name != rejectsFile && found[name] != 1 {
			t.Errorf("%s: %d problems", name, found[name])
		}
	}
	if len(r.Problems) != len(hurt)-1 {
		t.Errorf("problems are %+v", r.Problems)
	}
}

func TestCheckDerivedFiles(t *testing.T) {
	for name, hurt := range map[string]func(path string){
		"rejects.jsonl":    func(path string) { flipBit(t, path, 12) },
		"index/BUILT.json": func(path string) { flipBit(t, path, 200) },
		"index/MANIFEST":   func(path string) { flipBit(t, path, 5) },
	} {
		dir := buildDataset(t, 30, 8)
		hurt(filepath.Join(dir, name))
		r, err := Check(t.Context(), dir, CheckOptions{})
		if err != nil || len(r.Problems) != 1 || r.Problems[0].File != name {
			t.Errorf("%s: %+v, %v", name, r, err)
		}
	}
}

func TestCheckIsCancelled(t *testing.T) {
	dir := buildDataset(t, 10, 8)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if r, err := Check(ctx, dir, CheckOptions{ReadData: true}); !errors.Is(err, context.Canceled) || r.OK {
		t.Errorf("%+v, %v", r, err)
	}
}

// An index that says something else than the shards is found: entries that are wrong,
// missing or too many.
func TestCompareIndex(t *testing.T) {
	d := mustOpen(t, buildDataset(t, 30, 8))
	for name, have := range map[string]string{
		"one crop fewer": buildDataset(t, 29, 8), "one more": buildDataset(t, 31, 8), "none": buildDataset(t, 0, 8),
	} {
		ix, err := badgerOf(mustOpen(t, have))
		if err != nil {
			t.Fatal(err)
		}
		if err := compareIndex(t.Context(), d.indexSource(), ix); err == nil {
			t.Errorf("%s: passes", name)
		}
		mustClose(t, closer(ix.close))
	}
	ix, err := badgerOf(d)
	if err != nil {
		t.Fatal(err)
	}
	defer mustClose(t, closer(ix.close))
	for name, spoil := range map[string]func(*memoryIndex){
		"id":            func(m *memoryIndex) { m.crops.keys.at(3)[9]++ },
		"key":           func(m *memoryIndex) { m.rowOf[4]++ },
		"alias":         func(m *memoryIndex) { m.rowOf[len(m.rowOf)-1]-- },
		"key too many":  func(m *memoryIndex) { m.setKey("another", 1) },
		"crop too many": func(m *memoryIndex) { m.crops.insert(key128{1}) },
	} {
		m, err := newMemoryIndex(t.Context(), d.indexSource())
		if err != nil {
			t.Fatal(err)
		}
		if err := m.compare(t.Context(), ix); err != nil {
			t.Fatal(err)
		}
		spoil(m)
		if err := m.compare(t.Context(), ix); err == nil {
			t.Errorf("%s: passes", name)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := compareIndex(ctx, d.indexSource(), ix); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}
