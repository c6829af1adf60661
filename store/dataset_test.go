package store_test

import (
	"bytes"
	"errors"
	"path/filepath"
	"reflect"
	"testing"

	"facepipe/store"
	"facepipe/store/check"
	"facepipe/store/storetest"
)

// labelOf is the label of crop i when crops are appended from 0 on.
func labelOf(i int) int32 {
	if i%7 == 6 {
		return store.NoLabel
	}
	seen := map[string]int32{}
	for k := range i + 1 {
		if name := storetest.Crop(0, k).Identity; name != "" {
			if _, ok := seen[name]; !ok {
				seen[name] = int32(len(seen))
			}
		}
	}
	return seen[storetest.Crop(0, i).Identity]
}

// Every crop comes back as it went in, under its row, with its label.
func TestRoundTrip(t *testing.T) {
	const n = 1300 // several shards, several batches a shard
	d := storetest.Open(t, storetest.Build(t, n, 600))
	if d.Rows() != n || d.Shards() != 3 || d.ShardRows(2) != 100 {
		t.Fatalf("%d rows, %d shards", d.Rows(), d.Shards())
	}
	if got := d.Sources(); !reflect.DeepEqual(got, []store.SourceInfo{storetest.Source}) {
		t.Errorf("sources are %+v", got)
	}
	rgb := make([]byte, 3*8*8)
	row := 0
	for i := range d.Shards() {
		s, err := d.CropShard(i)
		if err != nil {
			t.Fatal(err)
		}
		for k := range s.Rows() {
			got, err := s.Crop(k)
			if err != nil {
				t.Fatal(err)
			}
			want := storetest.Crop(0, row)
			want.Label = got.Label // checked for some rows below, it is slow
			// In words: measures that are unknown are not equal to themselves.
			if describeCrop(got) != describeCrop(want) || got.HasQuality != want.HasQuality {
				t.Fatalf("row %d is %s, want %s", row, describeCrop(got), describeCrop(want))
			}
			if row%97 == 0 && got.Label != labelOf(row) {
				t.Errorf("row %d has label %d, want %d", row, got.Label, labelOf(row))
			}
			if err := got.DecodeRGB(8, rgb); err != nil {
				t.Fatal(err)
			}
			if id := store.CropID(storetest.Contract, rgb); id != got.ID {
				t.Fatalf("row %d decodes to %v", row, id)
			}
			l := d.Locate(row)
			if (l != store.Location{Shard: uint32(i), Row: uint32(k)}) || d.RowOf(l) != row {
				t.Fatalf("row %d is at %+v, %d", row, l, d.RowOf(l))
			}
			row++
		}
		storetest.Close(t, s)
	}
	storetest.CleanCheck(t, d.Dir())
}

func TestOpenErrors(t *testing.T) {
	empty := t.TempDir()
	unfinished := filepath.Join(t.TempDir(), "x")
	w := storetest.Writer(t, unfinished, 10)
	storetest.Ingest(t, w, storetest.Source, 0, 25)
	if err := w.Abort(); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		name, dir string
		want      error
	}{
		{"no folder", filepath.Join(empty, "none"), store.ErrNotFound},
		{"empty folder", empty, store.ErrNotFound},
		{"unfinished", unfinished, store.ErrUnfinished},
	} {
		if _, err := store.Open(tc.dir); !errors.Is(err, tc.want) {
			t.Errorf("%s: %v, want %v", tc.name, err, tc.want)
		}
		if _, err := check.Run(t.Context(), tc.dir, check.Options{}); !errors.Is(err, tc.want) {
			t.Errorf("%s: check says %v, want %v", tc.name, err, tc.want)
		}
	}
}

// What is refused or met again leaves the digest of the crops alone; a crop does not.
func TestCropsDigest(t *testing.T) {
	dir := storetest.Build(t, 20, 10)
	before := storetest.Open(t, dir)
	w := storetest.Writer(t, dir, 10)
	source := w.AddSource(storetest.Source)
	twin := storetest.Crop(source, 3)
	twin.Key = "twins/again.png"
	_, err := w.Append(twin)
	if err := errors.Join(err, w.Reject(store.Reject{Source: source, Key: "broken/new.jpg", Stage: "decode", Reason: "cut"}), w.Close()); err != nil {
		t.Fatal(err)
	}
	after := storetest.Open(t, dir)
	if after.Rejects() != before.Rejects()+1 || after.Duplicates() != before.Duplicates()+1 || after.Digest() == before.Digest() {
		t.Fatalf("%d rejects and %d duplicates after %d and %d", after.Rejects(), after.Duplicates(), before.Rejects(), before.Duplicates())
	}
	if after.CropsDigest() != before.CropsDigest() {
		t.Error("a reject and a duplicate give the crops another digest")
	}
	w = storetest.Writer(t, dir, 10)
	storetest.Ingest(t, w, storetest.Source, 20, 21)
	storetest.Close(t, w)
	if storetest.Open(t, dir).CropsDigest() == before.CropsDigest() || storetest.Open(t, storetest.Build(t, 19, 10)).CropsDigest() == before.CropsDigest() {
		t.Error("other crops have the same digest")
	}
}

func TestIsDataset(t *testing.T) {
	unfinished := filepath.Join(t.TempDir(), "x")
	w := storetest.Writer(t, unfinished, 10)
	storetest.Ingest(t, w, storetest.Source, 0, 25)
	if err := w.Abort(); err != nil {
		t.Fatal(err)
	}
	for dir, want := range map[string]bool{storetest.Build(t, 3, 10): true, unfinished: true, t.TempDir(): false, "/does/not/exist": false} {
		if got := store.IsDataset(dir); got != want {
			t.Errorf("%s: %v, want %v", dir, got, want)
		}
	}
}

// An image alone is that of the crop, without an allocation.
func TestImage(t *testing.T) {
	d := storetest.Open(t, storetest.Build(t, 10, 8))
	crops := d.CropReader()
	defer crops.Close()
	for i := range d.Rows() {
		at := d.Locate(i)
		whole, err := crops.Crop(at)
		if err != nil {
			t.Fatal(err)
		}
		image, err := crops.Image(at)
		if err != nil || image.ID != whole.ID || image.Key != whole.Key || image.Encoding != whole.Encoding || !bytes.Equal(image.Image, whole.Image) {
			t.Errorf("row %d: %+v, %v", i, image, err)
		}
	}
	if n := testing.AllocsPerRun(50, func() {
		if _, err := crops.Image(d.Locate(3)); err != nil {
			t.Fatal(err)
		}
	}); n > 0 {
		t.Errorf("%v allocations an image", n)
	}
}

// Prefetching changes nothing, at any range of rows, of shards with and without a file.
func TestPrefetch(t *testing.T) {
	d := storetest.Open(t, storetest.Build(t, 1100, 1100))
	crops, err := d.CropShard(0)
	if err != nil {
		t.Fatal(err)
	}
	defer storetest.Close(t, crops)
	for _, span := range [][2]int{{0, 0}, {0, 1}, {0, 1100}, {511, 2}, {1099, 1}, {1024, 76}} {
		crops.Prefetch(span[0], span[1])
	}
	if c, err := crops.Crop(600); err != nil || c.Key != storetest.Crop(0, 600).Key {
		t.Errorf("%q, %v", c.Key, err)
	}
	defer func() {
		if recover() == nil {
			t.Error("rows out of range were prefetched")
		}
	}()
	crops.Prefetch(1000, 101)
}
