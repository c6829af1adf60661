package store

import (
	"bytes"
	"errors"
	"path/filepath"
	"reflect"
	"testing"
)

// Every crop comes back as it went in, under its row, with its label.
func TestRoundTrip(t *testing.T) {
	const n = 1300 // several shards, several batches a shard
	d := mustOpen(t, buildDataset(t, n, 600))
	if d.Rows() != n || d.Shards() != 3 || d.ShardRows(2) != 100 {
		t.Fatalf("%d rows, %d shards", d.Rows(), d.Shards())
	}
	if got := d.Sources(); !reflect.DeepEqual(got, []SourceInfo{testSource}) {
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
			want := testCrop(0, row)
			want.Label = got.Label // checked for some rows below, it is slow
			// In words: measures that are unknown are not equal to themselves.
			if describeCrop(got) != describeCrop(want) || got.HasQuality != want.HasQuality {
				t.Fatalf("row %d is %s, want %s", row, describeCrop(got), describeCrop(want))
			}
			if row%97 == 0 && got.Label != wantLabel(row) {
				t.Errorf("row %d has label %d, want %d", row, got.Label, wantLabel(row))
			}
			if err := got.DecodeRGB(8, rgb); err != nil {
				t.Fatal(err)
			}
			if id := CropID(testContract, rgb); id != got.ID {
				t.Fatalf("row %d decodes to %v", row, id)
			}
			l := d.Locate(row)
			if (l != Location{uint32(i), uint32(k)}) || d.RowOf(l) != row {
				t.Fatalf("row %d is at %+v, %d", row, l, d.RowOf(l))
			}
			row++
		}
		mustClose(t, s)
	}
	cleanCheck(t, d.Dir())
}

func TestOpenErrors(t *testing.T) {
	empty := t.TempDir()
	unfinished := filepath.Join(t.TempDir(), "x")
	w := mustWriter(t, unfinished, 10)
	ingest(t, w, testSource, 0, 25)
	if err := w.Abort(); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		name, dir string
		want      error
	}{
		{"no folder", filepath.Join(empty, "none"), ErrNotFound},
		{"empty folder", empty, ErrNotFound},
		{"unfinished", unfinished, ErrUnfinished},
	} {
		if _, err := Open(tc.dir); !errors.Is(err, tc.want) {
			t.Errorf("%s: %v, want %v", tc.name, err, tc.want)
		}
		if _, err := Check(t.Context(), tc.dir, CheckOptions{}); !errors.Is(err, tc.want) {
			t.Errorf("%s: check says %v, want %v", tc.name, err, tc.want)
		}
	}
}

// What is refused or met again leaves the digest of the crops alone; a crop does not.
func TestCropsDigest(t *testing.T) {
	dir := buildDataset(t, 20, 10)
	before := mustOpen(t, dir)
	w := mustWriter(t, dir, 10)
	source := w.AddSource(testSource)
	twin := testCrop(source, 3)
	twin.Key = "twins/again.png"
	_, err := w.Append(twin)
	if err := errors.Join(err, w.Reject(Reject{Source: source, Key: "broken/new.jpg", Stage: "decode", Reason: "cut"}), w.Close()); err != nil {
		t.Fatal(err)
	}
	after := mustOpen(t, dir)
	if after.Rejects() != before.Rejects()+1 || after.Duplicates() != before.Duplicates()+1 || after.Digest() == before.Digest() {
		t.Fatalf("%d rejects and %d duplicates after %d and %d", after.Rejects(), after.Duplicates(), before.Rejects(), before.Duplicates())
	}
	if after.CropsDigest() != before.CropsDigest() {
		t.Error("a reject and a duplicate give the crops another digest")
	}
	w = mustWriter(t, dir, 10)
	ingest(t, w, testSource, 20, 21)
	mustClose(t, w)
	if mustOpen(t, dir).CropsDigest() == before.CropsDigest() || mustOpen(t, buildDataset(t, 19, 10)).CropsDigest() == before.CropsDigest() {
		t.Error("other crops have the same digest")
	}
}

func TestIsDataset(t *testing.T) {
	unfinished := filepath.Join(t.TempDir(), "x")
	w := mustWriter(t, unfinished, 10)
	ingest(t, w, testSource, 0, 25)
	if err := w.Abort(); err != nil {
		t.Fatal(err)
	}
	for dir, want := range map[string]bool{buildDataset(t, 3, 10): true, unfinished: true, t.TempDir(): false, "/does/not/exist": false} {
		if got := IsDataset(dir); got != want {
			t.Errorf("%s: %v, want %v", dir, got, want)
		}
	}
}

// An image alone is that of the crop, without an allocation.
func TestImage(t *testing.T) {
	d := mustOpen(t, buildDataset(t, 10, 8))
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
