package pickle

import (
	"fmt"
	"strings"
)

// global is a function or a type that a pickle may name. It is never called: reduce knows the
// result of the call.
type global uint8

const (
	encodeText  global = iota // _codecs.encode(text, "latin1"): bytes in protocols 0 to 2
	emptyBytes                // bytes(): an empty string in protocols 0 to 2
	byteArray                 // bytearray, of bytes or, in protocols 0 to 2, of a text
	reconstruct               // an array that is filled by BUILD
	fromBuffer                // an array in protocol 5
	scalar                    // one element
	dtype                     // an element type
	ndarray                   // the type of arrays, an argument
)

// globals are the known names. numpy moved its internals from core to _core in version 2.
func globals() map[string]global {
	return map[string]global{
		"_codecs.encode":                      encodeText,
		"__builtin__.bytes":                   emptyBytes,
		"builtins.bytes":                      emptyBytes,
		"__builtin__.bytearray":               byteArray,
		"builtins.bytearray":                  byteArray,
		"numpy.core.multiarray._reconstruct":  reconstruct,
		"numpy._core.multiarray._reconstruct": reconstruct,
		"numpy.core.numeric._frombuffer":      fromBuffer,
		"numpy._core.numeric._frombuffer":     fromBuffer,
		"numpy.core.multiarray.scalar":        scalar,
		"numpy._core.multiarray.scalar":       scalar,
		"numpy.dtype":                         dtype,
		"numpy.ndarray":                       ndarray,
	}
}

// maxAxes is enough for the pixels of a picture.
const maxAxes = 4

// reduce is the result that the call of g with args would have.
func (m *machine) reduce(g global, args Tuple) (Value, error) {
	switch g {
	case encodeText:
		return m.encodedText(args)
	case emptyBytes:
		if len(args) == 0 {
			return Bytes{}, nil
		}
	case byteArray:
		return m.bytesOf(args)
	case reconstruct:
		if len(args) == 3 && args[0] == Value(ndarray) {
			return &Array{Type: Uint8, Shape: []int64{0}, width: 1}, nil
		}
	case fromBuffer:
		if len(args) == 4 {
			return newArray(args[2], args[1], args[0])
		}
	case scalar:
		if len(args) == 2 {
			return m.scalar(args[0], args[1])
		}
	case dtype:
		if len(args) == 3 {
			return m.elementType(args[0])
		}
	}
	return nil, fmt.Errorf("%w: call with unusual arguments", ErrRefused)
}

// bytesOf is what a bytearray holds.
func (m *machine) bytesOf(args Tuple) (Value, error) {
	switch len(args) {
	case 0:
		return Bytes{}, nil
	case 1:
		if b, ok := args[0].(Bytes); ok {
			return b, nil
		}
	}
	return m.encodedText(args)
}

// element is an element type on its way: BUILD says the order of its bytes.
type element struct {
	code string // numpy's
	big  bool
}

// encodedText is a byte string that Python 3 wrote as a text.
func (m *machine) encodedText(args Tuple) (Value, error) {
	if len(args) != 2 {
		return nil, fmt.Errorf("%w: call with unusual arguments", ErrRefused)
	}
	text, ok := args[0].(Text)
	name, err := m.short(args[1])
	if !ok || err != nil {
		return nil, fmt.Errorf("%w: call with unusual arguments", ErrRefused)
	}
	if name != "latin1" && name != "latin-1" {
		return nil, fmt.Errorf("%w: text encoding %q", ErrRefused, name)
	}
	if text.form == escaped {
		return Bytes{span: text.span, form: latin1e}, nil
	}
	return Bytes{span: text.span, form: latin1}, nil
}

// elementType is the element type of a name.
func (m *machine) elementType(name Value) (Value, error) {
	text, err := m.short(name)
	if err != nil {
		return nil, fmt.Errorf("numpy dtype: %w", err)
	}
	code := strings.TrimLeft(text, "<>=|")
	if _, ok := elementTypes[code]; !ok {
		return nil, fmt.Errorf("%w: numpy dtype %q", ErrRefused, text)
	}
	return &element{code: code, big: strings.HasPrefix(text, ">")}, nil
}

// scalar is an array element that stands alone.
func (m *machine) scalar(kind, data Value) (Value, error) {
	b, ok := data.(Bytes)
	if !ok {
		return nil, fmt.Errorf("%w: numpy scalar of %s", ErrMalformed, Describe(data))
	}
	a, err := newArray(Tuple{}, kind, b)
	if err != nil {
		return nil, err
	}
	if b.Length > maxShort {
		return nil, fmt.Errorf("%w: numpy scalar of %d bytes", ErrMalformed, b.Length)
	}
	numbers, err := a.Integers(m.in.r)
	if err != nil {
		return nil, err
	}
	if a.Type == Bool {
		return numbers[0] != 0, nil
	}
	return numbers[0], nil
}

// build fills target, an array or an element type, from the state of its __reduce__.
func (m *machine) build(target, state Value) error {
	t, ok := state.(Tuple)
	if !ok {
		return fmt.Errorf("%w: BUILD from %s", ErrRefused, Describe(state))
	}
	switch target := target.(type) {
	case *Array:
		// version, shape, element type, whether in Fortran's order, elements
		if len(t) != 5 {
			return fmt.Errorf("%w: state of an array has %d parts", ErrRefused, len(t))
		}
		a, err := newArray(t[1], t[2], t[4])
		if err != nil {
			return err
		}
		*target = *a
		return nil
	case *element:
		// version, byte order, then what only compound types have, sizes and flags
		if len(t) < 5 || t[2] != nil || t[3] != nil || t[4] != nil {
			return fmt.Errorf("%w: numpy dtype with parts", ErrRefused)
		}
		order, err := m.short(t[1])
		target.big = order == ">"
		return err
	}
	return fmt.Errorf("%w: BUILD of %s", ErrRefused, Describe(target))
}

// newArray makes an array of its three parts.
func newArray(shape, kind, data Value) (*Array, error) {
	axes, ok := shape.(Tuple)
	if !ok || len(axes) > maxAxes {
		return nil, fmt.Errorf("%w: shape of an array is %s", ErrMalformed, Describe(shape))
	}
	of, ok := kind.(*element)
	if !ok {
		return nil, fmt.Errorf("%w: element type of an array is %s", ErrRefused, Describe(kind))
	}
	b, ok := data.(Bytes)
	if !ok {
		return nil, fmt.Errorf("%w: elements of an array are %s", ErrRefused, Describe(data))
	}
	t := elementTypes[of.code]
	a := &Array{Type: t.name, Shape: make([]int64, len(axes)), Data: b, width: t.width, signed: t.signed, big: of.big}
	for i, v := range axes {
		n, ok := v.(int64)
		if !ok || n < 0 {
			return nil, fmt.Errorf("%w: length of an array's axis is no number", ErrMalformed)
		}
		a.Shape[i] = n
	}
	n, ok := elements(a.Shape)
	if !ok || n > b.Length/a.width || b.Contiguous() && !a.takes(n, b.Length) {
		return nil, fmt.Errorf("%w: %s, made of %d bytes", ErrMalformed, Describe(a), b.Length)
	}
	return a, nil
}
