package imgcodec

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"image"
	"image/jpeg"
	"image/png"
	"math"
	"os"
	"path/filepath"
	"testing"
)

// testPattern is the picture of the fixtures in testdata: ramps in each colour and
// a disc, so that a swap of channels, axes or directions shows.
func testPattern() *Image {
	img := NewImage(48, 36)
	for y := range img.H {
		for x := range img.W {
			p := img.Pix[3*(y*img.W+x):]
			p[0], p[1], p[2] = byte(x*5+y), byte(y*7), byte(255-x*3-y*2)
			if dx, dy := x-24, y-18; dx*dx+dy*dy < 100 {
				p[0], p[1], p[2] = 230, 180, 150
			}
		}
	}
	return img
}

func fixture(t testing.TB, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// psnr is the peak signal-to-noise ratio in dB; +Inf for equal pixels.
func psnr(t testing.TB, a, b *Image) float64 {
	t.Helper()
	if a.W != b.W || a.H != b.H {
		t.Fatalf("sizes differ: %dx%d and %dx%d", a.W, a.H, b.W, b.H)
	}
	var sum float64
	for i := range a.Pix {
		d := float64(a.Pix[i]) - float64(b.Pix[i])
		sum += d * d
	}
	return 10 * math.Log10(255*255*float64(len(a.Pix))/sum)
}

func encodeJPEG(t testing.TB, img image.Image) []byte {
	t.Helper()
	var buf bytes.Buffer
	if err := jpeg.Encode(&buf, img, &jpeg.Options{Quality: 95}); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

func encodePNG(t testing.TB, img image.Image) []byte {
	t.Helper()
	var buf bytes.Buffer
	if err := png.Encode(&buf, img); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

// exifBlock is the smallest TIFF structure that holds an orientation.
func exifBlock(order binary.AppendByteOrder, orientation uint16) []byte {
	b := []byte("II*\x00")
	if order == binary.AppendByteOrder(binary.BigEndian) {
		b = []byte("MM\x00*")
	}
	b = order.AppendUint32(b, tiffHeaderLen)
	b = order.AppendUint16(b, 1)
	b = order.AppendUint16(b, tagOrientation)
	b = order.AppendUint16(b, typeShort)
	b = order.AppendUint32(b, 1)
	b = order.AppendUint16(b, orientation)
	return append(b, 0, 0, 0, 0, 0, 0)
}

// withEXIF puts an Exif segment right after a JPEG's start marker.
func withEXIF(jpegData, tiff []byte) []byte {
	payload := append([]byte(exifPrefix), tiff...)
	out := append([]byte{}, jpegData[:2]...)
	out = append(out, 0xff, markerAPP1)
	out = binary.BigEndian.AppendUint16(out, uint16(len(payload)+2))
	out = append(out, payload...)
	return append(out, jpegData[2:]...)
}

// withChunk puts a chunk right after a PNG's header chunk.
func withChunk(pngData []byte, kind string, body []byte) []byte {
	const headerEnd = 8 + 12 + 13
	out := append([]byte{}, pngData[:headerEnd]...)
	out = binary.BigEndian.AppendUint32(out, uint32(len(body)))
	out = append(out, kind...)
	out = append(out, body...)
	out = binary.BigEndian.AppendUint32(out, crc32.ChecksumIEEE(append([]byte(kind), body...)))
	return append(out, pngData[headerEnd:]...)
}

// withSize overwrites the size that a PNG declares.
func withSize(pngData []byte, w, h uint32) []byte {
	out := append([]byte{}, pngData...)
	binary.BigEndian.PutUint32(out[16:], w)
	binary.BigEndian.PutUint32(out[20:], h)
	binary.BigEndian.PutUint32(out[29:], crc32.ChecksumIEEE(out[12:29]))
	return out
}

// jpegWithSize overwrites the size that a JPEG declares.
func jpegWithSize(t testing.TB, data []byte, w, h uint16) []byte {
	t.Helper()
	at := bytes.Index(data, []byte{0xff, markerSOF0})
	if at < 0 {
		t.Fatal("no frame header in the test JPEG")
	}
	out := append([]byte{}, data...)
	binary.BigEndian.PutUint16(out[at+5:], h)
	binary.BigEndian.PutUint16(out[at+7:], w)
	return out
}
