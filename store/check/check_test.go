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
	if err := os.RemoveAll(filepath.Join(dir, "index")); err != nil {
		t.Fatal(err)
	}
	if r := storetest.CleanCheck(t, dir); !strings.Contains(strings.Join(r.Notes, "\n"), "index is rebuilt") {
		t.Errorf("notes are %q", r.Notes)
	}
	if _, err := os.Stat(filepath.Join(dir, "index")); err == nil {
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
		if name != "rejects.jsonl" && found[name] != 1 {
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

// Damage inside a shard, of crops or embeddings, is found by the part that the shard is
// in, and by no other.
func TestCheckSubset(t *testing.T) {
	dir := storetest.Build(t, 60, 8)
	storetest.Embed(t, storetest.Open(t, dir), storetest.Info(cache.FP16, true), -1, nil)
	storetest.FlipBit(t, filepath.Join(dir, "crops/000004.arrow"), -2000)
	storetest.FlipBit(t, filepath.Join(dir, "teachers/r50/000003.arrow"), -2000)
	for _, tc := range []struct {
		part, parts int
		want        string
	}{{1, 8, ""}, {2, 3, "crops/000004.arrow"}, {4, 5, "teachers/r50/000003.arrow"}} {
		part, parts, want := tc.part, tc.parts, tc.want
		r, err := check.Run(t.Context(), dir, check.Options{ReadData: true, Subset: check.Subset{Part: part, Parts: parts}})
		if err != nil || r.OK != (want == "") || r.Shards != 8 || r.ShardsRead == 0 || r.ShardsRead == 8 {
			t.Fatalf("part %d of %d: %+v, %v", part, parts, r, err)
		}
		if !r.OK && (len(r.Problems) != 1 || r.Problems[0].File != want) {
			t.Errorf("part %d of %d: %+v, want %s", part, parts, r.Problems, want)
		}
		if !strings.Contains(strings.Join(r.Notes, "\n"), "subset") {
			t.Errorf("notes are %q", r.Notes)
		}
	}
	r, err := check.Run(t.Context(), dir, check.Options{ReadData: true, Subset: check.Subset{Share: 1}})
	if err != nil || len(r.Problems) != 2 || r.ShardsRead != 8 {
		t.Errorf("100%%: %+v, %v", r, err)
	}
	if r, err := check.Run(t.Context(), dir, check.Options{}); err != nil || !r.OK || r.ShardsRead != 0 {
		t.Errorf("structure: %+v, %v", r, err)
	}
	if r, err := check.Run(t.Context(), dir, check.Options{ReadData: true, Subset: check.Subset{Part: 9, Parts: 9}}); err != nil || !r.OK || r.ShardsRead != 0 {
		t.Errorf("an empty part: %+v, %v", r, err)
	}
}
