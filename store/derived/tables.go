package derived

import (
	"strconv"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"

	"facepipe/store/internal/table"
)

// metaCache is the key of a schema's metadata that says what the table is made of.
const metaCache = "facepipe.cache"

// tableSchema is that of a table of a kind, whose teacher has the fingerprint and which is made
// of what the digest source is of.
func tableSchema(format, fingerprint, source string, fields ...arrow.Field) *arrow.Schema {
	meta := arrow.NewMetadata(
		[]string{table.MetaFormat, table.MetaVersion, table.MetaFingerprint, metaCache},
		[]string{format, strconv.Itoa(table.NewestVersion(format)), fingerprint, source})
	return arrow.NewSchema(fields, &meta)
}

// tableWriter fills a table row by row: the fields of build, then done. End it with seal and
// then the commit of out, or with its abort.
type tableWriter[C any] struct {
	out     *table.Writer[C]
	build   *array.RecordBuilder
	maxRows int
	rows    int // in build
}

func newTableWriter[C any](f folder, path string, schema *arrow.Schema, maxRows int, parse table.ParseColumns[C]) (*tableWriter[C], error) {
	out, err := table.Create(f.disk, path, schema, parse)
	if err != nil {
		return nil, err
	}
	return &tableWriter[C]{out: out, build: array.NewRecordBuilder(memory.DefaultAllocator, schema), maxRows: maxRows}, nil
}

// done ends a row.
func (w *tableWriter[C]) done() error {
	w.rows++
	if w.rows < w.maxRows {
		return nil
	}
	return w.flush()
}

func (w *tableWriter[C]) flush() error {
	if w.rows == 0 {
		return nil
	}
	w.rows = 0
	rec := w.build.NewRecordBatch()
	defer rec.Release()
	return w.out.WriteBatch(rec, 0)
}

// seal completes the file and reads it back.
func (w *tableWriter[C]) seal() (*table.FileInfo, error) {
	if err := w.flush(); err != nil {
		return nil, err
	}
	return w.out.Seal()
}

func (w *tableWriter[C]) number(column int, v float32) {
	w.build.Field(column).(*array.Float32Builder).Append(v)
}

// vector sets a column of vectors.
func (w *tableWriter[C]) vector(column int, v []float32) {
	list := w.build.Field(column).(*array.FixedSizeListBuilder)
	list.Append(true)
	list.ValueBuilder().(*array.Float32Builder).AppendValues(v, nil)
}

// vectorRows is how many rows with a vector make a batch.
func vectorRows(dim int) int { return min(table.MaxBatchRows, max(1, table.MaxBatchBytes/(4*dim+64))) }

// numbers sets a column of lists.
func (w *tableWriter[C]) numbers(column int, v []float32) {
	list := w.build.Field(column).(*array.ListBuilder)
	list.Append(true)
	list.ValueBuilder().(*array.Float32Builder).AppendValues(v, nil)
}

// integers sets a column of lists.
func (w *tableWriter[C]) integers(column int, v []int32) {
	list := w.build.Field(column).(*array.ListBuilder)
	list.Append(true)
	list.ValueBuilder().(*array.Int32Builder).AppendValues(v, nil)
}
