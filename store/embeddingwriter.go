package store

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"unsafe"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"

	"facepipe/internal/durable"
	"facepipe/internal/half"
	"facepipe/internal/verdict"
)

// EmbeddingWriter writes the embeddings of one crop shard: Append for every row in
// order, then Commit. For one goroutine.
type EmbeddingWriter struct {
	info     TeacherInfo
	place    shardPlace
	crops    *cropFile
	out      *arrowWriter[embeddingColumns]
	manifest embeddingManifest
	batch    embeddingBatch
	row      int // next row of the shard
	done     bool

	plain, mirrored verdict.Fault // of the row before
}

// shardPlace is where a shard of embeddings is committed.
type shardPlace interface {
	// publish makes the sealed file, and then the manifest that describes it, durable.
	publish(shard int, out *arrowWriter[embeddingColumns], manifest []byte) error
}

// Shard begins the embeddings of crop shard i, which must be missing. End it with
// Commit or Abort.
func (w *TeacherWriter) Shard(i int) (*EmbeddingWriter, error) {
	if !slices.Contains(w.MissingShards(), i) {
		return nil, fmt.Errorf("write shard %d of teacher %s: it is not missing", i, w.teacher.info.Name)
	}
	return newEmbeddingWriter(w.disk, w.teacher.dataset, w.teacher.info, w.teacher.path(i), i, w)
}

// newEmbeddingWriter begins the embeddings of crop shard i of a dataset, in a temporary file
// in path's folder.
func newEmbeddingWriter(disk durable.Disk, d *Dataset, info TeacherInfo, path string, i int, place shardPlace) (*EmbeddingWriter, error) {
	crops, err := d.openCrops(i)
	if err != nil {
		return nil, err
	}
	out, err := newArrowWriter(disk, path, embeddingSchema(info), parseEmbeddingColumns)
	if err != nil {
		return nil, errors.Join(err, crops.Close())
	}
	e := &EmbeddingWriter{info: info, place: place, crops: crops, out: out}
	e.manifest = embeddingManifest{
		header:      headerOf(formatEmbeddings),
		Shard:       i,
		Fingerprint: info.Fingerprint,
		Crops:       d.shards[i].hexDigest(),
		Rows:        d.shards[i].rows,
	}
	e.batch.reset(&e.info)
	return e, nil
}

// publish gives the shard its place in the cache.
func (w *TeacherWriter) publish(shard int, out *arrowWriter[embeddingColumns], manifest []byte) error {
	if err := out.commit(); err != nil {
		return err
	}
	if err := w.disk.WriteFile(filepath.Join(w.teacher.folder, manifestName(shard)), manifest, onceMode); err != nil {
		return err
	}
	w.written(shard)
	return nil
}

// Append adds the teacher's raw output for the next row and, if the cache holds them,
// for its mirror image (nil otherwise), of length Dim each; both are copied. An output in
// which [verdict.Of] finds a fault is recorded as invalid, with its reason, and stored as
// zeros; see [EmbeddingWriter.Faults]. A wrong length is an error, as is one row too many.
func (w *EmbeddingWriter) Append(embedding, mirror []float32) error {
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
	w.plain, w.mirrored = w.add(&w.batch.plain, embedding, false), verdict.None
	if info.Flip {
		w.mirrored = w.add(&w.batch.mirror, mirror, true)
	}
	w.row++
	return nil
}

// Faults are those of the embeddings that were appended last.
func (w *EmbeddingWriter) Faults() (plain, mirrored verdict.Fault) { return w.plain, w.mirrored }

// appendStored adds row k of a batch of another cache of the same fingerprint, bit for
// bit: a norm was taken before rounding and cannot be had from the elements. It must be
// the embedding of the next row's crop. why are the reasons of embeddings without use.
func (w *EmbeddingWriter) appendStored(c *embeddingColumns, k int, why unusable) error {
	if err := w.begin(); err != nil {
		return err
	}
	ids := w.batch.ids
	if have, want := c.id.Value(k), ids[len(ids)-len(ID{}):]; !bytes.Equal(have, want) {
		return w.failed(fmt.Errorf("%w: row %d is crop %x, the embedding is of %x", errOtherCrop, w.row, want, have))
	}
	w.account(w.batch.plain.appendStored(&c.plain, k), false, why.plain)
	if c.mirror != nil {
		w.account(w.batch.mirror.appendStored(c.mirror, k), true, why.mirror)
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
func (w *EmbeddingWriter) begin() error {
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
	id, err := w.id(w.row)
	if err != nil {
		return err
	}
	w.batch.ids = append(w.batch.ids, id[:]...)
	return nil
}

func (w *EmbeddingWriter) failed(err error) error {
	return fmt.Errorf("write %s: %w", w.out.path, err)
}

// id is the id of the crop in a row.
func (w *EmbeddingWriter) id(row int) (ID, error) {
	b, k := w.crops.find(row)
	c, err := w.crops.columns[b]()
	if err != nil {
		return ID{}, err
	}
	return c.idAt(k), nil
}

// add appends one embedding to a column.
func (w *EmbeddingWriter) add(to *vectorColumn, embedding []float32, mirror bool) verdict.Fault {
	v := to.append(embedding)
	w.account(v.Norm, mirror, v.Reason)
	return v.Fault
}

// account keeps the manifest's account of an embedding of the row, whose norm is 0 if it
// is invalid.
func (w *EmbeddingWriter) account(norm float32, mirror bool, reason string) {
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

func (w *EmbeddingWriter) flush() error {
	if w.batch.rows() == 0 {
		return nil
	}
	rec := w.batch.record(w.out.schema)
	defer rec.Release()
	if err := w.out.write(rec, 0); err != nil {
		return err
	}
	w.batch.reset(&w.info)
	return nil
}

// Commit makes the shard durable: its file, then its manifest. Every row must have
// been appended. On failure nothing of it remains.
func (w *EmbeddingWriter) Commit() error {
	if w.done {
		return w.failed(errors.New("already committed or aborted"))
	}
	if err := w.commit(); err != nil {
		return errors.Join(err, w.Abort())
	}
	w.done = true
	return w.crops.Close()
}

func (w *EmbeddingWriter) commit() error {
	if w.row != w.manifest.Rows {
		return w.failed(fmt.Errorf("%d of %d rows were embedded", w.row, w.manifest.Rows))
	}
	if err := w.flush(); err != nil {
		return err
	}
	var err error
	if w.manifest.File, err = w.out.seal(); err != nil {
		return w.explain(err)
	}
	sum, err := w.manifest.contentDigest()
	if err != nil {
		return w.failed(err)
	}
	w.manifest.Digest = hex.EncodeToString(sum[:])
	data, err := encodeSealed(&w.manifest)
	if err != nil {
		return w.failed(err)
	}
	return w.place.publish(w.manifest.Shard, w.out, data)
}

// explain tells a file that was taken away from a disk that fails.
func (w *EmbeddingWriter) explain(err error) error {
	if _, gone := os.Stat(w.out.out.TempName()); errors.Is(gone, os.ErrNotExist) {
		return w.failed(fmt.Errorf("somebody has deleted the unfinished file, as a merge does that has all it wants; run the same command again: %w", gone))
	}
	return err
}

// Abort throws the shard away. After Commit or Abort it does nothing.
func (w *EmbeddingWriter) Abort() error {
	if w.done {
		return nil
	}
	w.done = true
	return errors.Join(w.out.abort(), w.crops.Close())
}

// embeddingBatch is a record batch that is being filled.
type embeddingBatch struct {
	maxRows int
	ids     []byte
	plain   vectorColumn
	mirror  vectorColumn
}

// reset begins a new batch in fresh memory: Arrow may still hold the old.
func (b *embeddingBatch) reset(info *TeacherInfo) {
	rowBytes := len(ID{}) + 2*(4+info.vectorBytes())
	b.maxRows = min(maxBatchRows, max(1, maxBatchBytes/rowBytes))
	b.ids = nil
	b.plain = vectorColumn{dtype: info.DType}
	b.mirror = vectorColumn{dtype: info.DType}
}

func (b *embeddingBatch) rows() int { return len(b.plain.norms) }

func (b *embeddingBatch) full() bool { return b.rows() == b.maxRows }

// record is the batch as an Arrow record batch of that schema, without a copy.
func (b *embeddingBatch) record(schema *arrow.Schema) arrow.RecordBatch {
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
func (v *vectorColumn) appendStored(from *vectors, k int) (norm float32) {
	lo, hi := k*from.dim, (k+1)*from.dim
	if from.half != nil {
		v.half = append(v.half, from.half[lo:hi]...)
	} else {
		v.full = append(v.full, from.full[lo:hi]...)
	}
	v.norms = append(v.norms, from.norms[k])
	return from.norms[k]
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
