package derived

import (
	"strconv"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"

	"facepipe/store"
	"facepipe/store/cache"
	"facepipe/store/internal/table"
)

// qualityBatchRows are the rows of a batch of the quality table, which has few bytes a
// row.
const qualityBatchRows = 1 << 13

// tableSchema is a schema of a table beside a teacher's shards.
func tableSchema(format, fingerprint, cache string, fields ...arrow.Field) *arrow.Schema {
	meta := arrow.NewMetadata(
		[]string{table.MetaFormat, table.MetaVersion, table.MetaFingerprint, metaCache},
		[]string{format, strconv.Itoa(table.NewestVersion(format)), fingerprint, cache})
	return arrow.NewSchema(fields, &meta)
}

// centreSchema is that of the table of centres: row l is the identity of label l.
func centreSchema(t cache.Info, cache string) *arrow.Schema {
	return tableSchema(table.FormatCentres, t.Fingerprint, cache,
		table.Required("identity", arrow.BinaryTypes.String),
		table.Required("count", arrow.PrimitiveTypes.Int32),
		table.Required("spread", arrow.PrimitiveTypes.Float32),
		table.Required("centre", arrow.FixedSizeListOfNonNullable(int32(t.Dim), arrow.PrimitiveTypes.Float32)))
}

// qualitySchema is that of the table of crops: row i is the crop of global row i.
func qualitySchema(t cache.Info, cache string) *arrow.Schema {
	fields := []arrow.Field{
		table.Required(table.ColumnID, &arrow.FixedSizeBinaryType{ByteWidth: len(store.ID{})}),
		table.Required(table.ColumnNorm, arrow.PrimitiveTypes.Float32),
		table.Required("cosine", arrow.PrimitiveTypes.Float32),
	}
	if t.Flip {
		fields = append(fields,
			table.Required(table.ColumnNormMirror, arrow.PrimitiveTypes.Float32),
			table.Required("cosine_mirror", arrow.PrimitiveTypes.Float32))
	}
	return tableSchema(table.FormatCentres, t.Fingerprint, cache, fields...)
}

// centreColumns are a batch of centres.
type centreColumns struct {
	identity *array.String
	count    *array.Int32
	spread   *array.Float32
	centres  table.Vectors
}

func parseCentreColumns(rec arrow.RecordBatch) (c centreColumns, err error) {
	c = centreColumns{
		identity: rec.Column(0).(*array.String),
		count:    rec.Column(1).(*array.Int32),
		spread:   rec.Column(2).(*array.Float32),
	}
	n := int(rec.NumRows())
	_, _ = c.count.Value(n-1), c.spread.Value(n-1) // a column too short would be missed later
	c.centres, err = table.ParseMatrix(rec.Column(3))
	return c, err
}

// qualityColumns are a batch of crops' qualities; the second of each for mirror images,
// nil without.
type qualityColumns struct {
	id      *array.FixedSizeBinary
	norms   [2]*array.Float32
	cosines [2]*array.Float32
}

func parseQualityColumns(rec arrow.RecordBatch) (c qualityColumns, err error) {
	c.id = rec.Column(0).(*array.FixedSizeBinary)
	last := int(rec.NumRows()) - 1
	_ = c.id.Value(last)
	for i := 0; 2*i+2 < int(rec.NumCols()); i++ {
		c.norms[i] = rec.Column(2*i + 1).(*array.Float32)
		c.cosines[i] = rec.Column(2*i + 2).(*array.Float32)
		_, _ = c.norms[i].Value(last), c.cosines[i].Value(last)
	}
	return c, nil
}

// tableWriter fills a table row by row: fields of build for the row, then done. End it
// with seal and commit of out, or abort.
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

// Seal completes the file and reads it back.
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

const metaCache = "facepipe.cache"
