package recordio

import (
	"errors"
	"io"
)

// windowSize is read at once: many small records, and little beside a disk's cache.
const windowSize = 256 << 10

// window reads a file mostly forwards.
type window struct {
	r     io.ReaderAt
	size  int64 // of the file
	buf   []byte
	start int64 // of buf in the file
}

func newWindow(r io.ReaderAt, size int64) *window {
	return &window{r: r, size: size, buf: make([]byte, 0, min(windowSize, size))}
}

// at returns n bytes, a few, from offset on, fewer only at the end of the file. They are
// valid until the next call.
func (w *window) at(offset, n int64) ([]byte, error) {
	n = min(n, w.size-offset)
	if n <= 0 {
		return nil, nil
	}
	if offset < w.start || offset+n > w.start+int64(len(w.buf)) {
		if err := w.load(offset); err != nil {
			return nil, err
		}
	}
	return w.buf[offset-w.start:][:n], nil
}

// from returns the bytes from offset on that can be had with at most one reading: a
// multiple of 4 if offset is one, except at the end of the file, and none only there.
func (w *window) from(offset int64) ([]byte, error) {
	b, err := w.at(offset, alignment)
	if len(b) == 0 || err != nil {
		return nil, err
	}
	return w.buf[offset-w.start:], nil
}

// peek is at for a place far ahead: it leaves the window where it is.
func (w *window) peek(offset, n int64) ([]byte, error) {
	b := make([]byte, max(0, min(n, w.size-offset)))
	if n, err := w.r.ReadAt(b, offset); n < len(b) {
		return nil, short(err)
	}
	return b, nil
}

func (w *window) load(offset int64) error {
	buf := w.buf[:min(int64(cap(w.buf)), w.size-offset)]
	w.start, w.buf = offset, buf[:0]
	if n, err := w.r.ReadAt(buf, offset); n < len(buf) {
		return short(err)
	}
	w.buf = buf
	return nil
}

// short is the error of a reading that gave fewer bytes than the file had.
func short(err error) error {
	if errors.Is(err, io.EOF) {
		return errors.New("became shorter while it was read")
	}
	return err
}
