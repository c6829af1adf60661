package imgcodec

import (
	"bytes"
	"errors"
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
			for name, encode := range map[string]func(*Image) []byte{"EncodePNG": EncodePNG, "EncodeCrop": EncodeCrop} {
				testEncoded(t, name, encode, img)
			}
		}
	}
}

// testEncoded wants the pixels of a picture back, and the same bytes again.
func testEncoded(t *testing.T, name string, encode func(*Image) []byte, img *Image) {
	t.Helper()
	file := encode(img)
	if pix := stdPNG(file); !bytes.Equal(pix, img.Pix) {
		t.Errorf("%s, %dx%d: other pixels", name, img.W, img.H)
	}
	if got, _, err := Decode(file, Limits{}); err != nil || got.W != img.W || got.H != img.H || !bytes.Equal(got.Pix, img.Pix) {
		t.Errorf("%s, %dx%d: other pixels of this package's own (%v)", name, img.W, img.H, err)
	}
	if !bytes.Equal(file, encode(img)) {
		t.Errorf("%s, %dx%d: the same pixels give other bytes", name, img.W, img.H)
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
