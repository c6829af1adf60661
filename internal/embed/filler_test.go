package embed

import "testing"

func TestFlipMirrorsTheCrop(t *testing.T) {
	f := newFiller(Raw())
	pixels := crops(1)
	plain, flipped := make([]float32, f.size), make([]float32, f.size)
	f.fill(plain, pixels, false)
	f.fill(flipped, pixels, true)
	for y := range 112 {
		for x := range 112 {
			for c := range 3 {
				if plain[c*f.area+y*112+x] != flipped[c*f.area+y*112+111-x] {
					t.Fatalf("channel %d at %d,%d is not mirrored", c, x, y)
				}
				if plain[c*f.area+y*112+x] != float32(pixels[3*(y*112+x)+c]) {
					t.Fatalf("channel %d at %d,%d is not the pixel", c, x, y)
				}
			}
		}
	}
}

func TestFillInterleaved(t *testing.T) {
	p := Preprocess{ChannelOrder: "BGR", Mean: [3]float32{1, 2, 3}, Std: [3]float32{1, 2, 4}, Height: 1, Width: 2, Layout: "NHWC"}
	dst := make([]float32, 6)
	newFiller(p).fill(dst, []byte{11, 22, 33, 44, 55, 67}, true)
	// The right pixel first, blue first: (67-1)/1, (55-2)/2, (44-3)/4.
	want := []float32{66, 26.5, 10.25, 32, 10, 2}
	for i, v := range want {
		if dst[i] != v {
			t.Fatalf("got %v, want %v", dst, want)
		}
	}
}

func BenchmarkFill(b *testing.B) {
	f := newFiller(ArcFace())
	pixels, dst := crops(1), make([]float32, f.size)
	for b.Loop() {
		f.fill(dst, pixels, false)
	}
}
