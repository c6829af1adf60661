package ingest_test

import (
	"bytes"
	"errors"
	"image/jpeg"
	"math"
	"os"
	"path/filepath"
	"testing"

	"facepipe/ingest"
	"facepipe/internal/embed"
	"facepipe/internal/imgcodec"
	"facepipe/internal/ort"
	"facepipe/internal/synthface"
	"facepipe/testdata"
)

// decodedBy are the crops of the same photographs with each decoder, in one order.
type decodedBy struct {
	std, turbo []byte // n crops of 112 by 112 pixels
	n          int
}

func (d *decodedBy) add(std, turbo []byte) {
	d.std, d.turbo, d.n = append(d.std, std...), append(d.turbo, turbo...), d.n+1
}

// worstPSNR is the lowest ratio of signal and noise of a crop, in dB.
func (d *decodedBy) worstPSNR() float64 {
	worst := math.Inf(1)
	for i := range d.n {
		size := len(d.std) / d.n
		psnr, _, _ := difference(d.std[i*size:(i+1)*size], d.turbo[i*size:(i+1)*size])
		worst = min(worst, psnr)
	}
	return worst
}

// cosines returns the lowest and the mean cosine between the embeddings of a crop by
// one decoder and by the other.
func (d *decodedBy) cosines(t *testing.T, m *embed.Model) (lowest, mean float64) {
	t.Helper()
	var both [2][]float32
	for i, pixels := range [][]byte{d.std, d.turbo} {
		both[i] = make([]float32, d.n*m.Dim())
		if err := m.Embed(d.n, pixels, false, both[i]); err != nil {
			t.Fatal(err)
		}
	}
	lowest = 1
	for i := range d.n {
		a, b := both[0][i*m.Dim():(i+1)*m.Dim()], both[1][i*m.Dim():(i+1)*m.Dim()]
		var ab, aa, bb float64
		for k := range a {
			ab, aa, bb = ab+float64(a[k])*float64(b[k]), aa+float64(a[k])*float64(a[k]), bb+float64(b[k])*float64(b[k])
		}
		cosine := ab / math.Sqrt(aa*bb)
		lowest, mean = min(lowest, cosine), mean+cosine/float64(d.n)
	}
	return lowest, mean
}

// alignedFaces are JPEG files of aligned faces, decoded by both.
func alignedFaces(t *testing.T, people, shots int) (d decodedBy) {
	t.Helper()
	g := synthface.New(11)
	for i := range people * shots {
		crop, _ := g.Aligned(i/shots, i%shots, synthface.DefaultHard)
		var buf bytes.Buffer
		if err := jpeg.Encode(&buf, picture(crop), &jpeg.Options{Quality: 95}); err != nil {
			t.Fatal(err)
		}
		var both [2][]byte
		for k, choice := range []string{imgcodec.Std, imgcodec.Turbo} {
			if err := imgcodec.Use(choice); err != nil {
				t.Fatal(err)
			}
			img, _, err := imgcodec.Decode(buf.Bytes(), imgcodec.Limits{})
			if err != nil {
				t.Fatal(err)
			}
			both[k] = img.Pix
		}
		d.add(both[0], both[1])
	}
	return d
}

// photographed are photographs of size by size pixels, ingested with both decoders.
func photographed(t *testing.T, people, shots, size int) (d decodedBy) {
	t.Helper()
	made, err := synthface.WriteFolder(t.Context(), t.TempDir(), synthface.FolderOptions{
		Identities: people, PerIdentity: shots, Size: size, Seed: 11, Hard: synthface.DefaultHard,
	})
	if err != nil {
		t.Fatal(err)
	}
	var both [2]map[string][]byte
	for k, choice := range []string{imgcodec.Std, imgcodec.Turbo} {
		out := filepath.Join(t.TempDir(), "faces.ds")
		mustRun(t, ingest.Options{Sources: []string{"folder=" + made.ImageDir}, Landmarks: made.LandmarksFile, Out: out, Decoder: choice})
		both[k] = map[string][]byte{}
		for key, c := range crops(t, out) {
			both[k][key] = pixels(t, c)
		}
	}
	if len(both[0]) != people*shots || len(both[1]) != people*shots {
		t.Fatalf("%d and %d crops", len(both[0]), len(both[1]))
	}
	for key, std := range both[0] {
		d.add(std, both[1][key])
	}
	return d
}

// The two JPEG decoders differ in how they interpolate colour, and by how they reduce
// large photographs. That must stay a matter of noise, to the eye and to an embedder:
// other pictures of the same person have a cosine far below these.
func TestDecodersGiveTheSameFaces(t *testing.T) {
	if len(decoders(t)) < 2 {
		t.Skip("libturbojpeg is not here")
	}
	t.Cleanup(func() {
		if err := imgcodec.Use(imgcodec.Auto); err != nil {
			t.Error(err)
		}
	})
	var model *embed.Model
	path := filepath.Join(t.TempDir(), "teacher.onnx")
	if err := os.WriteFile(path, testdata.Teacher, 0o644); err != nil {
		t.Fatal(err)
	}
	model, err := embed.Open(t.Context(), path, embed.Options{})
	switch {
	case errors.Is(err, ort.ErrRuntime):
		t.Logf("only pixels are compared: %v", err)
	case err != nil:
		t.Fatal(err)
	default:
		defer model.Close()
	}
	tests := []struct {
		name                 string
		faces                decodedBy
		psnr, lowest, cosine float64
	}{
		{"aligned crops", alignedFaces(t, 8, 4), 37, 0.995, 0.999},
		{"photographs", photographed(t, 8, 4, 250), 43, 0.998, 0.9995},
		{"large photographs", photographed(t, 2, 1, 1300), 50, 0.999, 0.9995},
	}
	for _, tt := range tests {
		psnr := tt.faces.worstPSNR()
		t.Logf("%s: at least %.1f dB", tt.name, psnr)
		if psnr < tt.psnr {
			t.Errorf("%s: the decoders differ: %.1f dB, want at least %.1f", tt.name, psnr, tt.psnr)
		}
		if model == nil {
			continue
		}
		lowest, mean := tt.faces.cosines(t, model)
		t.Logf("%s: cosine at least %.5f, %.5f on average", tt.name, lowest, mean)
		if lowest < tt.lowest || mean < tt.cosine {
			t.Errorf("%s: the embeddings differ: cosine at least %.4f, %.4f on average, want %v and %v", tt.name, lowest, mean, tt.lowest, tt.cosine)
		}
	}
}
