package recordio

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

const (
	magic    = 0xced7230a
	headSize = 8
	// alignment of frames, and of the magic words that split a record.
	alignment = 4
	// maxRecord is the longest record that dmlc-core writes, and the longest frame
	// that the format can express.
	maxRecord = 1<<29 - 1

	// historicMagic began frames for some weeks of 2015. Their second word was split in
	// another way.
	historicMagic = 0x3ed7230a
)

// magicBytes is the magic word as it stands in a file.
var magicBytes = [4]byte{0x0a, 0x23, 0xd7, 0xce}

// ErrHistoric is the error of a file in the framing of early 2015.
var ErrHistoric = errors.New("was written by a dmlc-core of early 2015 (magic 0x3ed7230a), in another framing: write it anew with a later one")

// part says which part of a record a frame holds.
type part uint32

const (
	whole part = iota
	first
	middle
	last
)

// begins says whether a frame with this part begins a record.
func (p part) begins() bool { return p == whole || p == first }

// ends says whether a frame with this part ends a record.
func (p part) ends() bool { return p == whole || p == last }

// head is the head of a frame.
type head struct {
	part   part
	length int64
}

// end is the first byte behind a frame at offset.
func (h head) end(offset int64) int64 { return offset + headSize + padded(h.length) }

// word is the head's second word.
func (h head) word() uint32 { return uint32(h.part)<<29 | uint32(h.length) }

func parseWord(word uint32) head {
	return head{part: part(word >> 29), length: int64(word & maxRecord)}
}

func padded(n int64) int64 { return (n + alignment - 1) &^ (alignment - 1) }

// fault says what is wrong with a record that could be read.
type fault string

func (f fault) Error() string { return string(f) }

func faultf(format string, args ...any) error { return fault(fmt.Sprintf(format, args...)) }

// parseHead reads the head at the beginning of b. following says that the frame must go on
// with a record.
func parseHead(b []byte, following bool) (head, error) {
	if len(b) < headSize {
		return head{}, fault("the file ends in the head of a frame")
	}
	if word := binary.LittleEndian.Uint32(b); word != magic {
		return head{}, faultf("%#08x instead of the magic word", word)
	}
	h := parseWord(binary.LittleEndian.Uint32(b[4:]))
	switch {
	case h.part > last:
		return head{}, faultf("a frame with the unknown part number %d", h.part)
	case h.part.begins() == following:
		return head{}, faultf("a frame with the part number %d out of turn", h.part)
	case !h.part.ends() && h.length%alignment != 0:
		return head{}, faultf("a frame of %d bytes goes on in another one", h.length)
	}
	return h, nil
}

// BeginsAt says whether the head of a record lies at offset of a file.
func BeginsAt(r io.ReaderAt, offset int64) (bool, error) {
	var b [headSize]byte
	switch n, err := r.ReadAt(b[:], offset); {
	case n == len(b):
	case err == io.EOF:
		return false, nil
	default:
		return false, err
	}
	_, err := parseHead(b[:], false)
	return err == nil, nil
}
