package embed

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"math"
	"strings"
	"testing"

	"facepipe/internal/onnx"
)

// resampledCrop is a crop of 112×112 in another size.
func resampledCrop(crop []byte, width, height int) []byte {
	p := Raw()
	p.Width, p.Height = width, height
	f := newFiller(p, 112)
	c := f.newCanvas()
	copy(c.crop, crop)
	return f.pixels(c)
}

// What comes out is what the rule says in real numbers.
func TestResamplingByTheRule(t *testing.T) {
	crop := crops(1)
	for _, size := range [][2]int{{160, 160}, {224, 224}, {113, 113}, {56, 56}, {96, 96}, {96, 112}, {120, 160}, {64, 32}, {1, 1}} {
		width, height := size[0], size[1]
		scale := 112 / float64(max(width, height))
		got := resampledCrop(crop, width, height)
		for y := 0; y < height; y += 7 {
			for x := 0; x < width; x += 5 {
				u := 56 + (float64(x)+0.5-float64(width)/2)*scale
				v := 56 + (float64(y)+0.5-float64(height)/2)*scale
				var sum, weights float64
				for j := range 112 {
					for i := range 112 {
						a := 1 - math.Abs(u-float64(i)-0.5)/max(scale, 1)
						b := 1 - math.Abs(v-float64(j)-0.5)/max(scale, 1)
						if a > 0 && b > 0 {
							sum += a * b * float64(crop[3*(112*j+i)+1])
							weights += a * b
						}
					}
				}
				if g := float64(got[3*(width*y+x)+1]); math.Abs(g-sum/weights) > 0.6 {
					t.Fatalf("%dx%d: pixel %d,%d is %g, want %g", width, height, x, y, g, sum/weights)
				}
			}
		}
	}
}

// SphereFace's 96×112 are the middle columns of ArcFace's 112×112, to the bit.
func TestMiddleColumns(t *testing.T) {
	crop := crops(1)
	got := resampledCrop(crop, 96, 112)
	for y := range 112 {
		if !bytes.Equal(got[3*96*y:3*96*(y+1)], crop[3*(112*y+8):3*(112*y+104)]) {
			t.Fatalf("row %d differs", y)
		}
	}
}

// A rule has the same bits for ever: caches name it.
func TestResamplingNeverChanges(t *testing.T) {
	for size, want := range map[int]string{160: "2b2f105c", 224: "db6d5980", 64: "054f066c"} {
		sum := sha256.Sum256(resampledCrop(crops(1), size, size))
		if got := hex.EncodeToString(sum[:4]); got != want {
			t.Errorf("%s at %d gives %s, want %s", resampleRule, size, got, want)
		}
	}
}

// sized makes the model's input one of a size.
func sized(width, height int64) func(*onnx.Model) {
	return func(m *onnx.Model) {
		m.Graph.Inputs[0].Dims = append([]onnx.Dim{onnx.Variable("N")}, onnx.Fixed(3, height, width)...)
	}
}

// A model of another size gets crops of that size, in every way in which it is run, and says so.
func TestModelOfAnotherSize(t *testing.T) {
	for _, c := range []struct {
		width, height int
		say           string
	}{
		{160, 160, "the model takes 160x160, the crops are 112x112: they are enlarged (triangle filter), which adds no detail"},
		{96, 96, "they are shrunk (triangle filter), which costs next to nothing"},
		{96, 112, "the crops are 112x112; of their columns the middle 96 in 112 are taken"},
		{224, 160, "ingest --crop-size 224 makes crops of that size; of their rows the middle 160 in 224 are taken"},
	} {
		path := tiny(t, sized(int64(c.width), int64(c.height)))
		m := open(t, path, Options{Crop: 112, Batch: 2})
		p := m.Preprocess()
		if p.Width != c.width || p.Height != c.height || p.Resample != resampleRule || m.CropBytes() != 3*112*112 || !strings.Contains(strings.Join(m.Notes(), "; "), c.say) {
			t.Errorf("%dx%d: %v, notes %q", c.width, c.height, p, m.Notes())
		}
		pixels := crops(3)
		want, own := make([]float32, 12), open(t, path, Options{})
		for i := range 3 {
			if err := own.Embed(1, resampledCrop(pixels[i*m.CropBytes():], c.width, c.height), true, want[4*i:]); err != nil {
				t.Fatal(err)
			}
		}
		got := make([]float32, 12)
		if err := m.Embed(3, pixels, true, got); err != nil {
			t.Fatal(err)
		}
		_, err := m.Under(m.Preprocess()).Stream(t.Context(), 3, func(i int, rgb []byte) error {
			copy(rgb, pixels[i*m.CropBytes():(i+1)*m.CropBytes()])
			return nil
		}, func(i int, rows [][]float32) error {
			if difference(rows[1], want[4*i:4*i+4]) > 1e-6 || difference(rows[1], got[4*i:4*i+4]) > 1e-6 {
				t.Errorf("%dx%d: crop %d is %v as one of many, %v among few, want %v", c.width, c.height, i, rows[1], got[4*i:], want[4*i:])
			}
			return nil
		}, StreamOptions{Flips: []bool{false, true}})
		if err != nil {
			t.Error(err)
		}
		if own.Preprocess().Resample != "" || m.Fingerprint(true, "fp16", Rounding{}) == own.Fingerprint(true, "fp16", Rounding{}) {
			t.Errorf("%dx%d: crops of the model's own size have %v", c.width, c.height, own.Preprocess())
		}
		given := m.Preprocess()
		if again := open(t, path, Options{Crop: 112, Contract: &given}); again.Fingerprint(true, "fp16", Rounding{}) != m.Fingerprint(true, "fp16", Rounding{}) {
			t.Error("the contract of a cache gives another fingerprint")
		}
		expectError(t, path, Options{Crop: max(c.width, c.height) + 1, Contract: &own.resolved.Preprocess}, ErrPreprocess, `need "triangle"`)
		given.Resample = "cubic"
		expectError(t, path, Options{Crop: 112, Contract: &given}, ErrPreprocess, "is not the rule of this program")
	}
	same := open(t, tiny(t, nil), Options{Crop: 112})
	if same.Preprocess() != ArcFace() || len(same.Notes()) > 0 {
		t.Errorf("crops of the right size: %v, %q", same.Preprocess(), same.Notes())
	}
	wide := ArcFace()
	wide.Width = 128
	if _, err := Open(t.Context(), tiny(t, sized(160, 160)), Options{Crop: 112, Preprocess: preprocessFile(t, wide)}); !errors.Is(err, ErrShape) {
		t.Errorf("a file with another size than the model's: %v", err)
	}
}

func BenchmarkResample(b *testing.B) {
	p := ArcFace()
	p.Width, p.Height = 160, 160
	f := newFiller(p, 112)
	c := f.newCanvas()
	for b.Loop() {
		f.pixels(c)
	}
}
