package torch

import "fmt"

// DType is the element type of a tensor; the values are those of c10::ScalarType.
type DType int64

// The element types that pipe uses.
const (
	Uint8    DType = 0
	Int64    DType = 4
	Float16  DType = 5
	Float32  DType = 6
	Float64  DType = 7
	Bool     DType = 11
	BFloat16 DType = 15
)

// Size is the number of bytes of one element.
func (d DType) Size() int {
	switch d {
	case Uint8, Bool:
		return 1
	case Float16, BFloat16:
		return 2
	case Float32:
		return 4
	case Int64, Float64:
		return 8
	}
	return 0
}

func (d DType) String() string {
	switch d {
	case Uint8:
		return "uint8"
	case Int64:
		return "int64"
	case Float16:
		return "float16"
	case Float32:
		return "float32"
	case Float64:
		return "float64"
	case Bool:
		return "bool"
	case BFloat16:
		return "bfloat16"
	}
	return fmt.Sprintf("dtype(%d)", int64(d))
}

// element maps the Go types whose slices cross the border to their DType.
type element interface {
	uint8 | int64 | float32 | float64
}

func dtypeOf[T element]() DType {
	switch any(*new(T)).(type) {
	case uint8:
		return Uint8
	case int64:
		return Int64
	case float32:
		return Float32
	default:
		return Float64
	}
}
