package ingest_test

import (
	"bytes"
	"math"
	"os"
	"path/filepath"
	"testing"

	"facepipe/ingest"
	"facepipe/ingest/detect"
	"facepipe/internal/imgcodec"
)

// realData is the folder of photographs and models that are not part of the
// project; the test is skipped without it.
func realData(t testing.TB, elements ...string) string {
	t.Helper()
	root := os.Getenv("PIPE_REAL_DATA")
	if root == "" {
		t.Skip("PIPE_REAL_DATA names no folder of real photographs")
	}
	root, err := filepath.Abs(root)
	if err != nil {
		t.Fatal(err)
	}
	return filepath.Join(append([]string{root}, elements...)...)
}

// sample links every step-th entry of a directory into a new one.
func sample(t testing.TB, dir string, step int) string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	root := t.TempDir()
	for i := 0; i < len(entries); i += step {
		name := entries[i].Name()
		if err := os.Symlink(filepath.Join(dir, name), filepath.Join(root, name)); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

func realDetectors(t testing.TB) map[string]string {
	return map[string]string{
		"scrfd": "scrfd=" + realData(t, "models", "scrfd_2.5g_bnkps.onnx"),
		"yunet": "yunet=" + realData(t, "models", "yunet_n_dynamic.onnx"),
	}
}

// Both detectors find a face in every photograph of a sample of LFW, and the same
// one: landmarks that were swapped or shifted by one of them would lie far apart.
func TestRealLFW(t *testing.T) {
	root := sample(t, realData(t, "lfw", "images"), 25)
	landmarks := map[string]map[string][10]float32{}
	for name, spec := range realDetectors(t) {
		out := filepath.Join(t.TempDir(), "lfw.ds")
		s := mustRun(t, ingest.Options{Sources: []string{"folder=" + root}, Out: out, Detector: spec})
		if s.Seen < 200 || s.Written != s.Seen {
			t.Errorf("%s: summary %+v", name, s)
		}
		landmarks[name] = map[string][10]float32{}
		for key, c := range crops(t, out) {
			landmarks[name][key] = c.Landmarks
		}
		t.Logf("%s: %d photographs, %.1f a second", name, s.Seen, s.ImagesPerSecond)
	}
	var shift [10]float64
	for key, a := range landmarks["scrfd"] {
		b := landmarks["yunet"][key]
		for i := range a {
			shift[i] += float64(a[i]-b[i]) / float64(len(landmarks["scrfd"]))
		}
	}
	// The eyes are 42 pixels apart: half a stride of disagreement would show.
	for i, d := range shift {
		if math.Abs(d) > 1.5 {
			t.Errorf("coordinate %d: the detectors are %.1f pixels apart on average", i, d)
		}
	}
}

// Tight crops without background: the hardest kind of sound photograph.
func TestRealUTKFace(t *testing.T) {
	root := sample(t, realData(t, "utkface"), 17)
	for name, spec := range realDetectors(t) {
		s := mustRun(t, ingest.Options{Sources: []string{"folder=" + root}, Out: filepath.Join(t.TempDir(), "utk.ds"), Detector: spec})
		if s.Seen < 290 || s.Rejected > 1 || s.Identities != 0 {
			t.Errorf("%s: summary %+v", name, s)
		}
	}
}

// At 2.5 times its size a tight crop is beyond SCRFD's anchors at the first look.
func TestRealLargeTightCrops(t *testing.T) {
	spec, err := detect.ParseSpec(realDetectors(t)["scrfd"])
	if err != nil {
		t.Fatal(err)
	}
	d, err := detect.Open(spec, detect.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	files, err := filepath.Glob(realData(t, "utkface", "*.jpg"))
	if err != nil {
		t.Fatal(err)
	}
	found, seen := 0, 0
	for i := 0; i < len(files); i += 300 {
		data, err := os.ReadFile(files[i])
		if err != nil {
			t.Fatal(err)
		}
		small, _, err := imgcodec.Decode(data, imgcodec.Limits{})
		if err != nil {
			t.Fatal(err)
		}
		large := imgcodec.NewImage(small.W*5/2, small.H*5/2)
		for y := range large.H {
			for x := range large.W {
				copy(large.Pix[3*(y*large.W+x):][:3], small.Pix[3*(y*2/5*small.W+x*2/5):])
			}
		}
		faces, err := d.Detect(large)
		if err != nil {
			t.Fatal(err)
		}
		seen++
		if len(faces) > 0 {
			found++
		}
	}
	if seen < 15 || found < seen {
		t.Errorf("found a face in %d of %d", found, seen)
	}
}

func TestRealAlignedCrops(t *testing.T) {
	root, out := realData(t, "glint24"), filepath.Join(t.TempDir(), "glint.ds")
	s := mustRun(t, ingest.Options{Sources: []string{"folder=" + root}, Out: out})
	if s.Identities != 24 || s.Rejected != 0 || s.Written+s.Duplicates != s.Seen || s.Written < 900 {
		t.Errorf("summary %+v", s)
	}
	for key, c := range crops(t, out) {
		file, err := os.ReadFile(filepath.Join(root, filepath.FromSlash(key)))
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(file, c.Image) {
			t.Fatalf("%s was changed", key)
		}
	}
}

func TestRealMisnamedWebP(t *testing.T) {
	for name, spec := range realDetectors(t) {
		s := mustRun(t, ingest.Options{Sources: []string{"folder=" + realData(t, "edge")}, Out: filepath.Join(t.TempDir(), "edge.ds"), Detector: spec})
		if s.Written != 1 || s.Rejected != 0 {
			t.Errorf("%s: summary %+v", name, s)
		}
	}
}
