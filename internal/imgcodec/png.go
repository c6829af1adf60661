package imgcodec

import (
	"bytes"
	"compress/flate"
	"compress/zlib"
	"encoding/binary"
	"hash/crc32"
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
		if first != (kind == "IHDR") || first && size != 13 {
			return Header{}, refusal(ErrCorrupt, PNG, "does not begin with its one header chunk")
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

// pngWriter encodes one picture after another.
//
// The standard library's encoder tries five filters a row and then searches the result for
// repetitions, but photographs have none. The Paeth filter and Huffman codes alone are three
// to four times as fast, and files of faces are some percent smaller.
type pngWriter struct {
	filtered   []byte
	compressed bytes.Buffer
	zlib       *zlib.Writer
}

var pngWriters = sync.Pool{New: func() any {
	z, err := zlib.NewWriterLevel(nil, flate.HuffmanOnly)
	if err != nil {
		panic(err) // the level is one
	}
	return &pngWriter{zlib: z}
}}

// EncodePNG encodes img, of at least one pixel, as a lossless 24-bit PNG. The
// same pixels give the same bytes.
func EncodePNG(img *Image) []byte {
	w := pngWriters.Get().(*pngWriter)
	defer pngWriters.Put(w)
	w.filter(img)
	w.compressed.Reset()
	w.zlib.Reset(&w.compressed)
	// A buffer accepts every byte.
	_, _ = w.zlib.Write(w.filtered)
	_ = w.zlib.Close()

	header := binary.BigEndian.AppendUint32(nil, uint32(img.W))
	header = binary.BigEndian.AppendUint32(header, uint32(img.H))
	header = append(header, 8, 2, 0, 0, 0) // bits, RGB; the only compression and filtering; not interlaced
	const chunks = 3 * 12
	out := append(make([]byte, 0, len(pngMagic)+chunks+len(header)+w.compressed.Len()), pngMagic...)
	out = appendChunk(out, "IHDR", header)
	out = appendChunk(out, "IDAT", w.compressed.Bytes())
	return appendChunk(out, "IEND", nil)
}

// appendChunk appends a chunk (PNG 3rd edition, 5.3).
func appendChunk(out []byte, kind string, body []byte) []byte {
	out = binary.BigEndian.AppendUint32(out, uint32(len(body)))
	from := len(out)
	out = append(append(out, kind...), body...)
	return binary.BigEndian.AppendUint32(out, crc32.ChecksumIEEE(out[from:]))
}

// filter is the picture as differences from the Paeth predictor (PNG 3rd edition, 9.4), each
// row behind its filter's number.
func (w *pngWriter) filter(img *Image) {
	const paeth = 4
	stride := 3 * img.W
	if n := (1 + stride) * img.H; cap(w.filtered) < n {
		w.filtered = make([]byte, n)
	} else {
		w.filtered = w.filtered[:n]
	}
	above := make([]byte, stride)
	for y := range img.H {
		row := img.Pix[y*stride:][:stride:stride]
		out := w.filtered[y*(1+stride):][:1+stride]
		out[0] = paeth
		subtractPaeth(out[1:], row, above)
		above = row
	}
}

// subtractPaeth writes the differences of a row from what the left, the upper and the upper
// left pixels predict.
func subtractPaeth(out, row, above []byte) {
	for i := range min(3, len(row)) {
		out[i] = row[i] - above[i]
	}
	n := len(row)
	lefts, uppers := row[:n-3], above[:n-3] // of the pixels from 3 on
	row, above, out = row[3:n:n], above[3:n:n], out[3:n:n]
	for i, v := range row {
		left, up, corner := int32(lefts[i]), int32(above[i]), int32(uppers[i])
		toLeft, toUp := up-corner, left-corner
		toCorner := abs(toLeft + toUp)
		toLeft, toUp = abs(toLeft), abs(toUp)
		predicted := corner
		if toUp <= toCorner {
			predicted = up
		}
		if toLeft <= min(toUp, toCorner) {
			predicted = left
		}
		out[i] = v - byte(predicted)
	}
}

func abs(v int32) int32 {
	sign := v >> 31
	return v ^ sign - sign
}
