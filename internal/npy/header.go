package npy

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"strings"
)

// ErrFormat marks bytes that are no .npy file, or one of a kind that is not read.
var ErrFormat = errors.New("not a readable .npy file")

// Element descriptions, little-endian.
const (
	Int32   = "<i4"
	Uint8   = "|u1"
	Float16 = "<f2"
	Float32 = "<f4"
	Float64 = "<f8"
)

// Header describes an array.
type Header struct {
	// Descr is the element type, as NumPy writes it.
	Descr string
	// Fortran says that the first index varies fastest, not the last.
	Fortran bool
	// Shape has no entry for a single number.
	Shape []int
}

const (
	magic = "\x93NUMPY"
	// align is the unit of the data's offset in the file.
	align = 64
	// maxText bounds the text of a header. Those of plain arrays have some hundred bytes.
	maxText = 1 << 16
)

// AppendHeader appends the header, of version 1.0, of an array in C order.
func AppendHeader(dst []byte, descr string, shape ...int) []byte {
	const prefix = len(magic) + 4
	sides := make([]string, len(shape))
	for i, n := range shape {
		sides[i] = fmt.Sprint(n)
	}
	list := strings.Join(sides, ", ")
	if len(shape) == 1 {
		list += ","
	}
	text := fmt.Sprintf("{'descr': '%s', 'fortran_order': False, 'shape': (%s), }", descr, list)
	pad := align - (prefix+len(text)+1)%align
	text += strings.Repeat(" ", pad%align) + "\n"
	dst = append(dst, magic+"\x01\x00"...)
	dst = binary.LittleEndian.AppendUint16(dst, uint16(len(text)))
	return append(dst, text...)
}

// ReadHeader reads r up to the first element. Errors other than r's are [ErrFormat].
func ReadHeader(r io.Reader) (Header, error) {
	lead, err := read(r, len(magic)+2)
	if err != nil {
		return Header{}, err
	}
	if string(lead[:len(magic)]) != magic {
		return Header{}, fmt.Errorf("%w: it does not begin as one", ErrFormat)
	}
	var size uint32
	switch major, minor := lead[len(magic)], lead[len(magic)+1]; {
	case major == 1 && minor == 0:
		b, err := read(r, 2)
		if err != nil {
			return Header{}, err
		}
		size = uint32(binary.LittleEndian.Uint16(b))
	case (major == 2 || major == 3) && minor == 0:
		b, err := read(r, 4)
		if err != nil {
			return Header{}, err
		}
		size = binary.LittleEndian.Uint32(b)
	default:
		return Header{}, fmt.Errorf("%w: format version %d.%d is not 1.0, 2.0 or 3.0", ErrFormat, major, minor)
	}
	if size > maxText {
		return Header{}, fmt.Errorf("%w: a header of %d bytes", ErrFormat, size)
	}
	text, err := read(r, int(size))
	if err != nil {
		return Header{}, err
	}
	h, err := parse(string(text))
	if err != nil {
		return Header{}, fmt.Errorf("%w: header %.200q: %w", ErrFormat, text, err)
	}
	return h, nil
}

// read reads n bytes.
func read(r io.Reader, n int) ([]byte, error) {
	b := make([]byte, n)
	_, err := io.ReadFull(r, b)
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return nil, fmt.Errorf("%w: it ends within its header", ErrFormat)
	}
	return b, err
}

// Elements is the number of elements; false if it is beyond an int.
func (h Header) Elements() (n int, ok bool) {
	n = 1
	for _, side := range h.Shape {
		if side == 0 {
			return 0, true
		}
		if n > math.MaxInt/side {
			return 0, false
		}
		n *= side
	}
	return n, true
}
