package embeddings

import (
	"bufio"
	"encoding/binary"
	"encoding/csv"
	"errors"
	"fmt"
	"math"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/ipc"
	"github.com/apache/arrow-go/v18/arrow/memory"

	"facepipe/internal/durable"
	"facepipe/internal/npy"
)

// Endings are those of the files that [Create] writes.
var Endings = []string{".npy", ".csv", ".tsv", ".arrow"}

// Writer writes a file of embeddings, row by row, in memory that does not grow with it. The file
// has its name when Close returns without an error; until then, and without that, there is none.
type Writer struct {
	form   form
	keys   string
	files  []*durable.Writer // the table's comes last
	rows   int
	wanted int
}

// form writes rows in a format.
type form interface {
	add(key, identity string, e []float32) error
	end() error
}

// Create begins a file of so many rows, of dim float32 each, in the format of its ending. An .npy
// has its keys in [KeysFile] beside it; the others have them in a column, and one of identities,
// "" for nobody known.
func Create(path string, rows, dim int) (*Writer, error) {
	w := &Writer{wanted: rows}
	var err error
	switch ending := strings.ToLower(filepath.Ext(path)); ending {
	case ".npy":
		w.form, err = w.newMatrix(path, rows, dim)
	case ".csv", ".tsv":
		w.form, err = w.newLines(path, ending == ".tsv", dim)
	case ".arrow":
		w.form, err = w.newArrow(path, dim)
	default:
		err = fmt.Errorf("its ending %q is none of %s", ending, strings.Join(Endings, ", "))
	}
	if err != nil {
		w.Abort()
		return nil, fmt.Errorf("write embeddings %s: %w", path, err)
	}
	return w, nil
}

func (w *Writer) create(path string) (*durable.Writer, error) {
	f, err := durable.Stage(path)
	if err == nil {
		w.files = append(w.files, f)
	}
	return f, err
}

// Keys is the file of keys beside the table, "" if the table has them itself.
func (w *Writer) Keys() string { return w.keys }

// Add writes a row.
func (w *Writer) Add(key, identity string, e []float32) error {
	w.rows++
	return w.form.add(key, identity, e)
}

// Close gives the files their names, the table's last.
func (w *Writer) Close() error {
	defer w.Abort()
	if w.rows != w.wanted {
		return fmt.Errorf("write embeddings: %d rows of %d", w.rows, w.wanted)
	}
	if err := w.form.end(); err != nil {
		return err
	}
	for _, f := range w.files {
		if err := f.Commit(); err != nil {
			return err
		}
	}
	return nil
}

// Abort leaves nothing behind. After Close it does nothing.
func (w *Writer) Abort() {
	for _, f := range w.files {
		f.Abort()
	}
}

// matrix is an .npy file with a file of keys.
type matrix struct {
	keys, values *bufio.Writer
	line         []byte
}

func (w *Writer) newMatrix(path string, rows, dim int) (form, error) {
	w.keys = KeysFile(path)
	keys, err := w.create(w.keys)
	if err != nil {
		return nil, err
	}
	values, err := w.create(path)
	if err != nil {
		return nil, err
	}
	m := &matrix{keys: bufio.NewWriter(keys), values: bufio.NewWriterSize(values, 1<<20)}
	_, err = m.values.Write(npy.AppendHeader(nil, npy.Float32, rows, dim))
	return m, err
}

func (m *matrix) add(key, _ string, e []float32) error {
	m.line = m.line[:0]
	for _, v := range e {
		m.line = binary.LittleEndian.AppendUint32(m.line, math.Float32bits(v))
	}
	_, err := m.values.Write(m.line)
	_, errKey := m.keys.Write(npy.AppendKey(nil, key))
	return errors.Join(err, errKey)
}

func (m *matrix) end() error { return errors.Join(m.keys.Flush(), m.values.Flush()) }

// textLines is a table with the columns key, identity, e0, e1 ...
type textLines struct {
	out *csv.Writer
	row []string
}

func (w *Writer) newLines(path string, tabs bool, dim int) (form, error) {
	f, err := w.create(path)
	if err != nil {
		return nil, err
	}
	l := &textLines{out: csv.NewWriter(f), row: make([]string, 2+dim)}
	if tabs {
		l.out.Comma = '\t'
	}
	l.row[0], l.row[1] = "key", "identity"
	for i := range dim {
		l.row[2+i] = "e" + strconv.Itoa(i)
	}
	return l, l.out.Write(l.row)
}

func (l *textLines) add(key, identity string, e []float32) error {
	if strings.ContainsAny(key+identity, "\r\n") {
		return fmt.Errorf("key %q has a line break, which a table of lines cannot hold: write .npy or .arrow", key)
	}
	l.row[0], l.row[1] = key, identity
	for i, v := range e {
		l.row[2+i] = strconv.FormatFloat(float64(v), 'g', -1, 32)
	}
	return l.out.Write(l.row)
}

func (l *textLines) end() error {
	l.out.Flush()
	return l.out.Error()
}

// arrowRows is the number of rows of a record batch.
const arrowRows = 4096

// arrowTable is an Arrow file with the columns key, identity and embedding.
type arrowTable struct {
	out   *ipc.FileWriter
	build *array.RecordBuilder
	rows  int
}

func (w *Writer) newArrow(path string, dim int) (form, error) {
	f, err := w.create(path)
	if err != nil {
		return nil, err
	}
	schema := arrow.NewSchema([]arrow.Field{
		{Name: "key", Type: arrow.BinaryTypes.String},
		{Name: "identity", Type: arrow.BinaryTypes.String},
		{Name: "embedding", Type: arrow.FixedSizeListOfNonNullable(int32(dim), arrow.PrimitiveTypes.Float32)},
	}, nil)
	a := &arrowTable{build: array.NewRecordBuilder(memory.DefaultAllocator, schema)}
	a.out, err = ipc.NewFileWriter(f, ipc.WithSchema(schema))
	return a, err
}

func (a *arrowTable) add(key, identity string, e []float32) error {
	a.build.Field(0).(*array.StringBuilder).Append(key)
	a.build.Field(1).(*array.StringBuilder).Append(identity)
	list := a.build.Field(2).(*array.FixedSizeListBuilder)
	list.Append(true)
	list.ValueBuilder().(*array.Float32Builder).AppendValues(e, nil)
	if a.rows++; a.rows%arrowRows == 0 {
		return a.flush()
	}
	return nil
}

func (a *arrowTable) flush() error {
	batch := a.build.NewRecordBatch()
	defer batch.Release()
	return a.out.Write(batch)
}

func (a *arrowTable) end() error {
	if a.rows%arrowRows > 0 {
		if err := a.flush(); err != nil {
			return err
		}
	}
	return a.out.Close()
}
