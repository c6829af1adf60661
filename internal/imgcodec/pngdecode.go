package imgcodec

import (
	"encoding/binary"
	"hash/crc32"
	"sync"
)

// Filters of a row (PNG 3rd edition, 9.2): what is subtracted from a sample.
const (
	filterNone = iota
	filterSub
	filterUp
	filterAverage
	filterPaeth
)

// pngReader decodes one picture after another.
type pngReader struct {
	compressed []byte
	filtered   []byte
	first      []byte // what is above the first row: zeros
	inflater   inflater
}

var pngReaders = sync.Pool{New: func() any { return new(pngReader) }}

// decodePlainPNG decodes what crops and most photographs are, several times as fast as the
// standard library: 8 bits a sample, not interlaced, without a palette. It reports false for
// everything else and for whatever is damaged, which the standard library has to judge.
func decodePlainPNG(dst []byte, h Header, data []byte) bool {
	data = data[len(pngMagic):]
	_, header, _, ok := nextChunk(data)
	if !ok {
		return false
	}
	// After the size: bits a sample, colour type, compression, filtering, interlacing.
	channels := 0
	switch string(header[8:]) {
	case "\x08\x00\x00\x00\x00":
		channels = 1
	case "\x08\x02\x00\x00\x00":
		channels = 3
	case "\x08\x06\x00\x00\x00":
		channels = 4
	default:
		return false
	}
	r := pngReaders.Get().(*pngReader)
	defer r.release()
	if !r.collect(data) {
		return false
	}
	size := (1 + channels*h.W) * h.H
	r.filtered = resized(r.filtered, size+inflateSlack)
	return r.inflater.inflate(r.filtered, r.compressed) && r.unfilter(dst, size, h.W, channels)
}

// release keeps the memory of a small picture for the next one.
func (r *pngReader) release() {
	if cap(r.filtered)+cap(r.compressed) > pooledLeast {
		r.filtered, r.compressed, r.first = nil, nil, nil
	}
	pngReaders.Put(r)
}

// resized is b with n bytes, of any contents.
func resized(b []byte, n int) []byte {
	if cap(b) < n {
		return make([]byte, n)
	}
	return b[:n]
}

// collect puts together what is compressed. It reports false if a chunk is damaged, or is one
// that a decoder must know to show the picture.
func (r *pngReader) collect(chunks []byte) bool {
	r.compressed = r.compressed[:0]
	ended := false // the picture
	for {
		kind, body, rest, ok := nextChunk(chunks)
		if !ok || crc32.ChecksumIEEE(chunks[4:8+len(body)]) != binary.BigEndian.Uint32(chunks[8+len(body):]) {
			return false
		}
		switch string(kind) {
		case "IHDR":
		case "IDAT":
			if ended {
				return false
			}
			r.compressed = append(r.compressed, body...)
		case "IEND":
			r.compressed = append(r.compressed, make([]byte, inflateSlack)...)
			return true
		default:
			const ancillary = 'a' - 'A' // the bit of the first letter
			if kind[0]&ancillary == 0 || string(kind) == "tRNS" {
				return false
			}
			ended = len(r.compressed) > 0
		}
		chunks = rest
	}
}

// unfilter undoes the filters of size bytes in rows of w pixels and writes their colours to dst.
func (r *pngReader) unfilter(dst []byte, size, w, channels int) bool {
	stride := channels * w
	r.first = resized(r.first, stride)
	clear(r.first)
	above, filtered := r.first, r.filtered[:size]
	for ; len(filtered) > 0; filtered = filtered[1+stride:] {
		row := filtered[1:][:stride:stride]
		switch filtered[0] {
		case filterNone:
		case filterSub:
			addLeft(row, channels)
		case filterUp:
			addAbove(row, above)
		case filterAverage:
			addAverage(row, above, channels)
		case filterPaeth:
			addPaeth(row, above, channels)
		default:
			return false
		}
		copyColours(dst[:3*w], row, channels)
		dst, above = dst[3*w:], row
	}
	return true
}

func addLeft(row []byte, channels int) {
	for i := channels; i < len(row); i++ {
		row[i] += row[i-channels]
	}
}

// addAbove adds eight bytes at a time: their lower seven bits, which leave room for the carry,
// and then the upper ones, for which adding is exclusive or.
func addAbove(row, above []byte) {
	const upper = 0x8080808080808080
	for len(row) >= 8 && len(above) >= 8 {
		a, b := binary.LittleEndian.Uint64(row), binary.LittleEndian.Uint64(above)
		binary.LittleEndian.PutUint64(row, (a&^upper+b&^upper)^(a^b)&upper)
		row, above = row[8:], above[8:]
	}
	for i := range row {
		row[i] += above[i]
	}
}

func addAverage(row, above []byte, channels int) {
	for i := range channels {
		row[i] += above[i] / 2
	}
	for i := channels; i < len(row); i++ {
		row[i] += byte((int(row[i-channels]) + int(above[i])) / 2)
	}
}

func addPaeth(row, above []byte, channels int) {
	for i := range channels { // where the predictor has nothing else
		row[i] += above[i]
	}
	if channels == 3 {
		addPaethRGB(row, above)
		return
	}
	for i := channels; i < len(row); i++ {
		row[i] += byte(paeth(int32(row[i-channels]), int32(above[i]), int32(above[i-channels])))
	}
}

// addPaethRGB is addPaeth from the second pixel on, with the pixels around in registers.
func addPaethRGB(row, above []byte) {
	r, g, b := int32(row[0]), int32(row[1]), int32(row[2])
	cr, cg, cb := int32(above[0]), int32(above[1]), int32(above[2])
	row, above = row[3:], above[3:]
	for len(row) >= 3 && len(above) >= 3 {
		ur, ug, ub := int32(above[0]), int32(above[1]), int32(above[2])
		r = int32(row[0] + byte(paeth(r, ur, cr)))
		g = int32(row[1] + byte(paeth(g, ug, cg)))
		b = int32(row[2] + byte(paeth(b, ub, cb)))
		row[0], row[1], row[2] = byte(r), byte(g), byte(b)
		cr, cg, cb = ur, ug, ub
		row, above = row[3:], above[3:]
	}
}

// paeth is the one of left, up and corner that is nearest to left+up-corner; of equals the first.
// It compares no distances: the corner is nearest only while 3·corner-left-up lies between the
// other two, and beyond either of them the other one is.
func paeth(left, up, corner int32) int32 {
	low, high := min(left, up), max(left, up)
	turn := 3*corner - left - up
	predicted := corner
	if high <= turn {
		predicted = low
	}
	if turn <= low {
		predicted = high
	}
	return predicted
}

// copyColours copies a row of pixels as RGB.
func copyColours(dst, row []byte, channels int) {
	switch channels {
	case 3:
		copy(dst, row)
	case 1:
		for i, v := range row {
			dst[3*i], dst[3*i+1], dst[3*i+2] = v, v, v
		}
	case 4:
		for ; len(row) >= 4; row, dst = row[4:], dst[3:] {
			copy(dst[:3], row)
		}
	}
}
