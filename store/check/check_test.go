package check_test

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
	"facepipe/store"
	"facepipe/store/cache"
	"facepipe/store/check"
	"facepipe/store/internal/index"
	"facepipe/store/internal/table"
	"facepipe/store/storetest"
)

// buildOne makes a dataset of one crop under a contract.
func buildOne(t *testing.T, contract store.Contract, c store.Crop) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "d")
	w, err := store.OpenWriter(dir, contract, store.WriterOptions{Logger: storetest.Quiet})
	if err != nil {
		t.Fatal(err)
	}
	c.Source = w.AddSource(storetest.Source)
	if _, err := w.Append(c); err != nil {
		t.Fatal(err)
	}
	storetest.Close(t, w)
	return dir
}

// Damage that was written with a right checksum is found by reading the data.
func TestCheckReadsCrops(t *testing.T) {
	wrongID, wrongSize := storetest.Crop(0, 0), storetest.Crop(0, 1)
	wrongID.ID = storetest.Crop(0, 2).ID
	wrongSize.Image = wrongSize.Image[1:]
	for want, crop := range map[string]store.Crop{"its pixels give": wrongID, "does not decode": wrongSize} {
		dir := buildOne(t, storetest.Contract, crop)
		if r, err := check.Run(t.Context(), dir, check.Options{}); err != nil || !r.OK {
			t.Errorf("structure: %+v, %v", r, err)
		}
		r, err := check.Run(t.Context(), dir, check.Options{ReadData: true})
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
	crop := storetest.Crop(0, 1) // its id is another's
	crop.Encoding, crop.Image = imgcodec.JPEG, b.Bytes()
	r := storetest.CleanCheck(t, buildOne(t, storetest.Contract, crop))
	if notes := strings.Join(r.Notes, "\n"); !strings.Contains(notes, "1 JPEG") || !strings.Contains(notes, storetest.Contract.Decoder) {
		t.Errorf("notes are %q", notes)
	}
	own := storetest.Contract
	own.Decoder = imgcodec.DecoderName()
	if r, err := check.Run(t.Context(), buildOne(t, own, crop), check.Options{ReadData: true}); err != nil || r.OK {
		t.Errorf("with the same decoder: %+v, %v", r, err)
	}
}

// What an interrupted run leaves is noted, and is no problem.
func TestCheckNotes(t *testing.T) {
	dir := storetest.Build(t, 20, 8)
	w := storetest.Writer(t, dir, 8)
	src := w.AddSource(storetest.Source)
	for i := 20; i < 33; i++ { // one full shard and a half
		if _, err := w.Append(storetest.Crop(src, i)); err != nil {
			t.Fatal(err)
		}
	}
	r := storetest.CleanCheck(t, dir)
	for _, want := range []string{"1 shards are committed", durable.TempPrefix} {
		if !strings.Contains(strings.Join(r.Notes, "\n"), want) {
			t.Errorf("%q is not among %q", want, r.Notes)
		}
	}
	storetest.Abort(t, w)
	if err := os.RemoveAll(filepath.Join(dir, index.Folder)); err != nil {
		t.Fatal(err)
	}
	if r := storetest.CleanCheck(t, dir); !strings.Contains(strings.Join(r.Notes, "\n"), "index is rebuilt") {
		t.Errorf("notes are %q", r.Notes)
	}
	if _, err := os.Stat(filepath.Join(dir, index.Folder)); err == nil {
		t.Error("check built the index")
	}
}

// Check goes on after damage, and says everything once.
func TestCheckFindsAll(t *testing.T) {
	dir := storetest.Build(t, 30, 8)
	storetest.Embed(t, storetest.Open(t, dir), storetest.Info(cache.FP16, true), -1, nil)
	hurt := []string{"crops/000001.arrow", "crops/000003.json", "rejects.jsonl", "teachers/r50/000000.arrow", "teachers/r50/000002.json"}
	for _, name := range hurt {
		storetest.FlipBit(t, filepath.Join(dir, name), 250)
	}
	r, err := check.Run(t.Context(), dir, check.Options{ReadData: true})
	if err != nil || r.OK {
		t.Fatalf("%+v, %v", r, err)
	}
	found := map[string]int{}
	for _, p := range r.Problems {
		found[p.File]++
	}
	for _, name := range hurt {
		// Rejects are compared with manifests, which one of is damaged here.
		if name != store.RejectsFile && found[name] != 1 {
			t.Errorf("%s: %d problems", name, found[name])
		}
	}
	if len(r.Problems) != len(hurt)-1 {
		t.Errorf("problems are %+v", r.Problems)
	}
}

func TestCheckDerivedFiles(t *testing.T) {
	for name, hurt := range map[string]func(path string){
		"rejects.jsonl":    func(path string) { storetest.FlipBit(t, path, 12) },
		"index/BUILT.json": func(path string) { storetest.FlipBit(t, path, 200) },
		"index/MANIFEST":   func(path string) { storetest.FlipBit(t, path, 5) },
	} {
		dir := storetest.Build(t, 30, 8)
		hurt(filepath.Join(dir, name))
		r, err := check.Run(t.Context(), dir, check.Options{})
		if err != nil || len(r.Problems) != 1 || r.Problems[0].File != name {
			t.Errorf("%s: %+v, %v", name, r, err)
		}
	}
}

func TestCheckIsCancelled(t *testing.T) {
	dir := storetest.Build(t, 10, 8)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if r, err := check.Run(ctx, dir, check.Options{ReadData: true}); !errors.Is(err, context.Canceled) || r.OK {
		t.Errorf("%+v, %v", r, err)
	}
}

// An index that says something else than the shards is found: entries that are wrong,
// missing or too many.
func TestCompareIndex(t *testing.T) {
	d := storetest.Open(t, storetest.Build(t, 30, 8))
	for name, have := range map[string]string{
		"one crop fewer": storetest.Build(t, 29, 8), "one more": storetest.Build(t, 31, 8), "none": storetest.Build(t, 0, 8),
	} {
		ix, err := store.badgerOf(storetest.Open(t, have))
		if err != nil {
			t.Fatal(err)
		}
		if err := index.CompareIndex(t.Context(), d.indexSource(), ix); err == nil {
			t.Errorf("%s: passes", name)
		}
		storetest.Close(t, storetest.Closer(ix.Close))
	}
	ix, err := store.badgerOf(d)
	if err != nil {
		t.Fatal(err)
	}
	defer storetest.Close(t, storetest.Closer(ix.Close))
	for name, spoil := range map[string]func(*index.Memory){
		"id":            func(m *index.Memory) { m.crops.keys.At(3)[9]++ },
		"key":           func(m *index.Memory) { m.rowOf[4]++ },
		"alias":         func(m *index.Memory) { m.rowOf[len(m.rowOf)-1]-- },
		"key too many":  func(m *index.Memory) { m.setKey("another", 1) },
		"crop too many": func(m *index.Memory) { m.crops.Insert(table.Key128{1}) },
	} {
		m, err := index.NewMemory(t.Context(), d.indexSource())
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
	if err := index.CompareIndex(ctx, d.indexSource(), ix); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}
