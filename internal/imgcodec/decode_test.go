package imgcodec

import (
	"bytes"
	"encoding/binary"
	"errors"
	"image"
	"image/color"
	"math"
	"testing"

	"golang.org/x/image/bmp"
)

func TestDecodeReadsEveryFormat(t *testing.T) {
	want := testPattern()
	src := rgba(want)
	var bmpFile bytes.Buffer
	if err := bmp.Encode(&bmpFile, src); err != nil {
		t.Fatal(err)
	}
	lossless := math.Inf(1)
	tests := []struct {
		name    string
		data    []byte
		format  Format
		minPSNR float64
	}{
		{"png", EncodePNG(want), PNG, lossless},
		{"png with an orientation of 1", withChunk(EncodePNG(want), "eXIf", exifBlock(binary.BigEndian, 1)), PNG, lossless},
		{"bmp", bmpFile.Bytes(), BMP, lossless},
		{"lossless webp", fixture(t, "photo_lossless.webp"), WebP, lossless},
		{"lossy webp", fixture(t, "photo_lossy.webp"), WebP, 27},
		{"webp with alpha", fixture(t, "photo_alpha.webp"), WebP, 27},
		{"jpeg", encodeJPEG(t, src), JPEG, 27},
		{"4:4:4", fixture(t, "baseline_444.jpg"), JPEG, 33},
		{"4:2:2", fixture(t, "baseline_422.jpg"), JPEG, 27},
		{"4:2:0", fixture(t, "baseline_420.jpg"), JPEG, 27},
		{"progressive 4:4:4", fixture(t, "progressive_444.jpg"), JPEG, 33},
		{"progressive 4:2:2", fixture(t, "progressive_422.jpg"), JPEG, 27},
		{"progressive 4:2:0", fixture(t, "progressive_420.jpg"), JPEG, 27},
		{"rgb jpeg", fixture(t, "rgb.jpg"), JPEG, 38},
		{"cmyk jpeg", fixture(t, "cmyk.jpg"), JPEG, 35},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, format, err := Decode(tt.data, Limits{})
			if err != nil {
				t.Fatal(err)
			}
			if format != tt.format {
				t.Errorf("format = %q, want %q", format, tt.format)
			}
			if p := psnr(t, got, want); p < tt.minPSNR {
				t.Errorf("differs from the pattern: %.1f dB, want at least %.1f", p, tt.minPSNR)
			}
		})
	}
}

func TestDecodeGrey(t *testing.T) {
	img, _, err := Decode(fixture(t, "grey.jpg"), Limits{})
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(img.Pix); i += 3 {
		if img.Pix[i] != img.Pix[i+1] || img.Pix[i] != img.Pix[i+2] {
			t.Fatalf("pixel %d of a grey image is %v", i/3, img.Pix[i:i+3])
		}
	}
}

// A lossy WebP has studio-range samples; libwebp's own decoding is the reference.
// What remains is libwebp's interpolation of the colour differences.
func TestDecodeWebPColours(t *testing.T) {
	got, _, err := Decode(fixture(t, "photo_lossy.webp"), Limits{})
	if err != nil {
		t.Fatal(err)
	}
	want, _, err := Decode(fixture(t, "photo_lossy.webp.png"), Limits{})
	if err != nil {
		t.Fatal(err)
	}
	if p := psnr(t, got, want); p < 30 {
		t.Errorf("differs from libwebp: %.1f dB", p)
	}
}

func TestDecodePixelLayouts(t *testing.T) {
	bounds := image.Rect(0, 0, 2, 1)
	nrgba := image.NewNRGBA(bounds)
	nrgba.SetNRGBA(0, 0, color.NRGBA{200, 100, 50, 0})
	nrgba.SetNRGBA(1, 0, color.NRGBA{10, 20, 30, 128})
	deep := image.NewNRGBA64(bounds)
	deep.SetNRGBA64(0, 0, color.NRGBA64{200<<8 | 7, 100<<8 | 255, 50 << 8, 0xffff})
	deep.SetNRGBA64(1, 0, color.NRGBA64{10 << 8, 20 << 8, 30 << 8, 0xffff})
	paletted := image.NewPaletted(bounds, color.Palette{color.NRGBA{200, 100, 50, 255}, color.NRGBA{10, 20, 30, 255}})
	paletted.SetColorIndex(1, 0, 1)

	want := []byte{200, 100, 50, 10, 20, 30}
	for name, img := range map[string]image.Image{"alpha is dropped": nrgba, "16 bits": deep, "palette": paletted} {
		t.Run(name, func(t *testing.T) {
			got, _, err := Decode(encodePNG(t, img), Limits{})
			if err != nil {
				t.Fatal(err)
			}
			if name == "alpha is dropped" && got.Pix[0] == 0 {
				t.Fatalf("a transparent pixel lost its colour: %v", got.Pix)
			}
			if !bytes.Equal(got.Pix, want) {
				t.Errorf("pixels = %v, want %v", got.Pix, want)
			}
		})
	}
}

func TestDecodeRefusals(t *testing.T) {
	pattern := testPattern()
	pngFile := EncodePNG(pattern)
	jpegFile := encodeJPEG(t, rgba(pattern))
	webpFile := fixture(t, "photo_lossless.webp")
	var bmpFile bytes.Buffer
	if err := bmp.Encode(&bmpFile, rgba(pattern)); err != nil {
		t.Fatal(err)
	}
	half := func(b []byte) []byte { return b[:len(b)/2] }
	tests := []struct {
		name string
		data []byte
		want error
	}{
		{"empty", nil, ErrEmpty},
		{"text", []byte("<html><body>not found</body></html>"), ErrNotImage},
		{"binary", bytes.Repeat([]byte{0, 1, 2, 3}, 64), ErrNotImage},
		{"one byte", []byte{0xff}, ErrNotImage},
		{"jpeg cut in half", half(jpegFile), ErrTruncated},
		{"jpeg without its end marker", jpegFile[:len(jpegFile)-2], ErrTruncated},
		{"jpeg cut in its header", jpegFile[:40], ErrTruncated},
		{"progressive jpeg cut in half", half(fixture(t, "progressive_420.jpg")), ErrTruncated},
		{"jpeg magic only", []byte{0xff, 0xd8, 0xff}, ErrTruncated},
		{"jpeg without a scan", []byte{0xff, 0xd8, 0xff, markerEOI}, ErrCorrupt},
		{"jpeg of 12 bits", bytes.Replace(jpegFile, []byte{0xff, markerSOF0, 0, 17, 8}, []byte{0xff, markerSOF0, 0, 17, 12}, 1), ErrUnsupported},
		{"arithmetic-coded jpeg", bytes.Replace(jpegFile, []byte{0xff, markerSOF0, 0, 17}, []byte{0xff, 0xc9, 0, 17}, 1), ErrUnsupported},
		{"jpeg of endless scans", append(append([]byte{}, jpegFile...), bytes.Repeat([]byte{0xff, markerSOS}, maxScans+1)...), ErrUnsupported},
		{"jpeg of no height", jpegWithSize(t, jpegFile, 48, 0), ErrCorrupt},
		{"png cut in half", half(pngFile), ErrTruncated},
		{"png without its end chunk", pngFile[:len(pngFile)-12], ErrTruncated},
		{"png with a flipped bit", flipBit(pngFile, len(pngFile)/2), ErrCorrupt},
		{"webp cut in half", half(webpFile), ErrTruncated},
		{"bmp cut in half", half(bmpFile.Bytes()), ErrTruncated},
		{"bmp header only", bmpFile.Bytes()[:54], ErrTruncated},
		{"png of 60,000 x 60,000", withSize(pngFile, 60000, 60000), ErrTooLarge},
		{"png of 2^31-1 x 2^31-1", withSize(pngFile, math.MaxInt32, math.MaxInt32), ErrTooLarge},
		{"png of negative size", withSize(pngFile, 1<<31, 5), ErrCorrupt},
		{"jpeg of 60,000 x 60,000", jpegWithSize(t, jpegFile, 60000, 60000), ErrTooLarge},
		{"animated webp", fixture(t, "animated.webp"), ErrAnimated},
		{"animated gif", fixture(t, "animated.gif"), ErrAnimated},
		{"animated png", withChunk(pngFile, "acTL", make([]byte, 8)), ErrAnimated},
		{"still gif", []byte("GIF89a\x01\x00\x01\x00"), ErrUnsupported},
		{"tiff", []byte("II*\x00\x08\x00\x00\x00"), ErrUnsupported},
		{"heic photograph", []byte("\x00\x00\x00\x18ftypheic\x00\x00\x00\x00"), ErrUnsupported},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			img, _, err := Decode(tt.data, Limits{})
			if !errors.Is(err, tt.want) {
				t.Errorf("error = %v, want %v", err, tt.want)
			}
			if img != nil {
				t.Error("an image was returned along with the error")
			}
		})
	}
}

func flipBit(data []byte, at int) []byte {
	out := append([]byte{}, data...)
	out[at] ^= 0x10
	return out
}

func TestLimits(t *testing.T) {
	pattern := testPattern()
	data := EncodePNG(pattern)
	pixels := int64(pattern.W * pattern.H)
	if _, _, err := Decode(data, Limits{Pixels: pixels}); err != nil {
		t.Errorf("an image at the limit was refused: %v", err)
	}
	if _, _, err := Decode(data, Limits{Pixels: pixels - 1}); !errors.Is(err, ErrTooLarge) {
		t.Errorf("error one pixel above the limit = %v, want ErrTooLarge", err)
	}
}

// A declared size must not be paid for before it is believed.
func TestHugeDeclarationAllocatesLittle(t *testing.T) {
	data := withSize(EncodePNG(testPattern()), 60000, 60000)
	allocated := testing.Benchmark(func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, _, err := Decode(data, Limits{}); err == nil {
				b.Fatal("a huge image was accepted")
			}
		}
	}).AllocedBytesPerOp()
	if allocated > 1<<20 {
		t.Errorf("refusing a 60,000 x 60,000 image allocated %d bytes", allocated)
	}
}

func TestOrientation(t *testing.T) {
	// a b c      Stored rows of the scene below, for each orientation.
	// d e f
	scene := []byte("abcdef")
	stored := map[int]struct {
		w, h int
		pix  string
	}{
		1: {3, 2, "abcdef"},
		2: {3, 2, "cbafed"},
		3: {3, 2, "fedcba"},
		4: {3, 2, "defabc"},
		5: {2, 3, "adbecf"},
		6: {2, 3, "cfbead"},
		7: {2, 3, "fcebda"},
		8: {2, 3, "daebfc"},
	}
	for orientation, s := range stored {
		img := NewImage(s.w, s.h)
		for i, v := range []byte(s.pix) {
			img.Pix[3*i], img.Pix[3*i+1], img.Pix[3*i+2] = v, v+100, v/2
		}
		for _, order := range []binary.AppendByteOrder{binary.LittleEndian, binary.BigEndian} {
			file := withChunk(EncodePNG(img), "eXIf", exifBlock(order, uint16(orientation)))
			got, _, err := Decode(file, Limits{})
			if err != nil {
				t.Fatal(err)
			}
			if got.W != 3 || got.H != 2 {
				t.Fatalf("orientation %d: size %dx%d, want 3x2", orientation, got.W, got.H)
			}
			for i, v := range scene {
				if p := got.Pix[3*i : 3*i+3]; p[0] != v || p[1] != v+100 || p[2] != v/2 {
					t.Fatalf("orientation %d (%v): pixel %d = %v, want %q", orientation, order, i, p, v)
				}
			}
		}
	}
}

func TestOrientationOfJPEG(t *testing.T) {
	plain := encodeJPEG(t, rgba(testPattern()))
	upside, _, err := Decode(withEXIF(plain, exifBlock(binary.LittleEndian, 3)), Limits{})
	if err != nil {
		t.Fatal(err)
	}
	upright, _, err := Decode(plain, Limits{})
	if err != nil {
		t.Fatal(err)
	}
	n := len(upright.Pix)
	for i := 0; i < n; i += 3 {
		if !bytes.Equal(upright.Pix[i:i+3], upside.Pix[n-3-i:n-i]) {
			t.Fatal("orientation 3 is not the image turned by 180 degrees")
		}
	}
}

func TestOrientationOfWebP(t *testing.T) {
	plain := fixture(t, "photo_lossless.webp")
	for _, tiff := range [][]byte{exifBlock(binary.BigEndian, 3), append([]byte(exifPrefix), exifBlock(binary.BigEndian, 3)...)} {
		file := append(append([]byte{}, plain...), "EXIF"...)
		file = binary.LittleEndian.AppendUint32(file, uint32(len(tiff)))
		file = append(file, tiff...)
		binary.LittleEndian.PutUint32(file[4:], uint32(len(file)-8))
		got, _, err := Decode(file, Limits{})
		if err != nil {
			t.Fatal(err)
		}
		if want := upright(testPattern(), 3); !bytes.Equal(got.Pix, want.Pix) {
			t.Error("the orientation of a WebP file was not applied")
		}
	}
}

func TestDamagedEXIFMeansUpright(t *testing.T) {
	good := exifBlock(binary.LittleEndian, 6)
	wrongType, several := bytes.Clone(good), bytes.Clone(good)
	wrongType[12] = 5 // a RATIONAL
	several[14] = 2
	for name, tiff := range map[string][]byte{
		"empty":              nil,
		"cut in the header":  good[:5],
		"cut in the entry":   good[:15],
		"directory far away": append([]byte("II*\x00\xf0\xff\xff\xff"), good[8:]...),
		"value 0":            exifBlock(binary.LittleEndian, 0),
		"value 9":            exifBlock(binary.LittleEndian, 9),
		"not a whole number": wrongType,
		"two numbers":        several,
		"no byte order":      append([]byte("XX*\x00"), good[4:]...),
	} {
		if got := exifOrientation(tiff); got != 1 {
			t.Errorf("%s: orientation %d, want 1", name, got)
		}
	}
	if got := exifOrientation(append([]byte(exifPrefix), good...)); got != 6 {
		t.Errorf("with the Exif prefix: orientation %d, want 6", got)
	}
}

// Writers give the orientation as any whole number, and all the same say which side is up.
func TestOrientationOfAnyType(t *testing.T) {
	for _, order := range []binary.AppendByteOrder{binary.LittleEndian, binary.BigEndian} {
		for kind, value := range map[uint16][]byte{
			typeByte: {6, 0, 0, 0}, typeSByte: {6, 0, 0, 0},
			typeShort: append(order.AppendUint16(nil, 6), 0xff, 0xff), typeSShort: append(order.AppendUint16(nil, 6), 0, 0),
			typeLong: order.AppendUint32(nil, 6), typeSLong: order.AppendUint32(nil, 6),
		} {
			tiff := exifBlock(order, 1)
			copy(tiff[12:], order.AppendUint16(nil, kind))
			copy(tiff[18:], value)
			if got := exifOrientation(tiff); got != 6 {
				t.Errorf("%v, type %d: orientation %d, want 6", order, kind, got)
			}
			copy(tiff[18:], bytes.Repeat([]byte{0xff}, 4))
			if got := exifOrientation(tiff); got != 1 {
				t.Errorf("%v, type %d: a value of -1 gives orientation %d, want 1", order, kind, got)
			}
		}
	}
}

func TestDecodeRGB(t *testing.T) {
	img := testPattern()
	rotated := withChunk(EncodePNG(img), "eXIf", exifBlock(binary.LittleEndian, 3))
	tests := []struct {
		name    string
		format  Format
		data    []byte
		w, h, n int
		wantErr error
	}{
		{"png", PNG, EncodePNG(img), 48, 36, 48 * 36 * 3, nil},
		{"raw", Raw, img.Pix, 48, 36, 48 * 36 * 3, nil},
		{"orientation is not applied", PNG, rotated, 48, 36, 48 * 36 * 3, nil},
		{"raw of another size", Raw, img.Pix[1:], 48, 36, 48 * 36 * 3, ErrCorrupt},
		{"another size", PNG, EncodePNG(img), 36, 48, 48 * 36 * 3, ErrCorrupt},
		{"another format", JPEG, EncodePNG(img), 48, 36, 48 * 36 * 3, ErrCorrupt},
		{"no image", PNG, []byte("nothing"), 48, 36, 48 * 36 * 3, ErrNotImage},
		{"empty", PNG, nil, 48, 36, 48 * 36 * 3, ErrEmpty},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dst := make([]byte, tt.n)
			err := DecodeRGB(tt.format, tt.data, tt.w, tt.h, dst)
			if !errors.Is(err, tt.wantErr) {
				t.Fatalf("error = %v, want %v", err, tt.wantErr)
			}
			if tt.wantErr == nil && !bytes.Equal(dst, img.Pix) {
				t.Error("pixels differ")
			}
		})
	}
	if err := DecodeRGB(Raw, img.Pix, 48, 36, make([]byte, 5)); err == nil {
		t.Error("a destination of the wrong length was accepted")
	}
}

func TestSniffNeedsWholeSignature(t *testing.T) {
	for _, s := range signatures {
		if got := Sniff([]byte(s.pattern)); got != s.format {
			t.Errorf("Sniff(%q) = %q, want %q", s.pattern, got, s.format)
		}
		if got := Sniff([]byte(s.pattern)[:len(s.pattern)-1]); got == s.format {
			t.Errorf("Sniff took a shortened %q for %q", s.pattern, got)
		}
		if len(s.pattern) > SniffLen {
			t.Errorf("signature %q is longer than SniffLen", s.pattern)
		}
	}
}
