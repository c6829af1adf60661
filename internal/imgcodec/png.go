package imgcodec

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"image"
	"image/png"
	"sync"
)

const pngMagic = "\x89PNG\r\n\x1a\n"

// inspectPNG reads the size from the first chunk and walks the others for an
// orientation and for the animation control of APNG (PNG 3rd edition, 11.3.6).
func inspectPNG(data []byte) (Header, error) {
	h := Header{Orientation: 1}
	rest := data[len(pngMagic):]
	for first := true; len(rest) >= 8; first = false {
		size := uint64(binary.BigEndian.Uint32(rest))
		kind := string(rest[4:8])
		if first && (kind != "IHDR" || size != 13) {
			return Header{}, refusal(ErrCorrupt, PNG, "does not begin with its header chunk")
		}
		if uint64(len(rest)) < 12+size {
			break
		}
		body := rest[8 : 8+size]
		switch kind {
		case "IHDR":
			h.W, h.H = pngSide(body), pngSide(body[4:])
		case "acTL":
			return Header{}, refusal(ErrAnimated, PNG, "has several frames")
		case "eXIf":
			h.Orientation = exifOrientation(body)
		case "IEND":
			return h, nil
		}
		rest = rest[12+size:]
	}
	return Header{}, refusal(ErrTruncated, PNG, "ends before its end chunk")
}

// pngSide reads a width or height, which the format limits to 31 bits.
func pngSide(b []byte) int {
	return int(int32(binary.BigEndian.Uint32(b)))
}

// pngBuffers keeps the compressor's state between calls of EncodePNG.
type pngBuffers sync.Pool

func (p *pngBuffers) Get() *png.EncoderBuffer {
	b, _ := (*sync.Pool)(p).Get().(*png.EncoderBuffer)
	return b
}

func (p *pngBuffers) Put(b *png.EncoderBuffer) { (*sync.Pool)(p).Put(b) }

// Fast compression: a crop is written once and read by every run that follows,
// and the slower levels win a few percent of space on photographs at several
// times the cost.
var pngEncoder = png.Encoder{CompressionLevel: png.BestSpeed, BufferPool: new(pngBuffers)}

// EncodePNG encodes img, of at least one pixel, as a lossless 24-bit PNG. The
// same pixels give the same bytes.
func EncodePNG(img *Image) []byte {
	var buf bytes.Buffer
	if err := pngEncoder.Encode(&buf, opaque(img)); err != nil {
		// A buffer accepts every byte; only an image without pixels gets here.
		panic(fmt.Sprintf("imgcodec: encode png: %v", err))
	}
	return buf.Bytes()
}

// opaque copies img into the layout for which the PNG encoder has a fast path.
func opaque(img *Image) *image.NRGBA {
	out := image.NewNRGBA(image.Rect(0, 0, img.W, img.H))
	for i, j := 0, 0; i < len(img.Pix); i, j = i+3, j+4 {
		copy(out.Pix[j:j+3], img.Pix[i:i+3])
		out.Pix[j+3] = 0xff
	}
	return out
}
