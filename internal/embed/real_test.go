package embed

import (
	"fmt"
	"math"
	"os"
	"path/filepath"
	"testing"

	"facepipe/internal/imgcodec"
)

// realData is the folder of real photographs and models.
func realData(t testing.TB) string {
	dir := os.Getenv("PIPE_REAL_DATA")
	if dir == "" {
		t.Skip("PIPE_REAL_DATA is not set")
	}
	return dir
}

// people loads aligned crops, shots for each person, person by person.
func people(t testing.TB, persons, shots int) (pixels []byte) {
	t.Helper()
	folders, err := filepath.Glob(filepath.Join(realData(t), "glint24", "*"))
	if err != nil || len(folders) < persons {
		t.Fatalf("%d folders of people, %v", len(folders), err)
	}
	for _, folder := range folders[:persons] {
		files, err := filepath.Glob(filepath.Join(folder, "*.png"))
		if err != nil || len(files) < shots {
			t.Fatalf("%s: %d crops, %v", folder, len(files), err)
		}
		for _, file := range files[:shots] {
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			img, _, err := imgcodec.Decode(data, imgcodec.Limits{})
			if err != nil || img.W != 112 || img.H != 112 {
				t.Fatalf("%s: %v", file, err)
			}
			pixels = append(pixels, img.Pix...)
		}
	}
	return pixels
}

// faces are embeddings, shots for each person, person by person.
type faces struct {
	embeddings []float32
	dim, shots int
}

func (f faces) row(i int) []float32 { return f.embeddings[i*f.dim : (i+1)*f.dim] }

// separation is the mean cosine of pairs of one person less that of pairs of two, in
// standard deviations of the latter.
func (f faces) separation() float64 {
	var same, other, square, sames, others float64
	n := len(f.embeddings) / f.dim
	for i := range n {
		for j := range i {
			c := dot(f.row(i), f.row(j)) / math.Sqrt(dot(f.row(i), f.row(i))*dot(f.row(j), f.row(j)))
			if i/f.shots == j/f.shots {
				same, sames = same+c, sames+1
			} else {
				other, square, others = other+c, square+c*c, others+1
			}
		}
	}
	mean := other / others
	return (same/sames - mean) / math.Sqrt(square/others-mean*mean)
}

func dot(a, b []float32) float64 {
	sum := 0.0
	for i := range a {
		sum += float64(a[i]) * float64(b[i])
	}
	return sum
}

// The models that the project's measurements rest on are read as they should be: the
// contract that auto finds tells people apart better than the other one does.
func TestRealModels(t *testing.T) {
	models := filepath.Join(realData(t), "models")
	const persons, shots = 8, 5
	pixels := people(t, persons, shots)
	embed := func(m *Model) faces {
		f := faces{make([]float32, persons*shots*m.Dim()), m.Dim(), shots}
		if err := m.Embed(persons*shots, pixels, false, f.embeddings); err != nil {
			t.Fatal(err)
		}
		return f
	}
	for name, c := range map[string]struct {
		dim            int
		want           Preprocess
		other          string
		normLo, normHi float64 // of the mean norm; 0 where nobody has measured it
	}{
		"w600k_mbf": {512, ArcFace(), "raw", 20, 28},
		"mbf_y1":    {128, Raw(), "arcface", 0, math.Inf(1)},
	} {
		path := filepath.Join(models, name+".onnx")
		m := open(t, path, Options{})
		if m.Dim() != c.dim || m.Preprocess() != c.want || m.Batch() != cpuBatch {
			t.Errorf("%s: dim %d, %v (%s), batch %d", name, m.Dim(), m.Preprocess(), m.Reason(), m.Batch())
		}
		found := embed(m)
		norm := 0.0
		for i := range persons * shots {
			norm += math.Sqrt(dot(found.row(i), found.row(i))) / (persons * shots)
		}
		if norm < c.normLo || norm > c.normHi {
			t.Errorf("%s: mean norm %.1f", name, norm)
		}
		right := found.separation()
		wrong := embed(open(t, path, Options{Preprocess: c.other})).separation()
		if right < 3 || wrong >= right {
			t.Errorf("%s: separation %.2f as found, %.2f with %s", name, right, wrong, c.other)
		}
		t.Logf("%s: mean norm %.1f, separation %.2f, with %s %.2f", name, norm, right, c.other, wrong)
	}
}

// realModel opens a real teacher.
func realModel(b *testing.B, batch int) *Model {
	return open(b, filepath.Join(realData(b), "models", "w600k_mbf.onnx"), Options{Batch: batch})
}

// BenchmarkBareSession is the runtime alone on one resident batch: what no pipeline
// can beat.
func BenchmarkBareSession(b *testing.B) {
	for _, size := range []int{4, 8, 16, 32} {
		b.Run(fmt.Sprintf("batch=%d", size), func(b *testing.B) {
			m := realModel(b, size)
			one, err := newBatch(m)
			if err != nil {
				b.Fatal(err)
			}
			defer one.close()
			for b.Loop() {
				if err := one.run(0, size); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.N*size)/b.Elapsed().Seconds(), "images/s")
		})
	}
}

// BenchmarkStream embeds the same number of crops by the pipeline, decoding each from
// a PNG.
func BenchmarkStream(b *testing.B) {
	png := imgcodec.EncodePNG(&imgcodec.Image{W: 112, H: 112, Pix: people(b, 1, 1)})
	for _, size := range []int{4, 8, 16, 32} {
		b.Run(fmt.Sprintf("batch=%d", size), func(b *testing.B) {
			m := realModel(b, size)
			load := func(_ int, rgb []byte) error { return imgcodec.DecodeRGB(imgcodec.PNG, png, 112, 112, rgb) }
			emit := func(int, [][]float32) error { return nil }
			b.ResetTimer()
			if _, err := m.Stream(b.Context(), b.N*size, load, emit, StreamOptions{Flips: []bool{false}}); err != nil {
				b.Fatal(err)
			}
			b.ReportMetric(float64(b.N*size)/b.Elapsed().Seconds(), "images/s")
		})
	}
}

// insightface publishes 0.45 GFLOPs for this network; the other is the one of the first
// publication of MobileFaceNet, with 128 numbers.
func TestRealMultiplications(t *testing.T) {
	for name, want := range map[string][2]int64{"w600k_mbf.onnx": {3399424, 440444928}, "mbf_y1.onnx": {993600, 220965376}} {
		path := filepath.Join(realData(t), "models", name)
		f, err := Describe(path)
		if err != nil {
			t.Fatal(err)
		}
		work, err := open(t, path, Options{Batch: 1}).Multiplications()
		if err != nil || f.Parameters != want[0] || work.Weights != want[1] || work.Attention != 0 || len(work.Unknown) > 0 {
			t.Errorf("%s: %d parameters, %+v, %v; want %v", name, f.Parameters, work, err, want)
		}
	}
}
