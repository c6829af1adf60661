package tensorboard

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
)

// ErrFormat marks bytes that are no event file, or the torn end of one.
var ErrFormat = errors.New("not an event file")

// maxRecord bounds a record, as a damaged length may be any number. A step's scalars take some
// hundred bytes.
const maxRecord = 1 << 20

// masked is the checksum of a record. It is a CRC-32C, changed so that bytes that hold
// checksums do not have one of them as their own.
func masked(data []byte) uint32 {
	sum := crc32.Checksum(data, crc32.MakeTable(crc32.Castagnoli))
	return (sum>>15 | sum<<17) + 0xa282ead8
}

// appendRecord frames data.
func appendRecord(b, data []byte) []byte {
	length := binary.LittleEndian.AppendUint64(nil, uint64(len(data)))
	b = append(b, length...)
	b = binary.LittleEndian.AppendUint32(b, masked(length))
	b = append(b, data...)
	return binary.LittleEndian.AppendUint32(b, masked(data))
}

// readRecord reads a record. The end of r before it is io.EOF. The end within it, and any
// damage, is [ErrFormat].
func readRecord(r io.Reader) ([]byte, error) {
	var head [12]byte
	if _, err := io.ReadFull(r, head[:]); err == io.EOF {
		return nil, err
	} else if err != nil {
		return nil, torn(err)
	}
	length := binary.LittleEndian.Uint64(head[:])
	if binary.LittleEndian.Uint32(head[8:]) != masked(head[:8]) {
		return nil, fmt.Errorf("%w: a record's length is damaged", ErrFormat)
	}
	if length > maxRecord {
		return nil, fmt.Errorf("%w: a record of %d bytes", ErrFormat, length)
	}
	body := make([]byte, length+4)
	if _, err := io.ReadFull(r, body); err != nil {
		return nil, torn(err)
	}
	data := body[:length]
	if binary.LittleEndian.Uint32(body[length:]) != masked(data) {
		return nil, fmt.Errorf("%w: a record is damaged", ErrFormat)
	}
	return data, nil
}

// torn is the error of a record that ends early.
func torn(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("%w: a record is cut off", ErrFormat)
	}
	return err
}
