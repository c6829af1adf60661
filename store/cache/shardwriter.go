package cache

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"unsafe"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"

	"facepipe/internal/durable"
	"facepipe/internal/half"
	"facepipe/store"
	"facepipe/store/internal/table"
)

// minNorm is the norm below which an embedding has no direction to speak of.
const minNorm = 1e-6

// maxNormDrift is how much rounding to fp16 may change a norm, relatively: a vector of
// which more is lost (elements so small that they vanish) is not stored.
const maxNormDrift = 0.01

// ShardWriter writes the embeddings of one crop shard: Append for every row in
// order, then Commit. For one goroutine.
type ShardWriter struct {
	info     Info
	place    shardPlace
	crops    *store.IDs
	out      *table.Writer[Columns]
	manifest manifest
	batch    batch
	row      int // next row of the shard
	done     bool
}

// shardPlace is where a shard of embeddings is committed.
type shardPlace interface {
	// publish makes the sealed file, and then the manifest that describes it, durable.
	publish(shard int, out *table.Writer[Columns], manifest []byte) error
}

// Shard begins the embeddings of crop shard i, which must be missing. End it with
// Commit or Abort.
func (w *Writer) Shard(i int) (*ShardWriter, error) {
	if !slices.Contains(w.MissingShards(), i) {
		return nil, fmt.Errorf("write shard %d of teacher %s: it is not missing", i, w.teacher.info.Name)
	}
	return newShardWriter(w.disk, w.teacher.dataset, w.teacher.info, w.teacher.path(i), i, w)
}

// newShardWriter begins the embeddings of crop shard i of a dataset, in a temporary file
// in path's folder.
func newShardWriter(disk durable.Disk, d *store.Dataset, info Info, path string, i int, place shardPlace) (*ShardWriter, error) {
	crops, err := d.IDs(i)
	if err != nil {
		return nil, err
	}
	out, err := table.Create(disk, path, schemaOf(info), parseColumns)
	if err != nil {
		return nil, errors.Join(err, crops.Close())
	}
	e := &ShardWriter{info: info, place: place, crops: crops, out: out}
	e.manifest = manifest{
		Header:      table.HeaderOf(table.FormatEmbeddings),
		Shard:       i,
		Fingerprint: info.Fingerprint,
		Crops:       d.ShardDigest(i),
		Rows:        d.ShardRows(i),
	}
	e.batch.reset(&e.info)
	return e, nil
}

// publish gives the shard its place in the cache.
func (w *Writer) publish(shard int, out *table.Writer[Columns], manifest []byte) error {
	if err := out.Commit(); err != nil {
		return err
	}
	if err := w.disk.WriteFile(filepath.Join(w.teacher.folder, table.ManifestName(shard)), manifest, table.OnceMode); err != nil {
		return err
	}
	w.written(shard)
	return nil
}

// Append adds the teacher's raw output for the next row and, if the cache holds them,
// for its mirror image (nil otherwise), of length Dim each; both are copied. An output
// that is not finite, has a norm below 1e-6 or does not survive the element type is
// recorded as invalid, with its reason, and stored as zeros. A wrong length is an
// error, as is one row too many.
func (w *ShardWriter) Append(embedding, mirror []float32) error {
	info := &w.info
	mirrorDim := 0
	if info.Flip {
		mirrorDim = info.Dim
	}
	if len(embedding) != info.Dim || len(mirror) != mirrorDim {
		return w.failed(fmt.Errorf("row %d has %d and %d elements, want %d and %d", w.row, len(embedding), len(mirror), info.Dim, mirrorDim))
	}
	if err := w.begin(); err != nil {
		return err
	}
	w.add(&w.batch.plain, embedding, false)
	if info.Flip {
		w.add(&w.batch.mirror, mirror, true)
	}
	w.row++
	return nil
}

// appendStored adds row k of a batch of another cache of the same fingerprint, bit for
// bit: a norm was taken before rounding and cannot be had from the elements. It must be
// the embedding of the next row's crop. why are the reasons of embeddings without use.
func (w *ShardWriter) appendStored(c *Columns, k int, why unusable) error {
	if err := w.begin(); err != nil {
		return err
	}
	ids := w.batch.ids
	if have, want := c.ID.Value(k), ids[len(ids)-len(store.ID{}):]; !bytes.Equal(have, want) {
		return w.failed(fmt.Errorf("%w: row %d is crop %x, the embedding is of %x", errOtherCrop, w.row, want, have))
	}
	w.account(w.batch.plain.appendStored(&c.Plain, k), false, why.plain)
	if c.Mirror != nil {
		w.account(w.batch.mirror.appendStored(c.Mirror, k), true, why.mirror)
	}
	w.row++
	return nil
}

// errOtherCrop is of an embedding that is not where its crop's id led.
var errOtherCrop = errors.New("another crop's embedding")

// unusable are the reasons why a teacher's embedding of a crop, and that of its mirror
// image, are invalid; of no meaning for one that is not.
type unusable struct{ plain, mirror string }

// begin puts the id of the next row's crop into the batch.
func (w *ShardWriter) begin() error {
	switch {
	case w.done:
		return w.failed(errors.New("already committed or aborted"))
	case w.row == w.manifest.Rows:
		return w.failed(fmt.Errorf("more than its %d rows", w.row))
	}
	if w.batch.full() {
		if err := w.flush(); err != nil {
			return err
		}
	}
	id, err := w.crops.At(w.row)
	if err != nil {
		return err
	}
	w.batch.ids = append(w.batch.ids, id[:]...)
	return nil
}

func (w *ShardWriter) failed(err error) error {
	return fmt.Errorf("write %s: %w", w.out.Path, err)
}

// add appends one embedding to a column.
func (w *ShardWriter) add(to *vectorColumn, embedding []float32, mirror bool) {
	norm, err := to.append(embedding)
	reason := ""
	if err != nil {
		reason = err.Error()
	}
	w.account(norm, mirror, reason)
}

// account keeps the manifest's account of an embedding of the row, whose norm is 0 if it
// is invalid.
func (w *ShardWriter) account(norm float32, mirror bool, reason string) {
	m := &w.manifest
	if norm == 0 {
		m.Invalid = append(m.Invalid, invalid{Row: w.row, Mirror: mirror, Reason: reason})
		return
	}
	if m.NormMax == 0 {
		m.NormMin = norm
	}
	m.NormMin, m.NormMax = min(m.NormMin, norm), max(m.NormMax, norm)
}

func (w *ShardWriter) flush() error {
	if w.batch.rows() == 0 {
		return nil
	}
	rec := w.batch.record(w.out.Schema)
	defer rec.Release()
	if err := w.out.WriteBatch(rec, 0); err != nil {
		return err
	}
	w.batch.reset(&w.info)
	return nil
}

// Commit makes the shard durable: its file, then its manifest. Every row must have
// been appended. On failure nothing of it remains.
func (w *ShardWriter) Commit() error {
	if w.done {
		return w.failed(errors.New("already committed or aborted"))
	}
	if err := w.commit(); err != nil {
		return errors.Join(err, w.Abort())
	}
	w.done = true
	return w.crops.Close()
}

func (w *ShardWriter) commit() error {
	if w.row != w.manifest.Rows {
		return w.failed(fmt.Errorf("%d of %d rows were embedded", w.row, w.manifest.Rows))
	}
	if err := w.flush(); err != nil {
		return err
	}
	var err error
	if w.manifest.File, err = w.out.Seal(); err != nil {
		return w.explain(err)
	}
	sum, err := w.manifest.contentDigest()
	if err != nil {
		return w.failed(err)
	}
	w.manifest.Digest = hex.EncodeToString(sum[:])
	data, err := table.EncodeSealed(&w.manifest)
	if err != nil {
		return w.failed(err)
	}
	return w.place.publish(w.manifest.Shard, w.out, data)
}

// explain tells a file that was taken away from a disk that fails.
func (w *ShardWriter) explain(err error) error {
	if _, gone := os.Stat(w.out.Out.TempName()); errors.Is(gone, os.ErrNotExist) {
		return w.failed(fmt.Errorf("somebody has deleted the unfinished file, as a merge does that has all it wants; run the same command again: %w", gone))
	}
	return err
}

// Abort throws the shard away. After Commit or Abort it does nothing.
func (w *ShardWriter) Abort() error {
	if w.done {
		return nil
	}
	w.done = true
	return errors.Join(w.out.Abort(), w.crops.Close())
}

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

// Append stores an embedding and returns its norm; one that is not usable is stored as
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
	table := table.HalfTable()
	sum := 0.0
	for _, x := range embedding {
		h := half.FromFloat(x)
		v.half = append(v.half, h)
		y := float64(table[h])
		sum += y * y
	}
	err := survives(norm, sum)
	if err != nil {
		v.half = v.half[:start]
	}
	return err
}

// survives says what keeps fp16 from holding an embedding of a norm, rounded to a sum of squares.
func survives(norm float32, rounded float64) error {
	rounded = math.Sqrt(rounded)
	if math.Abs(rounded-float64(norm)) > maxNormDrift*float64(norm) {
		return fmt.Errorf("norm %g becomes %g in fp16", norm, rounded)
	}
	return nil
}

// Usable says why a cache of an element type does not take an embedding, nil if it does: see
// [ShardWriter.Append].
func Usable(embedding []float32, dtype string) error {
	norm, err := usableNorm(embedding)
	if err != nil || dtype != FP16 {
		return err
	}
	table, sum := table.HalfTable(), 0.0
	for _, x := range embedding {
		y := float64(table[half.FromFloat(x)])
		sum += y * y
	}
	return survives(norm, sum)
}

// usableNorm is the Euclidean norm, or the reason why the embedding has no use.
func usableNorm(embedding []float32) (float32, error) {
	sum := 0.0
	for _, x := range embedding {
		// The conversion keeps the product from being fused with the sum, which some
		// processors do: the norm's bits are to be the same on all.
		sum += float64(float64(x) * float64(x))
	}
	// Squares of finite float32 do not overflow a float64.
	if math.IsNaN(sum) || math.IsInf(sum, 0) {
		i := slices.IndexFunc(embedding, func(x float32) bool { return !(math.Abs(float64(x)) <= math.MaxFloat32) })
		return 0, fmt.Errorf("element %d is %g", i, embedding[i])
	}
	norm := float32(math.Sqrt(sum))
	if norm < minNorm {
		return 0, fmt.Errorf("norm is %g", norm)
	}
	if math.IsInf(float64(norm), 0) {
		return 0, errors.New("norm is beyond float32")
	}
	return norm, nil
}

// Data is the column of embeddings.
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

// HalfCosine is the cosine between an embedding, which must not be zero, and what fp16
// keeps of it.
func HalfCosine(embedding []float32) float64 {
	table := table.HalfTable()
	var xx, yy, xy float64
	for _, v := range embedding {
		x, y := float64(v), float64(table[half.FromFloat(v)])
		xx, yy, xy = xx+x*x, yy+y*y, xy+x*y
	}
	return xy / math.Sqrt(xx*yy)
}
