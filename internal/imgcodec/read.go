package imgcodec

import (
	"errors"
	"fmt"
	"io"

	"facepipe/internal/regular"
)

// MaxBytes is the largest encoded image that is read: a hundred megapixels of uncompressed 16-bit
// colour still fit.
const MaxBytes = 1 << 30

// HeadBytes is how much of an image is looked at before the rest is read: of nearly all
// photographs it tells the size.
const HeadBytes = 64 << 10

// Admit is asked before an encoded image is read into memory. size is how many bytes reading takes,
// head how the image begins, as far as that is known. Its error is the reading's; nil admits all.
type Admit func(size int64, head []byte) error

// Ask asks admit, and compares the size with [MaxBytes].
func (admit Admit) Ask(size int64, head []byte) error {
	if admit != nil {
		if err := admit(size, head); err != nil {
			return err
		}
	}
	if size > MaxBytes {
		return fmt.Errorf("has %d bytes, more than the limit of %d", size, int64(MaxBytes))
	}
	return nil
}

// ReadFile reads the encoded image that a regular file is, if admit agrees. Errors do not name the
// file.
func ReadFile(path string, admit Admit) ([]byte, error) {
	file, err := regular.Open(path)
	if err != nil {
		return nil, regular.Reason(err)
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return nil, regular.Reason(err)
	}
	data, err := Read(file, 0, info.Size(), admit)
	return data, regular.Reason(err)
}

// Read reads an encoded image of size bytes at offset, if admit agrees.
func Read(r io.ReaderAt, offset, size int64, admit Admit) ([]byte, error) {
	head := make([]byte, min(size, HeadBytes))
	if err := readFull(r, head, offset); err != nil {
		return nil, err
	}
	if err := admit.Ask(size, head); err != nil {
		return nil, err
	}
	if int64(len(head)) == size {
		return head, nil
	}
	data := make([]byte, size)
	n := copy(data, head)
	if err := readFull(r, data[n:], offset+int64(n)); err != nil {
		return nil, err
	}
	return data, nil
}

// readFull fills b; that there is less is an error.
func readFull(r io.ReaderAt, b []byte, offset int64) error {
	n, err := r.ReadAt(b, offset)
	switch {
	case n == len(b):
		return nil
	case errors.Is(err, io.EOF):
		return errors.New("became shorter while it was read")
	}
	return err
}
