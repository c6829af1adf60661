package pickle

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
)

// Value is what a pickle holds: nil for None, bool, int64, [Text], [Bytes], [Tuple], *[List]
// or *[Array]. Lists and tuples may hold themselves: who follows them must stop somewhere.
type Value any

// Tuple is a Python tuple.
type Tuple []Value

// List is a Python list.
type List struct{ Items []Value }

// span is a part of the file.
type span struct {
	// Offset and Length are in bytes.
	Offset, Length int64
}

// read gives the bytes of a span.
func (s span) read(r io.ReaderAt) ([]byte, error) {
	data := make([]byte, s.Length)
	n, err := r.ReadAt(data, s.Offset)
	if int64(n) == s.Length {
		return data, nil
	}
	if err == nil || errors.Is(err, io.EOF) {
		err = errors.New("became shorter while it was read")
	}
	return nil, err
}

// form is how bytes or a text are written in the file.
type form uint8

const (
	plain   form = iota // as they are: bytes, or text in UTF-8
	quoted              // between quotes, with Python 2's escapes
	escaped             // one byte a character, others as \uXXXX (raw-unicode-escape)
	latin1              // bytes that are the code points of a text in UTF-8
	latin1e             // bytes that are the code points of an escaped text
)

// Text is a Python text, by its place in the file.
type Text struct {
	span
	form form
}

// Bytes is a byte string, by its place in the file. Length is how long it is there, encoded.
// The byte string itself is not longer.
type Bytes struct {
	span
	form form
}

// Contiguous says whether the file holds the bytes as they are, at Offset.
func (b Bytes) Contiguous() bool { return b.form == plain }

// Read gives the bytes, out of the file that the pickle was read from.
func (b Bytes) Read(file io.ReaderAt) ([]byte, error) {
	data, err := b.read(file)
	if err != nil {
		return nil, err
	}
	switch b.form {
	case quoted:
		return unquote(data)
	case latin1:
		return fromUTF8(data)
	case latin1e:
		return fromEscaped(data)
	}
	return data, nil
}

// ElementType is what an [Array] is made of.
type ElementType string

// The element types of images and of most flags, one byte each.
const (
	Uint8 ElementType = "uint8"
	Bool  ElementType = "bool"
)

// elementTypes are the element types that are understood, by numpy's names for them.
var elementTypes = map[string]struct {
	name   ElementType
	width  int64
	signed bool
}{
	"b1": {name: Bool, width: 1},
	"u1": {name: Uint8, width: 1}, "i1": {name: "int8", width: 1, signed: true},
	"u2": {name: "uint16", width: 2}, "i2": {name: "int16", width: 2, signed: true},
	"u4": {name: "uint32", width: 4}, "i4": {name: "int32", width: 4, signed: true},
	"u8": {name: "uint64", width: 8}, "i8": {name: "int64", width: 8, signed: true},
}

// Array is a numpy array.
type Array struct {
	Type ElementType
	// Shape has one length an axis; none is negative.
	Shape []int64
	// Data are the elements in the order of C or of Fortran. If [Array.Flat], the two are the
	// same.
	Data Bytes

	width       int64 // of an element in bytes
	signed, big bool  // the most significant byte comes first
}

// Flat says whether at most one axis is longer than 1, so that the elements have only one
// order.
func (a *Array) Flat() bool {
	long := 0
	for _, n := range a.Shape {
		if n != 1 {
			long++
		}
	}
	return long <= 1
}

// Read gives the elements' bytes.
func (a *Array) Read(file io.ReaderAt) ([]byte, error) {
	data, err := a.Data.Read(file)
	if err != nil {
		return nil, err
	}
	if n, ok := elements(a.Shape); !ok || !a.takes(n, int64(len(data))) {
		return nil, fmt.Errorf("%w: %s has %d bytes", ErrMalformed, Describe(a), len(data))
	}
	return data, nil
}

// takes says whether n elements take so many bytes.
func (a *Array) takes(n, bytes int64) bool { return bytes%a.width == 0 && n == bytes/a.width }

// Integers gives the elements as numbers; booleans are 0 and 1. What an int64 cannot hold is
// negative.
func (a *Array) Integers(file io.ReaderAt) ([]int64, error) {
	data, err := a.Read(file)
	if err != nil {
		return nil, err
	}
	numbers := make([]int64, int64(len(data))/a.width)
	for i := range numbers {
		element := data[int64(i)*a.width:][:a.width]
		if a.big {
			slices.Reverse(element)
		}
		var wide [8]byte
		if a.signed && element[a.width-1] >= 0x80 { // negative
			wide = [8]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}
		}
		copy(wide[:], element)
		numbers[i] = int64(binary.LittleEndian.Uint64(wide[:]))
	}
	return numbers, nil
}

// elements is how many elements an array of a shape has; ok is false if they cannot be
// counted.
func elements(shape []int64) (n int64, ok bool) {
	const most = 1 << 31
	n = 1
	for _, length := range shape {
		if length == 0 {
			return 0, true
		}
		if length > most || n > most {
			return 0, false
		}
		n *= length
	}
	return n, true
}

// Describe says what kind of value v is, for messages.
func Describe(v Value) string {
	switch v := v.(type) {
	case nil:
		return "None"
	case bool:
		return "a boolean"
	case int64:
		return "an integer"
	case Text:
		return "a text"
	case Bytes:
		return "a byte string"
	case Tuple:
		return fmt.Sprintf("a tuple of %d", len(v))
	case *List:
		return fmt.Sprintf("a list of %d", len(v.Items))
	case *Array:
		return fmt.Sprintf("a %s array of shape %v", v.Type, v.Shape)
	}
	return "a function or type"
}
