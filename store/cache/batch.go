package cache

import (
	"unsafe"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"

	"facepipe/internal/half"
	"facepipe/internal/verdict"
	"facepipe/store"
	"facepipe/store/internal/table"
)

// batch is a record batch that is being filled.
type batch struct {
	maxRows int
	ids     []byte
	plain   vectorColumn
	mirror  vectorColumn
}

// reset begins a new batch in fresh memory: Arrow may still hold the old.
func (b *batch) reset(info *Info) {
	rowBytes := len(store.ID{}) + 2*(4+info.vectorBytes())
	b.maxRows = min(table.MaxBatchRows, max(1, table.MaxBatchBytes/rowBytes))
	b.ids = nil
	b.plain = vectorColumn{dtype: info.DType}
	b.mirror = vectorColumn{dtype: info.DType}
}

func (b *batch) rows() int { return len(b.plain.norms) }

func (b *batch) full() bool { return b.rows() == b.maxRows }

// record is the batch as an Arrow record batch of that schema, without a copy.
func (b *batch) record(schema *arrow.Schema) arrow.RecordBatch {
	n := b.rows()
	columns := []arrow.ArrayData{
		flatData(schema.Field(0).Type, n, b.ids),
		flatData(arrow.PrimitiveTypes.Float32, n, arrow.Float32Traits.CastToBytes(b.plain.norms)),
		b.plain.data(schema.Field(2).Type),
	}
	if schema.NumFields() > 3 {
		columns = append(columns,
			flatData(arrow.PrimitiveTypes.Float32, n, arrow.Float32Traits.CastToBytes(b.mirror.norms)),
			b.mirror.data(schema.Field(4).Type))
	}
	arrays := make([]arrow.Array, len(columns))
	for i, c := range columns {
		arrays[i] = array.MakeFromData(c)
	}
	return array.NewRecordBatch(schema, arrays, int64(n))
}

// flatData is a column of n fixed-width values without nulls.
func flatData(t arrow.DataType, n int, values []byte) arrow.ArrayData {
	return array.NewData(t, n, []*memory.Buffer{nil, memory.NewBufferBytes(values)}, nil, 0, 0)
}

// vectorColumn collects embeddings of one element type, and their norms.
type vectorColumn struct {
	dtype string
	norms []float32
	half  []uint16
	full  []float32
}

// append stores an embedding, or zeros if it has a fault.
func (v *vectorColumn) append(embedding []float32) verdict.Verdict {
	judged := verdict.Of(embedding, v.dtype == FP16)
	switch {
	case judged.Fault != verdict.None:
		v.appendZeros(len(embedding))
	case v.dtype == FP16:
		for _, x := range embedding {
			v.half = append(v.half, half.FromFloat(x))
		}
	default:
		v.full = append(v.full, embedding...)
	}
	v.norms = append(v.norms, judged.Norm)
	return judged
}

// appendStored copies row k of stored embeddings of the same type and returns its norm.
func (v *vectorColumn) appendStored(from *table.Vectors, k int) (norm float32) {
	lo, hi := k*from.Dim, (k+1)*from.Dim
	if from.Half != nil {
		v.half = append(v.half, from.Half[lo:hi]...)
	} else {
		v.full = append(v.full, from.Full[lo:hi]...)
	}
	v.norms = append(v.norms, from.Norms[k])
	return from.Norms[k]
}

func (v *vectorColumn) appendZeros(n int) {
	if v.dtype == FP16 {
		v.half = append(v.half, make([]uint16, n)...)
		return
	}
	v.full = append(v.full, make([]float32, n)...)
}

// data is the column of embeddings.
func (v *vectorColumn) data(list arrow.DataType) arrow.ArrayData {
	element := list.(*arrow.FixedSizeListType).Elem()
	bytes, elements := arrow.Float32Traits.CastToBytes(v.full), len(v.full)
	if v.dtype == FP16 {
		bytes, elements = halfBytes(v.half), len(v.half)
	}
	child := flatData(element, elements, bytes)
	return array.NewData(list, len(v.norms), []*memory.Buffer{nil}, []arrow.ArrayData{child}, 0, 0)
}

func halfBytes(h []uint16) []byte {
	return unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(h))), 2*len(h))
}
