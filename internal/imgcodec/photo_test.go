package imgcodec

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"testing"
)

func TestReductionOf(t *testing.T) {
	for limit, want := range map[float64]int{
		0: 1, 0.5: 1, 1: 1, 1.99: 1, 2: 2, 3.9: 2, 4: 4, 7.99: 4, 8: 8, 100: 8,
		math.Inf(1): 8, math.Inf(-1): 1, math.NaN(): 1,
	} {
		if got := ReductionOf(limit); got != want {
			t.Errorf("ReductionOf(%v) = %d, want %d", limit, got, want)
		}
	}
}

func mustReduce(t testing.TB, data []byte, reduction int) *Reduced {
	t.Helper()
	p, err := OpenPhoto(data, Limits{})
	if err != nil {
		t.Fatal(err)
	}
	r, err := p.Decode(reduction)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestPhotoAtFullSizeIsDecode(t *testing.T) {
	for _, choice := range []string{Std, Turbo} {
		t.Run(choice, func(t *testing.T) {
			use(t, choice)
			for _, file := range [][]byte{
				fixture(t, "baseline_420.jpg"), fixture(t, "progressive_422.jpg"), fixture(t, "cmyk.jpg"), fixture(t, "photo_lossy.webp"),
				EncodePNG(testPattern()), withEXIF(fixture(t, "baseline_422.jpg"), exifBlock(binary.BigEndian, 6)),
			} {
				want, _, err := Decode(file, Limits{})
				if err != nil {
					t.Fatal(err)
				}
				got := mustReduce(t, file, 1)
				if !bytes.Equal(got.Pix, want.Pix) || got.W != want.W || got.Left != 0 || got.Top != 0 {
					t.Error("pixels differ")
				}
			}
		})
	}
}

func TestBlockMeans(t *testing.T) {
	src := NewImage(5, 3)
	for i := range src.Pix {
		src.Pix[i] = byte(i * 5)
	}
	for _, side := range []int{1, 2, 4, 8} {
		got := blockMeans(src, side)
		if got.W != (5+side-1)/side || got.H != (3+side-1)/side {
			t.Fatalf("side %d: %dx%d pixels", side, got.W, got.H)
		}
		for i, v := range got.Pix {
			u, y, c := i/3%got.W, i/3/got.W, i%3
			sum, n := 0.0, 0.0
			for y0 := y * side; y0 < min(3, (y+1)*side); y0++ {
				for x0 := u * side; x0 < min(5, (u+1)*side); x0++ {
					sum += float64(src.Pix[3*(y0*5+x0)+c])
					n++
				}
			}
			if want := byte(math.Floor(sum/n + 0.5)); v != want {
				t.Errorf("side %d: value %d is %d, want %d", side, i, v, want)
			}
		}
	}
}

// ramps is a picture whose red and green say in which column and row one is, in steps
// of some levels.
func ramps(w, h, step int) *Image {
	img := NewImage(w, h)
	for y := range h {
		for x := range w {
			p := img.Pix[3*(y*w+x):]
			p[0], p[1], p[2] = byte(20+step*x), byte(20+step*y), 128
		}
	}
	return img
}

// A pixel of a reduced photograph shows the place that Reduction, Left and Top say,
// whichever way it is stored and however its size divides.
func TestReducedPixelsAreWhereTheySay(t *testing.T) {
	for _, choice := range []string{Std, Turbo} {
		t.Run(choice, func(t *testing.T) {
			use(t, choice)
			for _, size := range [][2]int{{96, 64}, {91, 67}, {90, 61}} {
				const step = 2
				stored := ramps(size[0], size[1], step)
				files := map[string][]byte{"jpeg": encodeJPEG(t, rgba(stored)), "png": EncodePNG(stored)}
				for orientation := 1; orientation <= 8; orientation++ {
					full := upright(stored, orientation)
					for format, data := range files {
						tiff := exifBlock(binary.LittleEndian, uint16(orientation))
						if format == "jpeg" {
							data = withEXIF(data, tiff)
						} else {
							data = withChunk(data, "eXIf", tiff)
						}
						for _, reduction := range []int{1, 2, 4, 8} {
							name := fmt.Sprintf("%s of %v, orientation %d, reduction %d", format, size, orientation, reduction)
							comparePlaces(t, name, mustReduce(t, data, reduction), full, step)
						}
					}
				}
			}
		})
	}
}

// comparePlaces looks at the mean difference from what the blocks of the full picture
// hold, in which the errors of a JPEG cancel: a column more or less would make it a
// whole step.
func comparePlaces(t *testing.T, name string, r *Reduced, full *Image, step int) {
	t.Helper()
	side := r.Reduction
	if r.W != ceilDiv(full.W, side) || r.H != ceilDiv(full.H, side) {
		t.Errorf("%s: size %dx%d", name, r.W, r.H)
		return
	}
	var difference [2]float64
	inner := 0
	for v := 1; v+1 < r.H; v++ {
		for u := 1; u+1 < r.W; u++ {
			inner++
			for c := range difference {
				mean := 0.0
				for i := range side * side {
					x, y := u*side-r.Left+i%side, v*side-r.Top+i/side
					mean += float64(full.Pix[3*(y*full.W+x)+c]) / float64(side*side)
				}
				difference[c] += float64(r.Pix[3*(v*r.W+u)+c]) - mean
			}
		}
	}
	for c, d := range difference {
		if inner > 0 && math.Abs(d)/float64(inner) > 0.4*float64(step) {
			t.Errorf("%s: channel %d is off by %.2f on average", name, c, d/float64(inner))
		}
	}
}

// The decoders' ways to a smaller picture lead to the same one.
func TestDecodersReduceAlike(t *testing.T) {
	use(t, Turbo)
	turbo := jpegDecoderInUse()
	files := map[string][]byte{
		"portrait":    encodeJPEG(t, rgba(portrait(1000, 751))),
		"progressive": fixture(t, "progressive_420.jpg"),
		"4:4:4":       fixture(t, "baseline_444.jpg"),
		"grey":        fixture(t, "grey.jpg"),
		"rgb":         fixture(t, "rgb.jpg"),
		"cmyk":        fixture(t, "cmyk.jpg"),
	}
	for name, data := range files {
		for _, reduction := range []int{2, 4, 8} {
			got := mustReduce(t, data, reduction)
			use(t, Std)
			want := mustReduce(t, data, reduction)
			active.decoder = turbo
			if p := psnr(t, got.Image, want.Image); p < 42 {
				t.Errorf("%s at 1/%d: the decoders differ: %.1f dB", name, reduction, p)
			}
		}
	}
}

// libjpeg looks for a fraction that gives the size asked for; of tiny pictures several
// do, and only one is right.
func TestReductionOfTinyPictures(t *testing.T) {
	for _, choice := range []string{Std, Turbo} {
		t.Run(choice, func(t *testing.T) {
			use(t, choice)
			for w := 1; w <= 20; w++ {
				for h := 1; h <= 20; h++ {
					const step = 10
					full := ramps(w, h, step)
					data := encodeJPEG(t, rgba(full))
					for _, reduction := range []int{2, 4, 8} {
						comparePlaces(t, fmt.Sprintf("%dx%d", w, h), mustReduce(t, data, reduction), full, step)
					}
				}
			}
		})
	}
}

func TestPhotoSizes(t *testing.T) {
	baseline, progressive := encodeJPEG(t, rgba(portrait(203, 100))), fixture(t, "progressive_420.jpg")
	turned := withEXIF(baseline, exifBlock(binary.LittleEndian, 8))
	tests := []struct {
		name    string
		choice  string
		data    []byte
		w, h    int
		quarter int64 // pixels that decoding to a quarter of the size takes, of three bytes
	}{
		{"baseline", Turbo, baseline, 203, 100, 51 * 25},
		{"turned", Turbo, turned, 100, 203, 2 * 51 * 25},
		{"progressive", Turbo, progressive, 48, 36, 12*9 + 2*64*64},
		{"cmyk", Turbo, fixture(t, "cmyk.jpg"), 48, 36, 48*36 + 8*64*64/3},
		{"png", Turbo, EncodePNG(testPattern()), 48, 36, 48*36 + 4*48*36/3},
		{"baseline", Std, baseline, 203, 100, 203*100 + 224*128},
	}
	for _, tt := range tests {
		t.Run(tt.name+" "+tt.choice, func(t *testing.T) {
			use(t, tt.choice)
			p, err := OpenPhoto(tt.data, Limits{})
			if err != nil {
				t.Fatal(err)
			}
			// Beside the pixels there are tables, and the file that chunks are put together from.
			besides := p.Bytes(4) - decoderBytes - 3*tt.quarter
			if w, h := p.Size(); w != tt.w || h != tt.h || besides < -3 || besides > int64(len(tt.data)) || p.Bytes(1) < p.Bytes(4) {
				t.Errorf("%dx%d pixels; %d bytes, at a quarter %d: %d more than the pixels'", w, h, p.Bytes(1), p.Bytes(4), besides)
			}
		})
	}
}

func TestOpenPhotoRefuses(t *testing.T) {
	good := EncodePNG(testPattern())
	for name, tt := range map[string]struct {
		data []byte
		want error
	}{
		"empty":     {nil, ErrEmpty},
		"text":      {[]byte("hello, world"), ErrNotImage},
		"too large": {good, ErrTooLarge},
	} {
		if p, err := OpenPhoto(tt.data, Limits{Pixels: 100}); !errors.Is(err, tt.want) || p != nil {
			t.Errorf("%s: error %v, want %v", name, err, tt.want)
		}
	}
}

// Damage is refused at every reduction, for the same reason by both decoders.
func TestReducedDamage(t *testing.T) {
	good := encodeJPEG(t, rgba(portrait(300, 200)))
	damaged := bytes.Clone(good)
	for i := len(good) / 2; i < len(good)/2+8; i++ {
		damaged[i] = 0xff
	}
	for _, choice := range []string{Std, Turbo} {
		t.Run(choice, func(t *testing.T) {
			use(t, choice)
			for _, reduction := range []int{2, 4, 8} {
				for _, tt := range []struct {
					data []byte
					want error
				}{{good, nil}, {good[:len(good)/2], ErrTruncated}, {good[:len(good)-2], ErrTruncated}, {damaged, ErrCorrupt}} {
					p, err := OpenPhoto(tt.data, Limits{})
					if err != nil {
						t.Fatal(err)
					}
					if _, err := p.Decode(reduction); !errors.Is(err, tt.want) {
						t.Errorf("at 1/%d: error %v, want %v", reduction, err, tt.want)
					}
				}
			}
		})
	}
}

// BenchmarkReduce decodes a photograph of 12 megapixels at every size.
func BenchmarkReduce(b *testing.B) {
	data := encodeJPEG(b, rgba(portrait(4000, 3000)))
	for _, choice := range []string{Std, Turbo} {
		for _, reduction := range []int{1, 2, 4, 8} {
			b.Run(fmt.Sprintf("%s/%d", choice, reduction), func(b *testing.B) {
				use(b, choice)
				b.ReportAllocs()
				for b.Loop() {
					mustReduce(b, data, reduction)
				}
			})
		}
	}
}

func BenchmarkBlockMeans(b *testing.B) {
	img := portrait(2000, 1500)
	for _, side := range []int{2, 4, 8} {
		b.Run(fmt.Sprint(side), func(b *testing.B) {
			for b.Loop() {
				blockMeans(img, side)
			}
		})
	}
}
