package classifier

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"strings"

	"facepipe/internal/half"
	"facepipe/internal/npy"
	"facepipe/internal/onnx"
	"facepipe/internal/regular"
)

// ErrMatrix marks a file in which there is no classifier matrix for a teacher.
var ErrMatrix = errors.New("no classifier matrix")

// element is a type of floating-point numbers, little-endian.
type element struct {
	name  string
	bytes int
	value func([]byte) float64
}

var (
	float16s = element{"float16", 2, func(b []byte) float64 { return float64(half.ToFloat(binary.LittleEndian.Uint16(b))) }}
	float32s = element{"float32", 4, func(b []byte) float64 { return float64(math.Float32frombits(binary.LittleEndian.Uint32(b))) }}
	float64s = element{"float64", 8, func(b []byte) float64 { return math.Float64frombits(binary.LittleEndian.Uint64(b)) }}
)

// matrix is a file's matrix with a class a row. It is read row by row, as a classifier of
// millions is larger than the memory.
type matrix struct {
	rows, dim int
	element   element
	tensor    string // its name in an ONNX file
	data      io.Reader
	closer    io.Closer // nil if there is nothing to close
	buffer    []byte
}

// openMatrix opens a .npy file, or an initializer of an ONNX file: the named one, or the only
// one of that dimension.
func openMatrix(path, tensor string, dim int) (m *matrix, err error) {
	if strings.EqualFold(filepath.Ext(path), ".npy") {
		if tensor != "" {
			return nil, fmt.Errorf("%s: %w: an array has no tensor %q", path, ErrMatrix, tensor)
		}
		m, err = openArray(path)
	} else {
		m, err = openInitializer(path, tensor, dim)
	}
	if err != nil {
		return nil, err
	}
	if err := m.fits(dim); err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", path, err), m.close())
	}
	m.buffer = make([]byte, dim*m.element.bytes)
	return m, nil
}

func (m *matrix) fits(dim int) error {
	switch {
	case m.dim == dim && m.rows > 0:
		return nil
	case m.rows == dim:
		return fmt.Errorf("%w: it is %d x %d with a class a column; transpose it", ErrMatrix, m.rows, m.dim)
	}
	return fmt.Errorf("%w: it is %d x %d, the teacher has %d dimensions", ErrMatrix, m.rows, m.dim, dim)
}

// next reads a row. A float64 beyond float32 becomes an infinity.
func (m *matrix) next(dst []float32) error {
	if _, err := io.ReadFull(m.data, m.buffer); err != nil {
		return err
	}
	for i := range dst {
		dst[i] = float32(m.element.value(m.buffer[i*m.element.bytes:]))
	}
	return nil
}

func (m *matrix) close() error {
	if m.closer == nil {
		return nil
	}
	return m.closer.Close()
}

// openArray opens a .npy file, which must hold the matrix and nothing else.
func openArray(path string) (m *matrix, err error) {
	f, err := regular.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, f.Close())
		}
	}()
	r := bufio.NewReaderSize(f, 1<<20)
	h, err := npy.ReadHeader(r)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	m = &matrix{data: r, closer: f}
	switch h.Descr {
	case npy.Float16:
		m.element = float16s
	case npy.Float32:
		m.element = float32s
	case npy.Float64:
		m.element = float64s
	default:
		return nil, fmt.Errorf("%s: %w: its elements are %s, not little-endian float16, float32 or float64", path, ErrMatrix, h.Descr)
	}
	if len(h.Shape) != 2 || h.Fortran {
		return nil, fmt.Errorf("%s: %w: want two dimensions in C order, it has shape %v, Fortran order %t", path, ErrMatrix, h.Shape, h.Fortran)
	}
	m.rows, m.dim = h.Shape[0], h.Shape[1]
	return m, m.sized(path, f, r.Buffered())
}

// sized compares the size of the data with the shape. Some of the data is buffered already.
func (m *matrix) sized(path string, f *os.File, buffered int) error {
	info, err := f.Stat()
	if err != nil {
		return err
	}
	at, err := f.Seek(0, io.SeekCurrent)
	if err != nil {
		return err
	}
	have := info.Size() - at + int64(buffered)
	elements, ok := npy.Header{Shape: []int{m.rows, m.dim, m.element.bytes}}.Elements()
	if !ok || have != int64(elements) {
		return fmt.Errorf("%s: %w: %d bytes follow its header, %d x %d of %s are another number", path, ErrMatrix, have, m.rows, m.dim, m.element.name)
	}
	return nil
}

// openInitializer finds the matrix among the weights of an ONNX file.
func openInitializer(path, tensor string, dim int) (*matrix, error) {
	model, err := onnx.ReadFile(path)
	if err != nil {
		return nil, err
	}
	t, err := chooseInitializer(model.Graph.Initializers, tensor, dim)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	m := &matrix{tensor: t.Name}
	var known bool
	if m.element, known = elementOf(t.Type); !known {
		return nil, fmt.Errorf("%s: %w: initializer %s has elements of type %d, not float16, float32 or float64", path, ErrMatrix, t.Name, t.Type)
	}
	if len(t.Dims) != 2 {
		return nil, fmt.Errorf("%s: %w: initializer %s has shape %v, not two dimensions", path, ErrMatrix, t.Name, t.Dims)
	}
	if m.rows, m.dim, err = sides(t.Dims); err != nil {
		return nil, fmt.Errorf("%s: %w: initializer %s: %w", path, ErrMatrix, t.Name, err)
	}
	if err := m.locate(path, t); err != nil {
		return nil, fmt.Errorf("%s: %w: initializer %s: %w", path, ErrMatrix, t.Name, err)
	}
	return m, nil
}

func elementOf(t onnx.ElemType) (element, bool) {
	switch t {
	case onnx.Float16:
		return float16s, true
	case onnx.Float32:
		return float32s, true
	case onnx.Float64:
		return float64s, true
	}
	return element{}, false
}

func sides(dims []int64) (rows, dim int, err error) {
	const most = math.MaxInt32 // of each, so that their product times 8 fits
	if dims[0] < 0 || dims[1] < 0 || dims[0] > most || dims[1] > most/8 {
		return 0, 0, fmt.Errorf("shape %v", dims)
	}
	return int(dims[0]), int(dims[1]), nil
}

// locate finds the elements, in the model or in a file beside it.
func (m *matrix) locate(path string, t onnx.Tensor) error {
	want := int64(m.rows) * int64(m.dim) * int64(m.element.bytes)
	file, offset, length, err := t.Stored()
	if err != nil {
		return err
	}
	if file == "" {
		if int64(len(t.Data)) != want {
			return fmt.Errorf("%d bytes of raw data, %d x %d of %s are %d", len(t.Data), m.rows, m.dim, m.element.name, want)
		}
		m.data = bytes.NewReader(t.Data)
		return nil
	}
	beside, err := onnx.Beside(path, file)
	if err != nil {
		return err
	}
	f, err := regular.Open(beside)
	if err != nil {
		return err
	}
	info, err := f.Stat()
	if err != nil {
		return errors.Join(err, f.Close())
	}
	if left := info.Size() - offset; length == -1 && left != want || length != -1 && length != want || left < want {
		return errors.Join(fmt.Errorf("%d bytes of %s follow offset %d, %d are needed", left, file, offset, want), f.Close())
	}
	m.data, m.closer = bufio.NewReaderSize(io.NewSectionReader(f, offset, want), 1<<20), f
	return nil
}

// chooseInitializer is the initializer of that name or, without a name, the only one with rows
// of that dimension.
func chooseInitializer(all []onnx.Tensor, name string, dim int) (onnx.Tensor, error) {
	var fit []onnx.Tensor
	var shapes []string
	for _, t := range all {
		if t.Name == name && name != "" {
			return t, nil
		}
		if len(t.Dims) != 2 {
			continue
		}
		if len(shapes) < maxNamed {
			shapes = append(shapes, fmt.Sprintf("%s (%d x %d)", t.Name, t.Dims[0], t.Dims[1]))
		}
		if _, known := elementOf(t.Type); known && t.Dims[1] == int64(dim) {
			fit = append(fit, t)
		}
	}
	list := "it has " + strings.Join(shapes, ", ")
	if len(shapes) == 0 {
		list = "it has none of two dimensions"
	}
	switch {
	case name != "":
		return onnx.Tensor{}, fmt.Errorf("%w: no initializer is called %q; %s", ErrMatrix, name, list)
	case len(fit) == 0:
		return onnx.Tensor{}, fmt.Errorf("%w: no initializer has rows of %d elements; %s", ErrMatrix, dim, list)
	case len(fit) > 1:
		return onnx.Tensor{}, fmt.Errorf("%w: %d initializers have rows of %d elements, name one: %s", ErrMatrix, len(fit), dim, list)
	}
	return fit[0], nil
}

// maxNamed is how many initializers an error names.
const maxNamed = 12
