package imgcodec

import (
	"encoding/binary"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"facepipe/internal/alloctest"
)

// FuzzDecode feeds arbitrary bytes: a result is either an error or an image of the
// declared number of pixels.
func FuzzDecode(f *testing.F) {
	files, err := filepath.Glob(filepath.Join("testdata", "*.*"))
	if err != nil || len(files) == 0 {
		f.Fatalf("no fixtures: %v", err)
	}
	for _, name := range files {
		data, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Add(EncodePNG(testPattern()))
	f.Add(withEXIF(encodeJPEG(f, rgba(testPattern())), exifBlock(binary.BigEndian, 6)))
	const limit = 1 << 16
	f.Fuzz(func(t *testing.T, data []byte) {
		// What is decoded has at most so many pixels; the rest follows from the file.
		alloctest.AtMost(t, 32*limit+400*len(data)+4*decoderBytes, func() { _, _, _ = Decode(data, Limits{Pixels: limit}) })
		if h, err := Peek(data[:min(len(data), 64)]); err == nil && (h.W <= 0 || h.H <= 0) {
			t.Fatalf("a size of %dx%d by the beginning", h.W, h.H)
		}
		img, format, err := Decode(data, Limits{Pixels: limit})
		fuzzReduced(t, data, img, limit)
		if err != nil {
			if img != nil {
				t.Fatal("an image was returned along with an error")
			}
			return
		}
		if !slices.Contains([]Format{JPEG, PNG, WebP, BMP, PNM}, format) || img.W <= 0 || img.H <= 0 || img.W*img.H > limit || len(img.Pix) != 3*img.W*img.H {
			t.Fatalf("%s image of %dx%d with %d bytes", format, img.W, img.H, len(img.Pix))
		}
	})
}

// fuzzReduced decodes at every reduction what is full at full size, nil if it is
// refused: then the others are refused as well.
func fuzzReduced(t *testing.T, data []byte, full *Image, limit int64) {
	p, err := OpenPhoto(data, Limits{Pixels: limit})
	if err != nil {
		if full != nil {
			t.Fatalf("decoded, but cannot be opened: %v", err)
		}
		return
	}
	for _, reduction := range []int{2, 4, 8} {
		r, err := p.Decode(reduction)
		switch {
		case (err == nil) != (full != nil):
			t.Fatalf("at 1/%d: %v", reduction, err)
		case err == nil && (r.W != ceilDiv(full.W, reduction) || r.H != ceilDiv(full.H, reduction) || len(r.Pix) != 3*r.W*r.H):
			t.Fatalf("at 1/%d of %dx%d: %dx%d with %d bytes", reduction, full.W, full.H, r.W, r.H, len(r.Pix))
		}
	}
}

// FuzzEXIF feeds arbitrary bytes to the orientation parser.
func FuzzEXIF(f *testing.F) {
	f.Add(exifBlock(binary.LittleEndian, 6))
	f.Add(exifBlock(binary.BigEndian, 8))
	f.Add([]byte(exifPrefix))
	f.Fuzz(func(t *testing.T, tiff []byte) {
		var o int
		alloctest.AtMost(t, 64<<10, func() { o = exifOrientation(tiff) }) // it is looked at where it is
		if o < 1 || o > 8 {
			t.Fatalf("orientation %d", o)
		}
	})
}
