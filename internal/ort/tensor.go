package ort

import (
	"fmt"
	"unsafe"

	yalue "github.com/yalue/onnxruntime_go"

	"facepipe/internal/half"
	"facepipe/internal/onnx"
)

// Tensor is an array of float32, float16 or uint8 that is shared with the runtime.
type Tensor struct {
	kind  onnx.ElemType
	dims  []int64
	bytes []byte // of the elements
	value yalue.Value
	free  func() // gives the bytes back; nil if the collector does
}

// NewTensor makes a tensor of zeros in float32.
func NewTensor(dims ...int64) (*Tensor, error) { return NewTensorOf(onnx.Float32, dims...) }

// NewTensorOf makes a tensor of zeros: of float32, float16 or uint8.
func NewTensorOf(kind onnx.ElemType, dims ...int64) (*Tensor, error) {
	return newTensor(kind, dims, nil)
}

// newTensor makes a tensor in memory that is given, or in new memory if that is nil.
func newTensor(kind onnx.ElemType, dims []int64, memory []byte) (t *Tensor, err error) {
	t = &Tensor{kind: kind, dims: append([]int64{}, dims...), bytes: memory}
	shape := yalue.NewShape(dims...)
	if n := size(kind, dims); memory == nil {
		t.bytes = bytesOf(make([]float32, (n+3)/4))[:n] // aligned for all
	}
	switch kind {
	case onnx.Float32:
		t.value, err = yalue.NewTensor(shape, t.Data())
	case onnx.Uint8:
		t.value, err = yalue.NewTensor(shape, t.bytes)
	case onnx.Float16:
		t.value, err = yalue.NewCustomDataTensor(shape, t.bytes, yalue.TensorElementDataTypeFloat16)
	default:
		err = fmt.Errorf("its type is %v", kind)
	}
	if err != nil {
		return nil, fmt.Errorf("make a tensor of shape %v: %w", dims, err)
	}
	return t, nil
}

// size is that of an array in bytes.
func size(kind onnx.ElemType, dims []int64) int {
	n := kind.Size()
	for _, d := range dims {
		n *= int(max(d, 0)) // the runtime refuses others
	}
	return n
}

// Type is that of the elements.
func (t *Tensor) Type() onnx.ElemType { return t.kind }

// Dims is the shape.
func (t *Tensor) Dims() []int64 { return t.dims }

// Data are the elements of a float32 tensor, row-major; writing changes the tensor.
func (t *Tensor) Data() []float32 { return elements[float32](t.bytes) }

// Halves are the elements of a float16 tensor, as their bits.
func (t *Tensor) Halves() []uint16 { return elements[uint16](t.bytes) }

// Bytes are the elements of any tensor as they lie in memory.
func (t *Tensor) Bytes() []byte { return t.bytes }

// Floats are the elements of a float32 tensor, or those of a float16 one converted into memory
// that is given or, if that is too short, into new memory.
func (t *Tensor) Floats(memory []float32) []float32 {
	if t.kind == onnx.Float32 {
		return t.Data()
	}
	halves := t.Halves()
	if cap(memory) < len(halves) {
		memory = make([]float32, len(halves))
	}
	memory = memory[:len(halves)]
	for i, h := range halves {
		memory[i] = half.ToFloat(h)
	}
	return memory
}

// Close releases the tensor.
func (t *Tensor) Close() error {
	err := t.value.Destroy()
	if t.free != nil {
		t.free()
	}
	return err
}

// elements are bytes as the elements that they hold.
func elements[T float32 | uint16](bytes []byte) []T {
	var one T
	return unsafe.Slice((*T)(unsafe.Pointer(unsafe.SliceData(bytes))), len(bytes)/int(unsafe.Sizeof(one)))
}

// bytesOf are the bytes of float32 values.
func bytesOf(values []float32) []byte {
	return unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(values))), 4*len(values))
}
