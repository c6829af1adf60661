package table

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
	MaxBatchRows  = 512
	MaxBatchBytes = 32 << 20
	// MaxImageBytes bounds one encoded crop. The largest crop size uncompressed is 3 MiB.
	MaxImageBytes = 16 << 20
	maxBodyBytes  = MaxBatchBytes + 2*MaxImageBytes
	maxMetaBytes  = 1 << 20
)

// File is a mapped Arrow IPC file whose batches are verified, validated and
// turned into columns of type C the first time they are looked at. Nothing that
// Arrow parses was not compared with its checksum before. Safe for concurrent use
// until it is closed.
type File[C any] struct {
	Path   string
	Data   []byte    // the mapping
	Info   *FileInfo // of the manifest
	reader *ipc.FileReader
	Starts []int // first row of each batch
	// Columns and payloads of batch i, loaded once.
	Columns  []func() (*C, error)
	Payloads []func() error
}

// ParseColumns picks the columns out of a record batch that has the right schema,
// no nulls where none may be, and offsets in range.
type ParseColumns[C any] func(arrow.RecordBatch) (C, error)

// Open maps the file at path, verifies its frame and reads its footer. Errors
// name the file.
func Open[C any](path string, info *FileInfo, schema *arrow.Schema, parse ParseColumns[C]) (*File[C], error) {
	data, err := mapFile(path, info.Bytes)
	if err != nil {
		return nil, err
	}
	f := &File[C]{Path: path, Data: data, Info: info}
	if err := f.readFooter(schema); err != nil {
		return nil, errors.Join(AsDamage(path, err), f.Close())
	}
	row := 0
	for i, b := range info.Batch {
		f.Starts = append(f.Starts, row)
		row += b.Rows
		f.Columns = append(f.Columns, sync.OnceValues(func() (*C, error) {
			c, err := f.loadBatch(i, parse)
			return &c, AsDamage(path, err)
		}))
		f.Payloads = append(f.Payloads, sync.OnceValue(func() error {
			if err := b.Payload.verify(b.payload(data)); err != nil {
				return Damaged(path, "record batch %d: %w", i, err)
			}
			return nil
		}))
	}
	return f, nil
}

// Close unmaps the file: nothing that points into it may be used after.
func (f *File[C]) Close() error {
	data := f.Data
	f.Data = nil
	return unmapFile(f.Path, data)
}

func (f *File[C]) readFooter(schema *arrow.Schema) (err error) {
	head, tail := f.Info.frame(f.Data)
	if err := f.Info.Frame.verify(head, tail); err != nil {
		return fmt.Errorf("frame: %w", err)
	}
	defer recoverParse(&err)
	if err := errors.Join(checkHead(head, schema), checkTail(tail, schema, f.Info.Batch)); err != nil {
		return err
	}
	f.reader, err = ipc.NewMappedFileReader(f.Data,
		ipc.WithBodySizeLimit(maxBodyBytes), ipc.WithMetadataSizeLimit(maxMetaBytes),
		// A big-endian file would be byte-swapped in place, in a read-only mapping.
		ipc.WithEnsureNativeEndian(false))
	if err != nil {
		return err
	}
	return matchSchema(f.reader.Schema(), schema)
}

// loadBatch verifies and parses batch i.
func (f *File[C]) loadBatch(i int, parse ParseColumns[C]) (c C, err error) {
	b := f.Info.Batch[i]
	defer func() {
		if err != nil {
			err = fmt.Errorf("record batch %d: %w", i, err)
		}
	}()
	if err := b.Columns.verify(b.columns(f.Data)); err != nil {
		return c, err
	}
	defer recoverParse(&err)
	if err := checkBatch(f.Data[b.Offset:b.Offset+b.Bytes], f.reader.Schema(), b.Rows); err != nil {
		return c, err
	}
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

// Find is the batch of a row and the row's number in it. A row out of range is a
// mistake of the caller and panics.
func (f *File[C]) Find(row int) (batch, at int) {
	last := len(f.Starts) - 1
	if row < 0 || row >= f.Starts[last]+f.Info.Batch[last].Rows {
		panic(fmt.Sprintf("store: row %d is not in %s", row, f.Path))
	}
	batch = sort.SearchInts(f.Starts, row+1) - 1
	return batch, row - f.Starts[batch]
}

// Prefetch asks the system to read the batches that hold n rows, from row on.
func (f *File[C]) Prefetch(row, n int) {
	if n < 1 {
		return
	}
	first, _ := f.Find(row)
	last, _ := f.Find(row + n - 1)
	page := int64(os.Getpagesize())
	from := f.Info.Batch[first].Offset / page * page
	end := f.Info.Batch[last].Offset + f.Info.Batch[last].Bytes
	// Advice that is not taken costs time later and nothing else.
	_ = unix.Madvise(f.Data[from:end], unix.MADV_WILLNEED)
}

// verifyAll loads every batch, payloads too.
func (f *File[C]) verifyAll() error {
	for i := range f.Columns {
		if _, err := f.Columns[i](); err != nil {
			return err
		}
		if err := f.Payloads[i](); err != nil {
			return err
		}
	}
	return nil
}
