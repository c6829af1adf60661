package recordio

import (
	"fmt"
	"io"
)

// MinRecordSize is the least number of bytes that a record with a header takes in a file.
const MinRecordSize = headSize + HeaderSize

// Read returns a copy of the bytes of a record that a [Scanner] found. It is an error if the
// frames are no longer there.
func Read(r io.ReaderAt, at Record) ([]byte, error) {
	raw := make([]byte, at.End-at.Offset)
	if n, err := r.ReadAt(raw, at.Offset); n < len(raw) {
		return nil, short(err)
	}
	data, err := join(raw)
	if err == nil && int64(len(data)) != at.Length {
		err = faultf("has %d bytes instead of %d", len(data), at.Length)
	}
	if err != nil {
		return nil, fmt.Errorf("the record at byte %d was changed while the file was read: %w", at.Offset, err)
	}
	return data, nil
}

// ReadHead returns the beginning of a record that a [Scanner] found, up to n bytes of its first
// frame.
func ReadHead(r io.ReaderAt, at Record, n int64) ([]byte, error) {
	raw := make([]byte, min(headSize+n, at.End-at.Offset))
	if n, err := r.ReadAt(raw, at.Offset); n < len(raw) {
		return nil, short(err)
	}
	h, err := parseHead(raw, false)
	if err != nil {
		return nil, fmt.Errorf("the record at byte %d was changed while the file was read: %w", at.Offset, err)
	}
	return raw[headSize:][:min(h.length, int64(len(raw)-headSize))], nil
}

// join puts the frames of a whole record together. The result is in the memory of raw, as a
// record takes less than its frames.
func join(raw []byte) ([]byte, error) {
	data := raw[:0]
	for rest, following := raw, false; ; following = true {
		h, err := parseHead(rest, following)
		if err != nil {
			return nil, err
		}
		end := h.end(0)
		if end > int64(len(rest)) || h.part.ends() != (end == int64(len(rest))) {
			return nil, fault("a frame does not end where it did")
		}
		if following {
			data = append(data, magicBytes[:]...)
		}
		data = append(data, rest[headSize:][:h.length]...)
		if h.part.ends() {
			return data, nil
		}
		rest = rest[end:]
	}
}
