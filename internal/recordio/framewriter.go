package recordio

import (
	"encoding/binary"
	"fmt"
	"io"
)

// frameWriter writes records as frames.
type frameWriter struct {
	w      io.Writer
	offset int64 // of the next record
	frames []byte
}

// write appends a record and returns where it begins.
func (f *frameWriter) write(record []byte) (int64, error) {
	if len(record) > maxRecord {
		return 0, fmt.Errorf("a record of %d bytes, more than %d", len(record), maxRecord)
	}
	f.frames = appendFrames(f.frames[:0], record)
	at := f.offset
	n, err := f.w.Write(f.frames)
	f.offset += int64(n)
	return at, err
}

// appendFrames appends the frames of a record to b. There are several if magic words stand
// where a reader would take them for heads.
func appendFrames(b, record []byte) []byte {
	begin := whole
	for {
		i := findMagic(record)
		if i < 0 {
			break
		}
		if begin == whole {
			begin = first
		}
		b = append(appendHead(b, head{begin, int64(i)}), record[:i]...)
		record, begin = record[i+len(magicBytes):], middle
	}
	if begin != whole {
		begin = last
	}
	b = append(appendHead(b, head{begin, int64(len(record))}), record...)
	return append(b, make([]byte, padded(int64(len(record)))-int64(len(record)))...)
}

func appendHead(b []byte, h head) []byte {
	return binary.LittleEndian.AppendUint32(append(b, magicBytes[:]...), h.word())
}
