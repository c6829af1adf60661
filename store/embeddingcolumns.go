package store

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

// embeddingColumns are the columns of one record batch of a teacher's shard. They
// point into the mapping.
type embeddingColumns struct {
	id     *array.FixedSizeBinary
	plain  vectors
	mirror *vectors // nil unless mirror images are embedded
}

// vectors are the embeddings of a batch, row after row, and their norms. A norm of 0
// marks an embedding that the teacher did not give.
type vectors struct {
	norms []float32
	dim   int
	half  []uint16  // fp16 elements, or
	full  []float32 // fp32 elements
}

// copyRow copies the embedding of row k to dst, of length dim.
func (v *vectors) copyRow(k int, dst []float32) {
	lo, hi := k*v.dim, (k+1)*v.dim
	if v.half != nil {
		widen(dst, v.half[lo:hi])
		return
	}
	copy(dst, v.full[lo:hi])
}

// appendRow appends the elements of row k to dst, little-endian.
func (v *vectors) appendRow(dst []byte, k int) []byte {
	lo, hi := k*v.dim, (k+1)*v.dim
	if v.half != nil {
		for _, h := range v.half[lo:hi] {
			dst = binary.LittleEndian.AppendUint16(dst, h)
		}
		return dst
	}
	for _, x := range v.full[lo:hi] {
		dst = binary.LittleEndian.AppendUint32(dst, math.Float32bits(x))
	}
	return dst
}

// parseEmbeddingColumns relies on the schema being embeddingSchema and on
// validateBatch.
func parseEmbeddingColumns(rec arrow.RecordBatch) (embeddingColumns, error) {
	c := embeddingColumns{id: rec.Column(0).(*array.FixedSizeBinary)}
	_ = c.id.Value(int(rec.NumRows()) - 1) // a column too short would be missed later
	var err error
	if c.plain, err = parseVectors(rec.Column(1), rec.Column(2)); err != nil {
		return c, err
	}
	if rec.NumCols() == 3 {
		return c, nil
	}
	mirror, err := parseVectors(rec.Column(3), rec.Column(4))
	c.mirror = &mirror
	return c, err
}

func parseVectors(norms, lists arrow.Array) (vectors, error) {
	list := lists.(*array.FixedSizeList)
	if list.ListValues().NullN() != 0 {
		return vectors{}, errors.New("an embedding has null elements")
	}
	v := vectors{
		norms: norms.(*array.Float32).Float32Values(),
		dim:   int(list.DataType().(*arrow.FixedSizeListType).Len()),
	}
	elements := 0
	switch values := list.ListValues().(type) {
	case *array.Float16:
		v.half = halfBits(values.Values())
		elements = len(v.half)
	case *array.Float32:
		v.full = values.Float32Values()
		elements = len(v.full)
	}
	if rows := list.Len(); len(v.norms) < rows || elements < rows*v.dim {
		return vectors{}, fmt.Errorf("%d embeddings have %d norms and %d elements", rows, len(v.norms), elements)
	}
	return v, nil
}

// halfBits is the same memory as its bits: float16.Num is a struct of one uint16.
func halfBits(nums []float16.Num) []uint16 {
	return unsafe.Slice((*uint16)(unsafe.Pointer(unsafe.SliceData(nums))), len(nums))
}
