package cache

import (
	"unsafe"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"

	"facepipe/internal/half"
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

// append stores an embedding and returns its norm; one that is not usable is stored as
// zeros with norm 0, and the error is the reason.
func (v *vectorColumn) append(embedding []float32) (norm float32, err error) {
	norm, err = usableNorm(embedding)
	if err == nil && v.dtype == FP16 {
		err = v.appendHalf(embedding, norm)
	} else if err == nil {
		v.full = append(v.full, embedding...)
	}
	if err != nil {
		norm = 0
		v.appendZeros(len(embedding))
	}
	v.norms = append(v.norms, norm)
	return norm, err
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

// appendHalf stores the embedding rounded to fp16, or nothing if that loses it.
func (v *vectorColumn) appendHalf(embedding []float32, norm float32) error {
	start := len(v.half)
	widened := table.HalfTable()
	sum := 0.0
	for _, x := range embedding {
		h := half.FromFloat(x)
		v.half = append(v.half, h)
		y := float64(widened[h])
		sum += y * y
	}
	err := survives(norm, sum)
	if err != nil {
		v.half = v.half[:start]
	}
	return err
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
