package imgcodec

import (
	"bytes"
	"compress/flate"
	"encoding/binary"
	"errors"
	"image"
	"image/color"
	"image/png"
	"math/rand/v2"
	"testing"
)

// The formula is that of the format's definition.
func TestPaeth(t *testing.T) {
	distance := func(a, b int) int { return max(a-b, b-a) }
	for a := range 256 {
		for b := range 256 {
			for c := range 256 {
				p, want := a+b-c, c
				if toA, toB, toC := distance(p, a), distance(p, b), distance(p, c); toA <= toB && toA <= toC {
					want = a
				} else if toB <= toC {
					want = b
				}
				if got := paeth(int32(a), int32(b), int32(c)); got != int32(want) {
					t.Fatalf("of %d, %d and %d: %d, want %d", a, b, c, got, want)
				}
			}
		}
	}
}

// pngOf puts a PNG together of filtered rows, in IDAT chunks of a size.
func pngOf(t testing.TB, w, h int, bits, colour byte, filtered []byte, chunk int) []byte {
	t.Helper()
	header := binary.BigEndian.AppendUint32(nil, uint32(w))
	header = append(binary.BigEndian.AppendUint32(header, uint32(h)), bits, colour, 0, 0, 0)
	out := appendChunk([]byte(pngMagic), "IHDR", header)
	for body := deflated(t, flate.BestCompression, filtered); len(body) > 0; {
		n := min(chunk, len(body))
		out = appendChunk(out, "IDAT", body[:n])
		body = body[n:]
	}
	return appendChunk(out, "IEND", nil)
}

// stdPNG is the standard library's decoding, nil if it refuses.
func stdPNG(data []byte) []byte {
	img, err := png.Decode(bytes.NewReader(data))
	if err != nil {
		return nil
	}
	size := img.Bounds().Size()
	dst := make([]byte, 3*size.X*size.Y)
	copyRGB(dst, img, color.YCbCrToRGB)
	return dst
}

// Every filter in every kind of picture, in rows of any length, in one chunk and in many.
func TestDecodePlainPNG(t *testing.T) {
	rng := rand.New(rand.NewPCG(41, 42))
	for colour, channels := range map[byte]int{0: 1, 2: 3, 6: 4} {
		for _, w := range []int{1, 2, 3, 7, 8, 33} {
			const h = 40
			filtered := make([]byte, (1+channels*w)*h)
			for i := range filtered {
				filtered[i] = byte(rng.Uint32())
			}
			for y := range h {
				filtered[y*(1+channels*w)] = byte(y % 5)
			}
			for _, chunk := range []int{1 << 20, 100} {
				data := pngOf(t, w, h, 8, colour, filtered, chunk)
				got := make([]byte, 3*w*h)
				if !decodePlainPNG(got, Header{W: w, H: h}, data) {
					t.Fatalf("colour type %d, %d pixels wide: refused", colour, w)
				}
				if !bytes.Equal(got, stdPNG(data)) {
					t.Errorf("colour type %d, %d pixels wide: other pixels", colour, w)
				}
			}
		}
	}
}

// What the fast decoder is not for goes to the standard library, which takes or refuses it.
func TestOtherPNG(t *testing.T) {
	rows := []byte{0, 1, 2, 3, 4, 5, 6, 0, 7, 8, 9, 10, 11, 12}
	good := pngOf(t, 2, 2, 8, 2, rows, 1<<20)
	body := len(pngMagic) + chunkFrame + pngHeaderLen + 8 // of IDAT
	split := append(bytes.Clone(good[:body-8]), appendChunk(appendChunk(nil, "IDAT", good[body:body+9]), "tEXt", nil)...)
	split = append(split, appendChunk(nil, "IDAT", good[body+9:len(good)-4-chunkFrame])...)
	split = appendChunk(split, "IEND", nil)
	wrongSum := pngOf(t, 2, 2, 8, 2, rows, 1<<20)
	wrongSum[len(wrongSum)-chunkFrame-1] ^= 1
	deep := image.NewNRGBA64(image.Rect(0, 0, 2, 2))
	for name, tt := range map[string]struct {
		data []byte
		want error
	}{
		"plain":                  {good, nil},
		"16 bits":                {encodePNG(t, deep), nil},
		"transparent colour":     {withChunk(good, "tRNS", []byte{0, 1, 0, 2, 0, 3}), nil},
		"text before the pixels": {withChunk(good, "tEXt", []byte("a\x00b")), nil},
		"filter 5":               {pngOf(t, 2, 2, 8, 2, []byte{5, 1, 2, 3, 4, 5, 6, 0, 7, 8, 9, 10, 11, 12}, 1<<20), ErrCorrupt},
		"a row too few":          {pngOf(t, 2, 2, 8, 2, rows[:7], 1<<20), ErrCorrupt},
		"a row too many":         {pngOf(t, 2, 2, 8, 2, append(rows, rows[:7]...), 1<<20), ErrCorrupt},
		"a chunk between":        {split, ErrCorrupt},
		"an unknown critical":    {withChunk(good, "ABCD", nil), nil},
		"a wrong checksum":       {wrongSum, ErrCorrupt},
	} {
		got, _, err := Decode(tt.data, Limits{})
		if !errors.Is(err, tt.want) {
			t.Errorf("%s: error %v, want %v", name, err, tt.want)
		}
		if err == nil && !bytes.Equal(got.Pix, stdPNG(tt.data)) {
			t.Errorf("%s: other pixels", name)
		}
	}
}

// FuzzPNG compares with the standard library: what is taken has the pixels that that gives.
func FuzzPNG(f *testing.F) {
	f.Add(EncodePNG(portrait(5, 7)))
	f.Add(encodePNG(f, rgba(portrait(9, 4))))
	f.Add(pngOf(f, 2, 2, 8, 6, make([]byte, 18), 5))
	f.Add(pngOf(f, 2, 2, 8, 0, []byte{4, 1, 2, 3, 4, 5}, 100))
	f.Fuzz(func(t *testing.T, data []byte) {
		const limit = 1 << 16
		h, err := Inspect(data)
		if err != nil || h.Format != PNG || (Limits{Pixels: limit}).Check(h) != nil {
			return
		}
		got := make([]byte, 3*h.W*h.H)
		if decodePlainPNG(got, h, data) && !bytes.Equal(got, stdPNG(data)) {
			t.Fatal("not the standard library's pixels")
		}
	})
}
