package table

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"unsafe"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/float16"
)

// ParseMatrix is a column of vectors of float32.
func ParseMatrix(column arrow.Array) (Vectors, error) {
	list := column.(*array.FixedSizeList)
	values := list.ListValues().(*array.Float32)
	v := Vectors{Dim: int(list.DataType().(*arrow.FixedSizeListType).Len()), Full: values.Float32Values()}
	switch {
	case values.NullN() != 0:
		return v, errors.New("a vector has null elements")
	case len(v.Full) < list.Len()*v.Dim:
		return v, fmt.Errorf("%d vectors have %d elements", list.Len(), len(v.Full))
	}
	return v, nil
}

// Vectors are the vectors of a batch, row after row. Embeddings come with their norms, of
// which 0 marks one that the teacher did not give.
type Vectors struct {
	Norms []float32
	Dim   int
	Half  []uint16  // fp16 elements, or
	Full  []float32 // fp32 elements
}

// CopyRow copies the vector of row k to dst, of length Dim.
func (v *Vectors) CopyRow(k int, dst []float32) {
	lo, hi := k*v.Dim, (k+1)*v.Dim
	if v.Half != nil {
		widen(dst, v.Half[lo:hi])
		return
	}
	copy(dst, v.Full[lo:hi])
}

// AppendRow appends the elements of row k to dst, little-endian.
func (v *Vectors) AppendRow(dst []byte, k int) []byte {
	lo, hi := k*v.Dim, (k+1)*v.Dim
	if v.Half != nil {
		for _, h := range v.Half[lo:hi] {
			dst = binary.LittleEndian.AppendUint16(dst, h)
		}
		return dst
	}
	for _, x := range v.Full[lo:hi] {
		dst = binary.LittleEndian.AppendUint32(dst, math.Float32bits(x))
	}
	return dst
}

// ParseVectors is a column of embeddings of float16 or float32, with the column of their norms.
func ParseVectors(norms, lists arrow.Array) (Vectors, error) {
	list := lists.(*array.FixedSizeList)
	if list.ListValues().NullN() != 0 {
		return Vectors{}, errors.New("an embedding has null elements")
	}
	v := Vectors{
		Norms: norms.(*array.Float32).Float32Values(),
		Dim:   int(list.DataType().(*arrow.FixedSizeListType).Len()),
	}
	elements := 0
	switch values := list.ListValues().(type) {
	case *array.Float16:
		v.Half = halfBits(values.Values())
		elements = len(v.Half)
	case *array.Float32:
		v.Full = values.Float32Values()
		elements = len(v.Full)
	}
	if rows := list.Len(); len(v.Norms) < rows || elements < rows*v.Dim {
		return Vectors{}, fmt.Errorf("%d embeddings have %d norms and %d elements", rows, len(v.Norms), elements)
	}
	return v, nil
}

// halfBits is the same memory as its bits: float16.Num is a struct of one uint16.
func halfBits(nums []float16.Num) []uint16 {
	return unsafe.Slice((*uint16)(unsafe.Pointer(unsafe.SliceData(nums))), len(nums))
}
