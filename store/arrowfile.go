package store

import (
	"errors"
	"fmt"
	"os"
	"sort"
	"sync"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/ipc"
	"golang.org/x/sys/unix"
)

// Limits of a record batch. Writers keep to the first two; readers refuse what
// exceeds the others, whatever the library's defaults are.
const (
	maxBatchRows  = 512
	maxBatchBytes = 32 << 20
	maxBodyBytes  = maxBatchBytes + 2*maxImageBytes
	maxMetaBytes  = 1 << 20
)

// arrowFile is a mapped Arrow IPC file whose batches are verified, validated and
// turned into columns of type C the first time they are looked at. Nothing that
// Arrow parses was not compared with its checksum before. Safe for concurrent use
// until it is closed.
type arrowFile[C any] struct {
	path   string
	data   []byte
	info   *fileInfo
	reader *ipc.FileReader
	starts []int // first row of each batch
	// columns and payloads of batch i, loaded once.
	columns  []func() (*C, error)
	payloads []func() error
}

// parseColumns picks the columns out of a record batch that has the right schema,
// no nulls where none may be, and offsets in range.
type parseColumns[C any] func(arrow.RecordBatch) (C, error)

// openArrow maps the file at path, verifies its frame and reads its footer. Errors
// name the file.
func openArrow[C any](path string, info *fileInfo, schema *arrow.Schema, parse parseColumns[C]) (*arrowFile[C], error) {
	data, err := mapFile(path, info.Bytes)
	if err != nil {
		return nil, err
	}
	f := &arrowFile[C]{path: path, data: data, info: info}
	if err := f.readFooter(schema); err != nil {
		return nil, errors.Join(asDamage(path, err), f.close())
	}
	row := 0
	for i, b := range info.Batch {
		f.starts = append(f.starts, row)
		row += b.Rows
		f.columns = append(f.columns, sync.OnceValues(func() (*C, error) {
			c, err := f.loadBatch(i, parse)
			return &c, asDamage(path, err)
		}))
		f.payloads = append(f.payloads, sync.OnceValue(func() error {
			if err := b.Payload.verify(b.payload(data)); err != nil {
				return damaged(path, "record batch %d: %w", i, err)
			}
			return nil
		}))
	}
	return f, nil
}

func (f *arrowFile[C]) close() error {
	data := f.data
	f.data = nil
	return unmapFile(f.path, data)
}

func (f *arrowFile[C]) readFooter(schema *arrow.Schema) (err error) {
	head, tail := f.info.frame(f.data)
	if err := f.info.Frame.verify(head, tail); err != nil {
		return fmt.Errorf("frame: %w", err)
	}
	defer recoverParse(&err)
	f.reader, err = ipc.NewMappedFileReader(f.data,
		ipc.WithBodySizeLimit(maxBodyBytes), ipc.WithMetadataSizeLimit(maxMetaBytes),
		// A big-endian file would be byte-swapped in place, in a read-only mapping.
		ipc.WithEnsureNativeEndian(false))
	if err != nil {
		return err
	}
	if n := f.reader.NumRecords(); n != len(f.info.Batch) {
		return fmt.Errorf("has %d record batches, its manifest lists %d", n, len(f.info.Batch))
	}
	return matchSchema(f.reader.Schema(), schema)
}

// loadBatch verifies and parses batch i.
func (f *arrowFile[C]) loadBatch(i int, parse parseColumns[C]) (c C, err error) {
	b := f.info.Batch[i]
	defer func() {
		if err != nil {
			err = fmt.Errorf("record batch %d: %w", i, err)
		}
	}()
	if err := b.Columns.verify(b.columns(f.data)); err != nil {
		return c, err
	}
	defer recoverParse(&err)
	rec, err := f.reader.RecordBatchAt(i)
	if err != nil {
		return c, err
	}
	if rec.NumRows() != int64(b.Rows) {
		return c, fmt.Errorf("has %d rows, its manifest says %d", rec.NumRows(), b.Rows)
	}
	if err := validateBatch(rec); err != nil {
		return c, err
	}
	return parse(rec)
}

// recoverParse turns a panic of the Arrow library, which trusts what it parses, into
// an error.
func recoverParse(err *error) {
	if r := recover(); r != nil {
		*err = fmt.Errorf("parse Arrow data: %v", r)
	}
}

// validateBatch checks what the accessors of the columns rely on.
func validateBatch(rec arrow.RecordBatch) error {
	for i, field := range rec.Schema().Fields() {
		col := rec.Column(i)
		if int64(col.Len()) != rec.NumRows() {
			return fmt.Errorf("column %s has %d rows of %d", field.Name, col.Len(), rec.NumRows())
		}
		if !field.Nullable && col.NullN() != 0 {
			return fmt.Errorf("column %s has nulls", field.Name)
		}
		if v, ok := col.(interface{ ValidateFull() error }); ok {
			if err := v.ValidateFull(); err != nil {
				return fmt.Errorf("column %s: %w", field.Name, err)
			}
		}
	}
	return nil
}

// find is the batch of a row and the row's number in it. A row out of range is a
// mistake of the caller and panics.
func (f *arrowFile[C]) find(row int) (batch, at int) {
	last := len(f.starts) - 1
	if row < 0 || row >= f.starts[last]+f.info.Batch[last].Rows {
		panic(fmt.Sprintf("store: row %d is not in %s", row, f.path))
	}
	batch = sort.SearchInts(f.starts, row+1) - 1
	return batch, row - f.starts[batch]
}

// prefetch asks the system to read the batches that hold n rows, from row on.
func (f *arrowFile[C]) prefetch(row, n int) {
	if n < 1 {
		return
	}
	first, _ := f.find(row)
	last, _ := f.find(row + n - 1)
	page := int64(os.Getpagesize())
	from := f.info.Batch[first].Offset / page * page
	end := f.info.Batch[last].Offset + f.info.Batch[last].Bytes
	// Advice that is not taken costs time later and nothing else.
	_ = unix.Madvise(f.data[from:end], unix.MADV_WILLNEED)
}

// verifyAll loads every batch, payloads too.
func (f *arrowFile[C]) verifyAll() error {
	for i := range f.columns {
		if _, err := f.columns[i](); err != nil {
			return err
		}
		if err := f.payloads[i](); err != nil {
			return err
		}
	}
	return nil
}
