package imgcodec

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"image"
	"image/color"
	"image/png"
	"strings"
	"testing"

	"golang.org/x/image/bmp"

	"facepipe/internal/alloctest"
)

// large are images of w by h pixels in the forms that take most memory a pixel.
func large(t testing.TB, w, h int) map[string][]byte {
	t.Helper()
	bounds := image.Rect(0, 0, w, h)
	palette := image.NewPaletted(bounds, color.Palette{color.Black, color.White})
	opacity := image.NewNRGBA64(bounds)
	opacity.Pix[7] = 1 // or the encoder leaves the opacity out
	faces := portrait(w, h)
	var bitmap bytes.Buffer
	if err := bmp.Encode(&bitmap, rgba(faces)); err != nil {
		t.Fatal(err)
	}
	files := map[string][]byte{
		"png of 16 bits": encodePNG(t, image.NewRGBA64(bounds)), "png of 16 bits with opacity": encodePNG(t, opacity),
		"grey png": encodePNG(t, image.NewGray(bounds)), "grey png of 16 bits": encodePNG(t, image.NewGray16(bounds)),
		"png of a palette": encodePNG(t, palette), "png": EncodePNG(faces), "interlaced png": interlaced(t, w, h),
		"bmp": bitmap.Bytes(), "pnm": append([]byte(fmt.Sprintf("P6 %d %d 255\n", w, h)), faces.Pix...),
		"jpeg": encodeJPEG(t, rgba(faces)),
	}
	files["turned jpeg"] = withEXIF(files["jpeg"], exifBlock(binary.BigEndian, 6))
	files["cut jpeg"] = files["jpeg"][:len(files["jpeg"])/2]
	return files
}

// decodedBytes is how many bytes of memory [Decode] takes at most for an image of size bytes with
// this header, without those bytes.
func decodedBytes(h Header, size int64) int64 {
	bytes := 3*h.area() + h.scratch(size)
	if h.Orientation > 1 {
		bytes += 3 * h.area()
	}
	if h.Format == JPEG { // the second decoder's picture, where the first one has only a warning
		bytes += 3*h.area() + h.turboJPEG()
	}
	return bytes
}

// What is asked for before decoding is what decoding takes, and not a multiple of it.
func TestDecodingTakesWhatIsForeseen(t *testing.T) {
	for _, choice := range []string{Std, Turbo} {
		use(t, choice)
		for name, data := range large(t, 400, 300) {
			h, err := Inspect(data)
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			limit := decodedBytes(h, int64(len(data)))
			alloctest.AtMost(named{t, name}, int(limit), func() { _, _, _ = Decode(data, Limits{}) })
			if took := int64(alloctest.Bytes(func() { _, _, _ = Decode(data, Limits{}) })); limit > 4*took+3*decoderBytes {
				t.Errorf("%s by %s: %d bytes are foreseen and %d taken", name, choice, limit, took)
			}
		}
	}
}

// named gives failures the name of an image.
type named struct {
	testing.TB
	name string
}

func (n named) Errorf(format string, args ...any) {
	n.TB.Helper()
	n.TB.Errorf(n.name+": "+format, args...)
}

func TestPhotoReservesWhatItTakes(t *testing.T) {
	for _, choice := range []string{Std, Turbo} {
		use(t, choice)
		for name, data := range large(t, 400, 300) {
			p, err := OpenPhoto(data, Limits{})
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			for _, reduction := range []int{8, 1, 2} {
				reserved := int64(0)
				p.Reserve = func(n int64) error { reserved = n; return nil }
				took := alloctest.Bytes(func() {
					r, _ := p.Decode(reduction)
					p.Recycle(r)
				})
				if int64(took) > reserved+decoderBytes || reserved == 0 {
					t.Errorf("%s by %s at a reduction of %d: %d bytes taken, %d reserved", name, choice, reduction, took, reserved)
				}
			}
		}
	}
}

// Where libjpeg-turbo only warns, the second decoder's memory is asked for, and nothing is held
// meanwhile.
func TestDoubtIsReserved(t *testing.T) {
	use(t, Turbo)
	whole := encodeJPEG(t, rgba(portrait(500, 400)))
	p, err := OpenPhoto(whole[:len(whole)/2], Limits{})
	if err != nil {
		t.Fatal(err)
	}
	var asked []int64
	full := errors.New("there is no more")
	p.Reserve = func(n int64) error {
		if asked = append(asked, n); len(asked) == 2 {
			return full
		}
		return nil
	}
	if _, err := p.Decode(8); !errors.Is(err, full) || len(asked) != 2 || asked[1] < asked[0]+6*500*400 {
		t.Errorf("asked for %v: %v", asked, err)
	}
	p.Reserve = nil
	if _, err := p.Decode(8); !errors.Is(err, ErrTruncated) {
		t.Errorf("a cut JPEG: %v", err)
	}
}

// The beginning of an image tells its size, whatever follows.
func TestPeek(t *testing.T) {
	files := large(t, 300, 200)
	for _, name := range []string{"photo_lossy.webp", "photo_alpha.webp", "photo_lossless.webp", "progressive_420.jpg"} {
		files[name] = fixture(t, name)
	}
	for name, data := range files {
		if strings.HasPrefix(name, "cut") {
			continue
		}
		want, err := Inspect(data)
		got, peekErr := Peek(data[:min(len(data), 1024)])
		if err != nil || peekErr != nil || got.W != want.W || got.H != want.H || got.Format != want.Format || got.samples != want.samples {
			t.Errorf("%s: %+v (%v), want %+v (%v)", name, got, peekErr, want, err)
		}
	}
	for _, no := range [][]byte{nil, make([]byte, 1024), []byte("<html>"), files["png"][:20], files["photo_lossy.webp"][:16], files["jpeg"][:8]} {
		if h, err := Peek(no); err == nil {
			t.Errorf("%q gave %+v", no, h)
		}
	}
	if _, err := Peek(make([]byte, 1024)); !errors.Is(err, ErrNotImage) {
		t.Errorf("zeros: %v", err)
	}
}

// interlaced is a PNG of zeros in Adam7's passes.
func interlaced(t testing.TB, w, h int) []byte {
	t.Helper()
	rows := 0
	for _, pass := range [][4]int{{0, 0, 8, 8}, {4, 0, 8, 8}, {0, 4, 4, 8}, {2, 0, 4, 4}, {0, 2, 2, 4}, {1, 0, 2, 2}, {0, 1, 1, 2}} {
		rows += (1 + 4*ceilDiv(w-pass[0], pass[2])) * ceilDiv(h-pass[1], pass[3])
	}
	data := pngOf(t, w, h, 8, 6, make([]byte, rows), 1<<20)
	const header = len(pngMagic)
	at := header + 8
	data[at+12] = 1
	binary.BigEndian.PutUint32(data[at+pngHeaderLen:], crc32.ChecksumIEEE(data[header+4:at+pngHeaderLen]))
	if _, err := png.Decode(bytes.NewReader(data)); err != nil {
		t.Fatal(err)
	}
	return data
}
