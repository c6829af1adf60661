// Package safetensors reads and writes the safetensors container: an 8-byte
// little-endian length, a JSON header of that length naming each tensor's type,
// shape and place, then the tensors' bytes. It is what the field exchanges weights
// in, so a checkpoint can be opened by any of its tools.
package safetensors

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"math"

	"facepipe/internal/half"
)

// Errors of [Unmarshal].
var (
	// ErrFormat marks bytes that are no safetensors file.
	ErrFormat = errors.New("not a safetensors file")
	// ErrTruncated marks the beginning of one.
	ErrTruncated = errors.New("truncated safetensors file")
)

// Tensor is one named array. Exactly one of the slices is set (or none, for an
// empty tensor of type float32). What a file has in float16 or bfloat16 is read as
// float32, which holds all of their values.
type Tensor struct {
	Shape   []int
	Float32 []float32
	Float64 []float64
	Int64   []int64
}

// File is the content of a container.
type File struct {
	Tensors  map[string]Tensor
	Metadata map[string]string
}

// entry is a tensor in the header.
type entry struct {
	DType   string   `json:"dtype"`
	Shape   []int    `json:"shape"`
	Offsets [2]int64 `json:"data_offsets"`
}

const metadataKey = "__metadata__"

// values is the number of values.
func (t Tensor) values() int { return len(t.Float32) + len(t.Float64) + len(t.Int64) }

// append writes the values from .. to-1 and returns their type's name.
func (t Tensor) append(body *bytes.Buffer, from, to int) string {
	switch {
	case t.Float64 != nil:
		for _, v := range t.Float64[from:to] {
			body.Write(binary.LittleEndian.AppendUint64(body.AvailableBuffer(), math.Float64bits(v)))
		}
		return "F64"
	case t.Int64 != nil:
		for _, v := range t.Int64[from:to] {
			body.Write(binary.LittleEndian.AppendUint64(body.AvailableBuffer(), uint64(v)))
		}
		return "I64"
	}
	for _, v := range t.Float32[from:to] {
		body.Write(binary.LittleEndian.AppendUint32(body.AvailableBuffer(), math.Float32bits(v)))
	}
	return "F32"
}

// widths are the bytes of one value of each type.
var widths = map[string]int{"F32": 4, "F16": 2, "BF16": 2, "F64": 8, "I64": 8}

// elements is the product of a shape, or -1 if that is no number of elements.
func elements(shape []int) int {
	n := 1
	for _, d := range shape {
		if d < 0 || (d > 0 && n > math.MaxInt32*256/d) {
			return -1
		}
		n *= d
	}
	return n
}

// IsFile is whether data begins as a safetensors file does: with the length of a header,
// and the brace that opens it.
func IsFile(data []byte) bool {
	return len(data) > 8 && data[8] == '{' && binary.LittleEndian.Uint64(data) <= maxHeader
}

// maxHeader is the longest header that the format allows.
const maxHeader = 100_000_000

// Unmarshal decodes a file; the errors wrap [ErrFormat] or [ErrTruncated] and name the
// tensor. Types other than F32, F16, BF16, F64 and I64 are refused. Nothing is allocated
// beyond a small multiple of len(data).
func Unmarshal(data []byte) (File, error) {
	if !IsFile(data) {
		return File{}, fmt.Errorf("%w: it does not begin with a header (%d bytes)", ErrFormat, len(data))
	}
	length := binary.LittleEndian.Uint64(data)
	if length > uint64(len(data)-8) {
		return File{}, fmt.Errorf("%w: it ends after %d of the header's %d bytes", ErrTruncated, len(data)-8, length)
	}
	var header map[string]json.RawMessage
	if err := json.Unmarshal(data[8:8+length], &header); err != nil {
		return File{}, fmt.Errorf("%w: header: %w", ErrFormat, err)
	}
	f := File{Tensors: map[string]Tensor{}}
	body := data[8+length:]
	var used int64
	for name, raw := range header {
		if name == metadataKey {
			if err := json.Unmarshal(raw, &f.Metadata); err != nil {
				return File{}, fmt.Errorf("%w: metadata: %w", ErrFormat, err)
			}
			continue
		}
		var e entry
		if err := json.Unmarshal(raw, &e); err != nil {
			return File{}, fmt.Errorf("%w: tensor %s: %w", ErrFormat, name, err)
		}
		t, err := e.read(name, body)
		if err != nil {
			return File{}, err
		}
		f.Tensors[name] = t
		used += e.Offsets[1] - e.Offsets[0]
	}
	if used != int64(len(body)) {
		return File{}, fmt.Errorf("%w: the tensors take %d of %d bytes", ErrFormat, used, len(body))
	}
	return f, nil
}

// read takes the tensor called name out of the body.
func (e entry) read(name string, body []byte) (Tensor, error) {
	from, to := e.Offsets[0], e.Offsets[1]
	if from < 0 || to < from {
		return Tensor{}, fmt.Errorf("%w: tensor %s: bytes %d to %d", ErrFormat, name, from, to)
	}
	if to > int64(len(body)) {
		return Tensor{}, fmt.Errorf("%w: tensor %s ends at byte %d of %d", ErrTruncated, name, to, len(body))
	}
	b, n := body[from:to], elements(e.Shape)
	width := widths[e.DType]
	if width == 0 {
		return Tensor{}, fmt.Errorf("%w: tensor %s: type %q is none of F32, F16, BF16, F64, I64", ErrFormat, name, e.DType)
	}
	if n < 0 || n*width != len(b) {
		return Tensor{}, fmt.Errorf("%w: tensor %s: %d bytes for shape %v of %s", ErrFormat, name, len(b), e.Shape, e.DType)
	}
	t := Tensor{Shape: e.Shape}
	switch e.DType {
	case "F32":
		t.Float32 = decode(b, 4, func(b []byte) float32 { return math.Float32frombits(binary.LittleEndian.Uint32(b)) })
	case "F16":
		t.Float32 = decode(b, 2, func(b []byte) float32 { return half.ToFloat(binary.LittleEndian.Uint16(b)) })
	case "BF16":
		t.Float32 = decode(b, 2, func(b []byte) float32 { return math.Float32frombits(uint32(binary.LittleEndian.Uint16(b)) << 16) })
	case "F64":
		t.Float64 = decode(b, 8, func(b []byte) float64 { return math.Float64frombits(binary.LittleEndian.Uint64(b)) })
	case "I64":
		t.Int64 = decode(b, 8, func(b []byte) int64 { return int64(binary.LittleEndian.Uint64(b)) })
	}
	return t, nil
}

func decode[T any](b []byte, width int, one func([]byte) T) []T {
	out := make([]T, len(b)/width)
	for i := range out {
		out[i] = one(b[i*width:])
	}
	return out
}
