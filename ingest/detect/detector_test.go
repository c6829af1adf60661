package detect_test

import (
	"errors"
	"math"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"facepipe/ingest/align"
	"facepipe/ingest/detect"
	"facepipe/ingest/detect/detecttest"
	"facepipe/internal/imgcodec"
	"facepipe/internal/ort"
)

// modelFile writes a model for a test and returns its spec.
func modelFile(t testing.TB, o detecttest.Options) detect.Spec {
	t.Helper()
	path := filepath.Join(t.TempDir(), "model.onnx")
	if err := os.WriteFile(path, detecttest.Model(o), 0o644); err != nil {
		t.Fatal(err)
	}
	return detect.Spec{Kind: o.Kind, File: path}
}

func open(t testing.TB, spec detect.Spec, o detect.Options) *detect.Detector {
	t.Helper()
	d, err := detect.Open(spec, o)
	if errors.Is(err, ort.ErrRuntime) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	})
	return d
}

// grey is a photograph of nothing.
func grey(w, h int) *imgcodec.Image {
	img := imgcodec.NewImage(w, h)
	for i := range img.Pix {
		img.Pix[i] = 100
	}
	return img
}

func wantLandmarks(t *testing.T, got, want align.Landmarks) {
	t.Helper()
	for i := range got {
		if math.Hypot(got[i].X-want[i].X, got[i].Y-want[i].Y) > 0.01 {
			t.Errorf("landmarks = %v, want %v", got, want)
			return
		}
	}
}

func TestDetectorFindsFaces(t *testing.T) {
	models := map[string]detecttest.Options{
		"scrfd":           {Kind: "scrfd"},
		"scrfd, batched":  {Kind: "scrfd", Batched: true},
		"scrfd, fixed":    {Kind: "scrfd", W: 320, H: 256},
		"scrfd, 5 levels": {Kind: "scrfd", Strides: []int{8, 16, 32, 64, 128}},
		"yunet":           {Kind: "yunet", Batched: true},
		"yunet, fixed":    {Kind: "yunet", W: 320, H: 320},
	}
	for name, o := range models {
		t.Run(name, func(t *testing.T) {
			d := open(t, modelFile(t, o), detect.Options{})
			photo := grey(250, 200)
			detecttest.Draw(photo, 80, 96)
			detecttest.Draw(photo, 200, 8)
			faces, err := d.Detect(photo)
			if err != nil {
				t.Fatal(err)
			}
			if len(faces) != 2 {
				t.Fatalf("found %d faces: %+v", len(faces), faces)
			}
			face := detect.Main(faces, photo.W, photo.H)
			wantLandmarks(t, face.Landmarks, detecttest.Landmarks(80, 96))
			if face.Score < 0.9 || face.Score > 1 {
				t.Errorf("score %v", face.Score)
			}
			if want := [4]float64{64, 80, 112, 128}; math.Abs(face.X1-want[0])+math.Abs(face.Y1-want[1])+
				math.Abs(face.X2-want[2])+math.Abs(face.Y2-want[3]) > 0.1 {
				t.Errorf("box %+v, want %v", face, want)
			}
		})
	}
}

func TestDetectorShrinksLargePhotographs(t *testing.T) {
	d := open(t, modelFile(t, detecttest.Options{Kind: "scrfd"}), detect.Options{Size: 256})
	photo := grey(1024, 512) // seen at a quarter
	for y := 160; y < 224; y++ {
		for x := 320; x < 384; x++ {
			copy(photo.Pix[3*(y*photo.W+x):], []byte{255, 0, 0})
		}
	}
	faces, err := d.Detect(photo)
	if err != nil || len(faces) != 1 {
		t.Fatalf("found %+v, %v", faces, err)
	}
	want := detecttest.Landmarks(80, 40)
	for i := range want {
		want[i].X, want[i].Y = 4*want[i].X, 4*want[i].Y
	}
	wantLandmarks(t, faces[0].Landmarks, want)
}

// The model is blind to a face of this size at first and sees it at half the size,
// in the middle of the canvas.
func TestDetectorLooksAgain(t *testing.T) {
	d := open(t, modelFile(t, detecttest.Options{Kind: "scrfd", Isolated: true}), detect.Options{})
	photo := grey(256, 256)
	for y := 96; y < 144; y++ {
		for x := 112; x < 160; x++ {
			copy(photo.Pix[3*(y*photo.W+x):], []byte{255, 0, 0})
		}
	}
	faces, err := d.Detect(photo)
	if err != nil || len(faces) != 1 {
		t.Fatalf("found %+v, %v", faces, err)
	}
	// The one cell that sees the square in the middle begins 16 of its pixels from
	// the square's corner, half as many on the canvas.
	want := detecttest.Landmarks(0, 0)
	for i, p := range want {
		want[i] = align.Point{X: 112 + 16 + 2*p.X, Y: 96 + 16 + 2*p.Y}
	}
	wantLandmarks(t, faces[0].Landmarks, want)

	small := grey(256, 256)
	detecttest.Draw(small, 80, 80)
	if faces, err := d.Detect(small); err != nil || len(faces) != 1 {
		t.Errorf("found %+v, %v at the first look", faces, err)
	}
	if faces, err := d.Detect(grey(256, 256)); err != nil || len(faces) != 0 {
		t.Errorf("found %+v, %v in nothing", faces, err)
	}
}

func TestDetectorIsSafeForConcurrentUse(t *testing.T) {
	d := open(t, modelFile(t, detecttest.Options{Kind: "yunet", Batched: true}), detect.Options{})
	var wg sync.WaitGroup
	for worker := range 4 {
		wg.Go(func() {
			for i := range 20 {
				x, y := 8*(3+i%5), 8*(3+worker)
				photo := grey(130+60*worker, 140)
				detecttest.Draw(photo, x, y)
				faces, err := d.Detect(photo)
				if err != nil || len(faces) != 1 {
					t.Errorf("found %+v, %v", faces, err)
					return
				}
				if want := detecttest.Landmarks(x, y); math.Abs(faces[0].Landmarks[0].X-want[0].X) > 0.01 {
					t.Errorf("another worker's face: %v, want %v", faces[0].Landmarks, want)
				}
			}
		})
	}
	wg.Wait()
}

func TestOpenRefusals(t *testing.T) {
	dir := t.TempDir()
	write := func(name string, data []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, data, 0o644); err != nil {
			t.Fatal(err)
		}
		return path
	}
	scrfd := write("scrfd.onnx", detecttest.Model(detecttest.Options{Kind: "scrfd"}))
	open(t, detect.Spec{Kind: "scrfd", File: scrfd}, detect.Options{}) // skips without a runtime
	tests := []struct {
		name string
		spec detect.Spec
		o    detect.Options
		want string
	}{
		{"missing", detect.Spec{Kind: "scrfd", File: filepath.Join(dir, "none.onnx")}, detect.Options{}, "no such file"},
		{"no model", detect.Spec{Kind: "scrfd", File: write("text.onnx", []byte("hello"))}, detect.Options{}, "cannot load model"},
		{"empty", detect.Spec{Kind: "scrfd", File: write("empty.onnx", nil)}, detect.Options{}, "cannot load model"},
		{"another family", detect.Spec{Kind: "yunet", File: scrfd}, detect.Options{}, "score outputs"},
		{"unknown kind", detect.Spec{Kind: "retina", File: scrfd}, detect.Options{}, "unknown"},
		{"score out of range", detect.Spec{Kind: "scrfd", File: scrfd}, detect.Options{MinScore: 1.5}, "out of range"},
	}
	for _, tt := range tests {
		d, err := detect.Open(tt.spec, tt.o)
		if err == nil {
			_ = d.Close()
		}
		if err == nil || !strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), tt.spec.File) {
			t.Errorf("%s: error %v, want one that names the file and says %q", tt.name, err, tt.want)
		}
	}
}

func TestDetectorName(t *testing.T) {
	free := open(t, modelFile(t, detecttest.Options{Kind: "scrfd"}), detect.Options{})
	if got, want := free.Name(), "scrfd, input up to 640, score from 0.5"; got != want {
		t.Errorf("name %q, want %q", got, want)
	}
	fixed := open(t, modelFile(t, detecttest.Options{Kind: "yunet", W: 320, H: 256}), detect.Options{MinScore: 0.75})
	if got, want := fixed.Name(), "yunet, input 320x256, score from 0.75"; got != want {
		t.Errorf("name %q, want %q", got, want)
	}
	if len(free.Digest()) != 64 || free.Digest() == fixed.Digest() {
		t.Errorf("digests %q and %q", free.Digest(), fixed.Digest())
	}
}

func TestParseSpec(t *testing.T) {
	tests := map[string]detect.Spec{
		"":               {Kind: "none"},
		"none":           {Kind: "none"},
		"scrfd=a=b.onnx": {Kind: "scrfd", File: "a=b.onnx"},
		"yunet=y.onnx":   {Kind: "yunet", File: "y.onnx"},
	}
	for in, want := range tests {
		if got, err := detect.ParseSpec(in); err != nil || got != want {
			t.Errorf("ParseSpec(%q) = %+v, %v", in, got, err)
		}
	}
	for _, bad := range []string{"scrfd", "scrfd=", "mtcnn=x.onnx", "none=x"} {
		if _, err := detect.ParseSpec(bad); err == nil || !strings.Contains(err.Error(), "yunet=FILE") {
			t.Errorf("ParseSpec(%q) = %v, want an error that lists the kinds", bad, err)
		}
	}
}

func BenchmarkDetect(b *testing.B) {
	d := open(b, modelFile(b, detecttest.Options{Kind: "scrfd"}), detect.Options{})
	photo := grey(250, 250)
	detecttest.Draw(photo, 80, 96)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := d.Detect(photo); err != nil {
			b.Fatal(err)
		}
	}
}
