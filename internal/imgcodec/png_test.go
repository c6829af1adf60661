package imgcodec

import (
	"bytes"
	"errors"
	"image/png"
	"math/rand/v2"
	"testing"
)

// The standard library's decoder gives back every pixel of pictures of any size.
func TestEncodePNG(t *testing.T) {
	rng := rand.New(rand.NewPCG(21, 22))
	for _, size := range [][2]int{{1, 1}, {1, 9}, {9, 1}, {2, 3}, {112, 112}, {301, 77}} {
		for _, depth := range []int{1, 4, 256} { // values that differ little, and widely
			img := NewImage(size[0], size[1])
			for i := range img.Pix {
				img.Pix[i] = byte(rng.IntN(depth))
			}
			file := EncodePNG(img)
			got, err := png.Decode(bytes.NewReader(file))
			if err != nil {
				t.Fatalf("%v: %v", size, err)
			}
			if b := got.Bounds(); b.Dx() != img.W || b.Dy() != img.H {
				t.Fatalf("%v: got %v", size, b)
			}
			for i := 0; i < len(img.Pix); i += 3 {
				r, g, b, a := got.At(i/3%img.W, i/3/img.W).RGBA()
				if want := img.Pix[i:]; byte(r>>8) != want[0] || byte(g>>8) != want[1] || byte(b>>8) != want[2] || a != 0xffff {
					t.Fatalf("%v: pixel %d is %d %d %d, want %v", size, i/3, r>>8, g>>8, b>>8, want[:3])
				}
			}
			if !bytes.Equal(file, EncodePNG(img)) {
				t.Errorf("%v: the same pixels give other bytes", size)
			}
		}
	}
}

func BenchmarkEncodePNG(b *testing.B) {
	img := testPattern()
	b.SetBytes(int64(len(img.Pix)))
	for b.Loop() {
		EncodePNG(img)
	}
}

// Only one header chunk counts, and it is the first.
func TestPNGWithTwoHeaders(t *testing.T) {
	file := EncodePNG(NewImage(4, 4))
	for name, chunk := range map[string][]byte{"empty": nil, "another size": append([]byte{0, 0, 0, 1, 0, 0, 0, 1}, 8, 2, 0, 0, 0)} {
		if _, _, err := Decode(withChunk(file, "IHDR", chunk), Limits{}); !errors.Is(err, ErrCorrupt) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
