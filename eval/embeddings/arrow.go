package embeddings

import (
	"errors"
	"fmt"
	"math"
	"os"
	"slices"
	"strings"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/ipc"
	"github.com/apache/arrow-go/v18/arrow/memory"
)

// Limits of what a file may claim: of its metadata, and how many times its own size it may have when it
// is decompressed.
const (
	maxMetaBytes = 64 << 20
	maxRatio     = 256
)

// tooDense is what is wrong with a file that stands for more.
var tooDense = fmt.Sprintf("it claims to be more than %d times as long when it is decompressed: write it without compression", maxRatio)

// unpackedLimit is how many bytes a file of a size may stand for.
func unpackedLimit(size int64) int64 { return maxRatio * min(size, math.MaxInt64/maxRatio) }

// bounded allocates no more in all than a file of its size can stand for.
type bounded struct {
	memory.Allocator
	left int64
}

// Allocate panics beyond the limit, which readArrow turns into an error.
func (b *bounded) Allocate(size int) []byte {
	b.take(size)
	return b.Allocator.Allocate(size)
}

// Reallocate panics beyond the limit.
func (b *bounded) Reallocate(size int, old []byte) []byte {
	b.take(size)
	return b.Allocator.Reallocate(size, old)
}

func (b *bounded) take(size int) {
	if b.left -= int64(size); b.left < 0 {
		panic(tooDense)
	}
}

// readArrow reads the record batches of an Arrow file. The library trusts what it parses, and
// panics.
func (t *Table) readArrow(file *os.File, size int64) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("%w: parse Arrow data: %v", ErrFormat, r)
		}
	}()
	if err := checkClaims(file, size); err != nil {
		return fmt.Errorf("%w: %w", ErrFormat, err)
	}
	limits := []ipc.Option{
		ipc.WithBodySizeLimit(size), ipc.WithMetadataSizeLimit(maxMetaBytes),
		ipc.WithAllocator(&bounded{memory.DefaultAllocator, unpackedLimit(size)}),
	}
	r, err := ipc.NewFileReader(file, limits...)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrFormat, err)
	}
	defer r.Close()
	for i := range r.NumRecords() {
		batch, err := r.RecordBatchAt(i)
		if err == nil {
			err = t.addBatch(batch)
			batch.Release()
		}
		if err != nil {
			return fmt.Errorf("%w: record batch %d: %w", ErrFormat, i, err)
		}
	}
	return nil
}

// addBatch takes the rows of a record batch.
func (t *Table) addBatch(batch arrow.RecordBatch) error {
	for i := range int(batch.NumCols()) {
		if v, ok := batch.Column(i).(interface{ ValidateFull() error }); ok {
			if err := v.ValidateFull(); err != nil {
				return fmt.Errorf("column %s: %w", batch.ColumnName(i), err)
			}
		}
	}
	vectors := slices.DeleteFunc(columnsOf(batch), func(i int) bool { _, ok := batch.Column(i).(array.ListLike); return !ok })
	if len(vectors) > 1 {
		vectors = slices.DeleteFunc(vectors, func(i int) bool { return batch.ColumnName(i) != "embedding" })
	}
	if len(vectors) != 1 {
		return errors.New("want one column of lists of numbers, named embedding if there are others")
	}
	if err := t.addLists(batch.Column(vectors[0]).(array.ListLike)); err != nil {
		return fmt.Errorf("column %s: %w", batch.ColumnName(vectors[0]), err)
	}
	t.Keys = appendTexts(t.Keys, batch, keyNames, true)
	t.Identities = appendTexts(t.Identities, batch, identityNames, false)
	return nil
}

func columnsOf(batch arrow.RecordBatch) []int {
	all := make([]int, batch.NumCols())
	for i := range all {
		all[i] = i
	}
	return all
}

// addLists takes the embeddings of a column.
func (t *Table) addLists(lists array.ListLike) error {
	var at func(i int) float32
	switch values := lists.ListValues().(type) {
	case *array.Float32:
		at = values.Value
	case *array.Float64:
		at = func(i int) float32 { return float32(values.Value(i)) }
	case *array.Float16:
		at = func(i int) float32 { return values.Value(i).Float32() }
	default:
		return fmt.Errorf("lists of %s, want float16, float32 or float64", lists.ListValues().DataType())
	}
	for i := range lists.Len() {
		if lists.IsNull(i) {
			return fmt.Errorf("row %d has no embedding", t.Len())
		}
		from, end := lists.ValueOffsets(i)
		if t.dim == 0 {
			t.dim = int(end - from)
		}
		if int(end-from) != t.dim || t.dim == 0 {
			return fmt.Errorf("row %d has %d numbers, the first %d", t.Len(), end-from, t.dim)
		}
		for k := from; k < end; k++ {
			t.values = append(t.values, at(int(k)))
		}
	}
	return nil
}

// appendTexts adds the column that has one of the names; if there is none and only is set, the
// only column of text that names no identities.
func appendTexts(texts []string, batch arrow.RecordBatch, names []string, only bool) []string {
	columns := slices.DeleteFunc(columnsOf(batch), func(i int) bool {
		_, ok := batch.Column(i).(array.StringLike)
		return !ok || only && slices.Contains(identityNames, strings.ToLower(batch.ColumnName(i)))
	})
	named := slices.IndexFunc(columns, func(i int) bool { return slices.Contains(names, strings.ToLower(batch.ColumnName(i))) })
	if named < 0 && !(only && len(columns) == 1) {
		return texts
	}
	column := batch.Column(columns[max(named, 0)]).(array.StringLike)
	for i := range column.Len() {
		if column.IsNull(i) {
			texts = append(texts, "")
			continue
		}
		texts = append(texts, strings.Clone(column.Value(i)))
	}
	return texts
}
