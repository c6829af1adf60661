package pickle

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// windowBytes is how much of a file is in memory at a time. [scanner.take] gives no more.
const windowBytes = 32 << 10

// scanner goes forward through a file. What is skipped is not read.
type scanner struct {
	r      io.ReaderAt
	size   int64
	pos    int64
	window []byte
	start  int64 // of the window, in the file
	buffer []byte
}

func newScanner(r io.ReaderAt, size int64) *scanner {
	return &scanner{r: r, size: size, buffer: make([]byte, min(size, windowBytes))}
}

// ahead is the part of the window that lies ahead: at least one byte, and n if the file has
// them.
func (s *scanner) ahead(n int) ([]byte, error) {
	if skipped := s.pos - s.start; skipped+int64(n) <= int64(len(s.window)) {
		return s.window[skipped:], nil
	}
	want := min(int64(len(s.buffer)), s.size-s.pos)
	if want < int64(n) {
		return nil, fmt.Errorf("%w: ends in the middle", ErrMalformed)
	}
	read, err := s.r.ReadAt(s.buffer[:want], s.pos)
	if int64(read) < want {
		if err == nil || errors.Is(err, io.EOF) {
			err = errors.New("became shorter while it was read")
		}
		return nil, err
	}
	s.window, s.start = s.buffer[:want], s.pos
	return s.window, nil
}

// take gives the next n bytes, at most windowBytes, valid until the next call.
func (s *scanner) take(n int) ([]byte, error) {
	b, err := s.ahead(n)
	if err != nil {
		return nil, err
	}
	s.pos += int64(n)
	return b[:n], nil
}

// unsigned reads a little-endian number of 1, 2, 4 or 8 bytes.
func (s *scanner) unsigned(width int) (uint64, error) {
	b, err := s.take(width)
	if err != nil {
		return 0, err
	}
	var wide [8]byte
	copy(wide[:], b)
	return binary.LittleEndian.Uint64(wide[:]), nil
}

// skip passes over n bytes and says where they are.
func (s *scanner) skip(n uint64) (span, error) {
	if left := s.size - s.pos; n > uint64(left) {
		return span{}, fmt.Errorf("%w: %d bytes announced, %d are left", ErrMalformed, n, left)
	}
	at := span{Offset: s.pos, Length: int64(n)}
	s.pos += int64(n)
	return at, nil
}

// line passes over a line and its end, and says where it is.
func (s *scanner) line() (span, error) {
	begin := s.pos
	for {
		b, err := s.ahead(1)
		if err != nil {
			return span{}, err
		}
		if i := bytes.IndexByte(b, '\n'); i >= 0 {
			s.pos += int64(i) + 1
			return span{Offset: begin, Length: s.pos - 1 - begin}, nil
		}
		s.pos += int64(len(b))
	}
}
