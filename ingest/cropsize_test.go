package ingest_test

import (
	"errors"
	"math"
	"path/filepath"
	"testing"

	"facepipe/ingest"
	"facepipe/internal/imgcodec"
	"facepipe/internal/worker"
	"facepipe/store"
)

// tiles are the mean values of 8×8 tiles of a crop.
func tiles(t *testing.T, c store.Crop, size int) (means [8 * 8]float64) {
	t.Helper()
	rgb, side := make([]byte, 3*size*size), size/8
	if err := c.DecodeRGB(size, rgb); err != nil {
		t.Fatal(err)
	}
	for i, v := range rgb {
		x, y := i/3%size, i/3/size
		means[y/side*8+x/side] += float64(v) / float64(3*side*side)
	}
	return means
}

// A larger crop shows what the usual one shows, and a plan's workers make the same.
func TestCropSize(t *testing.T) {
	root := folder(t, map[string][]byte{
		"Ann/1.png": imgcodec.EncodePNG(photo(1, 400, 400, 180, 172)),
		"Bob/1.png": imgcodec.EncodePNG(photo(2, 300, 260, 120, 104)),
	})
	o := ingest.Options{Sources: []string{"folder=" + root}, Detector: detector(t), Out: filepath.Join(t.TempDir(), "small.ds"), MaxRejectRate: 1}
	mustRun(t, o)
	usual := crops(t, o.Out)
	o.Out, o.CropSize = filepath.Join(t.TempDir(), "large.ds"), 160
	s := mustRun(t, o)
	if s.Written != 2 {
		t.Fatalf("%+v", s)
	}
	for key, c := range crops(t, o.Out) {
		want := tiles(t, usual[key], 112)
		for i, v := range tiles(t, c, 160) {
			if math.Abs(v-want[i]) > 8 {
				t.Errorf("%s: tile %d is %.0f, in the usual crop %.0f", key, i, v, want[i])
			}
		}
		if c.Landmarks != usual[key].Landmarks || math.Abs(float64(c.Quality.FaceSize-usual[key].Quality.FaceSize)) > 0.02 {
			t.Errorf("%s: landmarks %v and face %g, of the usual crop %v and %g", key, c.Landmarks, c.Quality.FaceSize, usual[key].Landmarks, usual[key].Quality.FaceSize)
		}
	}
	ds, err := store.Open(o.Out)
	if err != nil {
		t.Fatal(err)
	}
	defer ds.Close()
	if ds.Contract().CropSize != 160 {
		t.Errorf("the dataset has %+v", ds.Contract())
	}
	again := o
	again.CropSize = 0
	if _, err := run(t, again); !errors.Is(err, store.ErrContract) {
		t.Errorf("crops of another size beside them: %v", err)
	}
	o.Out = filepath.Join(t.TempDir(), "planned.ds")
	job := filepath.Join(t.TempDir(), "job")
	if _, err := ingest.MakePlan(t.Context(), o, job, 1); err != nil {
		t.Fatal(err)
	}
	if _, err := ingest.Work(t.Context(), job, worker.Worker{Count: 1}, ingest.Options{}); err != nil {
		t.Fatal(err)
	}
	if m, err := ingest.MergePlan(t.Context(), job, ingest.MergeOptions{Options: ingest.Options{MaxRejectRate: 1}}); err != nil || m.Digest != s.Digest {
		t.Errorf("a plan makes %+v, %v, a single process %s", m, err, s.Digest)
	}
}

// Aligned crops of the size that is asked for keep their bytes; others are refused.
func TestAlignedCropsOfAnotherSize(t *testing.T) {
	kept := imgcodec.EncodePNG(textured(1, 160, 160))
	root := folder(t, map[string][]byte{"a.png": kept, "b.png": imgcodec.EncodePNG(textured(2, 112, 112))})
	o := ingest.Options{Sources: []string{"folder=" + root}, Out: filepath.Join(t.TempDir(), "faces.ds"), CropSize: 160}
	if s := mustRun(t, o); s.Written != 1 || s.Rejected != 1 {
		t.Errorf("%+v", s)
	}
	if c := crops(t, o.Out)["a.png"]; string(c.Image) != string(kept) {
		t.Error("the crop's bytes have changed")
	}
}
