package table

import (
	"encoding/hex"
	"errors"
	"fmt"
)

// FileInfo is what a manifest says of the shard's Arrow file: enough to find any
// damage to any byte of it, a batch at a time.
//
//	0                                                              Bytes
//	| magic, schema | batch 0          | batch 1 | ... | footer, magic |
//	                | columns | payload|
//
// The frame is what is not a batch. A batch has two checksums, because its last
// column (a crop's image) is large and is not needed to look a key up.
type FileInfo struct {
	Bytes int64 `json:"bytes"`
	// SHA256 of the whole file, 64 hexadecimal digits.
	SHA256 string      `json:"sha256"`
	Frame  Checksum    `json:"frame_crc32c"`
	Batch  []batchInfo `json:"batches"`
}

// batchInfo is one record batch: an encapsulated IPC message and its body.
type batchInfo struct {
	Offset int64 `json:"offset"`
	Bytes  int64 `json:"bytes"`
	Rows   int   `json:"rows"`
	// PayloadBytes at the end of the batch are its last column's values; 0 where
	// nothing is set apart.
	PayloadBytes int64    `json:"payload_bytes"`
	Columns      Checksum `json:"columns_crc32c"`
	Payload      Checksum `json:"payload_crc32c"`
}

// Rows is the number of rows of the file.
func (f *FileInfo) Rows() int {
	n := 0
	for _, b := range f.Batch {
		n += b.Rows
	}
	return n
}

// maxListedRows are the most rows of a batch, those of tables with few bytes a row. Memory is taken
// for as many rows as a manifest lists, so that it must not list more than it has room for.
const maxListedRows = 1 << 13

// Validate checks that the parts fit each other. All offsets are then inside the
// file, so that a reader may slice by them.
func (f *FileInfo) Validate(rows int) error {
	if _, err := ParseDigest(f.SHA256); err != nil {
		return err
	}
	if len(f.Batch) == 0 {
		return errors.New("lists no record batches")
	}
	at := f.Batch[0].Offset
	if at <= 0 {
		return fmt.Errorf("record batch 0 is at offset %d", at)
	}
	left := rows
	for i, b := range f.Batch {
		if b.Offset != at || b.Bytes <= 0 || b.Bytes >= f.Bytes-at {
			return fmt.Errorf("record batch %d of %d bytes at offset %d does not fit", i, b.Bytes, b.Offset)
		}
		if b.PayloadBytes < 0 || b.PayloadBytes >= b.Bytes {
			return fmt.Errorf("record batch %d of %d bytes has a payload of %d", i, b.Bytes, b.PayloadBytes)
		}
		if b.Rows <= 0 || b.Rows > left || b.Rows > maxListedRows {
			return fmt.Errorf("record batch %d has %d rows of %d", i, b.Rows, rows)
		}
		at += b.Bytes
		left -= b.Rows
	}
	if left != 0 {
		return fmt.Errorf("record batches hold %d rows of %d", rows-left, rows)
	}
	return nil
}

// Parts of the mapped file data.

func (b batchInfo) columns(data []byte) []byte {
	return data[b.Offset : b.Offset+b.Bytes-b.PayloadBytes]
}

func (b batchInfo) payload(data []byte) []byte {
	return data[b.Offset+b.Bytes-b.PayloadBytes : b.Offset+b.Bytes]
}

// frame is what precedes and what follows the batches.
func (f *FileInfo) frame(data []byte) (head, tail []byte) {
	last := f.Batch[len(f.Batch)-1]
	return data[:f.Batch[0].Offset], data[last.Offset+last.Bytes:]
}

// Digest is a SHA-256.
type Digest = [32]byte

// ParseDigest reads 64 hexadecimal digits.
func ParseDigest(s string) (Digest, error) {
	var d Digest
	if len(s) != 2*len(d) {
		return d, fmt.Errorf("digest %q is not %d hexadecimal digits", s, 2*len(d))
	}
	if _, err := hex.Decode(d[:], []byte(s)); err != nil {
		return d, fmt.Errorf("digest %q: %w", s, err)
	}
	return d, nil
}
