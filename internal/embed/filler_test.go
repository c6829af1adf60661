package embed

import (
	"math/rand/v2"
	"testing"
)

func TestFlipMirrorsTheCrop(t *testing.T) {
	f := newFiller(Raw(), 0)
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

// What the processor's own way of filling planes gives is what the tables say, to the bit.
func TestFillIsExact(t *testing.T) {
	rng := rand.New(rand.NewPCG(7, 8))
	for _, width := range []int{1, 7, 8, 9, 16, 31, 112} {
		for _, order := range []string{"RGB", "BGR"} {
			p := Preprocess{ChannelOrder: order, Mean: [3]float32{127.5, 103.94, 0}, Std: [3]float32{127.5, 128, 0.3}, Height: 3, Width: width, Layout: "NCHW"}
			f := newFiller(p, 0)
			rgb := make([]byte, f.size)
			for i := range rgb {
				rgb[i] = byte(rng.IntN(256))
			}
			for _, flip := range []bool{false, true} {
				dst := make([]float32, f.size)
				f.fill(dst, rgb, flip)
				for i := range f.area {
					from := i
					if flip {
						from = i/width*width + width - 1 - i%width
					}
					for c := range 3 {
						if got, want := dst[f.place[c]*f.area+i], f.table[c][rgb[3*from+c]]; got != want {
							t.Fatalf("width %d, %s, flip %v: channel %d of pixel %d is %g, want %g", width, order, flip, c, i, got, want)
						}
					}
				}
			}
		}
	}
}

func TestFillInterleaved(t *testing.T) {
	p := Preprocess{ChannelOrder: "BGR", Mean: [3]float32{1, 2, 3}, Std: [3]float32{1, 2, 4}, Height: 1, Width: 2, Layout: "NHWC"}
	dst := make([]float32, 6)
	newFiller(p, 0).fill(dst, []byte{11, 22, 33, 44, 55, 67}, true)
	// The right pixel first, blue first: (67-1)/1, (55-2)/2, (44-3)/4.
	want := []float32{66, 26.5, 10.25, 32, 10, 2}
	for i, v := range want {
		if dst[i] != v {
			t.Fatalf("got %v, want %v", dst, want)
		}
	}
}

func BenchmarkFill(b *testing.B) {
	f := newFiller(ArcFace(), 0)
	pixels, dst := crops(1), make([]float32, f.size)
	for b.Loop() {
		f.fill(dst, pixels, false)
	}
}
