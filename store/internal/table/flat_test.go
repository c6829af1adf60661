package table

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/ipc"
	"github.com/apache/arrow-go/v18/arrow/memory"

	"facepipe/internal/alloctest"
)

// everyType is a table with a column of every type that tables of a dataset have.
var everyType = arrow.NewSchema([]arrow.Field{
	Required(ColumnID, &arrow.FixedSizeBinaryType{ByteWidth: 16}),
	Required("number", arrow.PrimitiveTypes.Int32),
	Required("name", arrow.BinaryTypes.String),
	FloatList("points", 3),
	Required("half", arrow.FixedSizeListOfNonNullable(2, arrow.FixedWidthTypes.Float16)),
	Required("rows", arrow.ListOfNonNullable(arrow.PrimitiveTypes.Int32)),
	Required("image", arrow.BinaryTypes.Binary),
}, nil)

const everyTypeRows = 5

// everyColumn is a batch of everyType.
func everyColumn(t testing.TB, schema *arrow.Schema) arrow.RecordBatch {
	t.Helper()
	rows := make([]string, everyTypeRows)
	for i := range rows {
		points := "null"
		if i != 2 {
			points = fmt.Sprintf("[%d,0.5,1]", i)
		}
		rows[i] = fmt.Sprintf(`{"id":"AAECAwQFBgcICQoLDA0ODw==","number":%d,"name":"name %d","points":%s,"half":[1,%d],"rows":[%d,7],"image":"AAEC"}`,
			i, i, points, i, i)
	}
	rec, _, err := array.RecordFromJSON(memory.DefaultAllocator, schema, strings.NewReader("["+strings.Join(rows, ",")+"]"))
	if err != nil {
		t.Fatal(err)
	}
	return rec
}

// crafted is a table of two batches as Arrow's library writes it, and a manifest's word for it.
func crafted(t testing.TB, rec arrow.RecordBatch, options ...ipc.Option) ([]byte, *FileInfo) {
	t.Helper()
	var out bytes.Buffer
	w, err := ipc.NewFileWriter(&out, append(options, ipc.WithSchema(rec.Schema()))...)
	if err != nil {
		t.Fatal(err)
	}
	var of Writer[arrow.RecordBatch]
	for range 2 {
		if err := w.Write(rec); err != nil {
			t.Fatal(err)
		}
		of.batches = append(of.batches, batchInfo{Offset: int64(out.Len()), Rows: int(rec.NumRows())})
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	info := &FileInfo{Bytes: int64(out.Len()), SHA256: strings.Repeat("00", 32)}
	if err := of.layOut(info, out.Bytes()); err != nil {
		t.Fatal(err)
	}
	return out.Bytes(), info
}

// reading reads all of a table in memory, whose checksums are made to fit.
func reading(data []byte, of *FileInfo, schema *arrow.Schema) error {
	info := *of
	info.Frame = checksumOf(info.frame(data))
	f := File[arrow.RecordBatch]{Path: "crafted", Data: data, Info: &info}
	if err := f.readFooter(schema); err != nil {
		return err
	}
	for i := range info.Batch {
		info.Batch[i].Columns = checksumOf(info.Batch[i].columns(data))
		rec, err := f.loadBatch(i, func(rec arrow.RecordBatch) (arrow.RecordBatch, error) { return rec, nil })
		if err != nil {
			return err
		}
		for _, column := range rec.Columns() {
			for row := range column.Len() {
				_ = column.ValueStr(row)
			}
		}
	}
	return nil
}

// Whatever byte of the schema, the messages and the footer is another one, and every checksum that
// of what there is: reading neither crashes nor allocates much.
func TestCraftedMetadata(t *testing.T) {
	data, info := crafted(t, everyColumn(t, everyType))
	if err := reading(data, info, everyType); err != nil {
		t.Fatal(err)
	}
	refused, tried := 0, 0
	at := func(offset int) {
		was := data[offset]
		for _, is := range []byte{was + 1, was - 1, was ^ 0x80, 0x7f, 0xff, 0} {
			data[offset] = is
			tried++
			alloctest.AtMost(t, 64*len(data)+128<<10, func() {
				if reading(data, info, everyType) != nil {
					refused++
				}
			})
		}
		data[offset] = was
		if t.Failed() {
			t.Fatalf("at %d of %d", offset, len(data))
		}
	}
	head, tail := info.frame(data)
	for offset := range head {
		at(offset)
	}
	for offset := range tail {
		at(len(data) - len(tail) + offset)
	}
	for _, b := range info.Batch {
		for offset := range 8 + int64(binary.LittleEndian.Uint32(data[b.Offset+4:])) {
			at(int(b.Offset + offset))
		}
	}
	if refused < tried/4 {
		t.Errorf("%d of %d changes were refused", refused, tried)
	}
	if err := reading(data, info, everyType); err != nil {
		t.Fatal(err)
	}
}

// What the program never writes is refused by its name.
func TestCraftedFiles(t *testing.T) {
	dictionary := arrow.NewSchema([]arrow.Field{Required("name", &arrow.DictionaryType{
		IndexType: arrow.PrimitiveTypes.Int32, ValueType: arrow.BinaryTypes.String})}, nil)
	words, _, err := array.RecordFromJSON(memory.DefaultAllocator, dictionary, strings.NewReader(`[{"name":"a"},{"name":"b"}]`))
	if err != nil {
		t.Fatal(err)
	}
	plain := everyColumn(t, everyType)
	metadata := map[string]string{}
	for i := range maxMetadata + 1 {
		metadata[fmt.Sprint(i)] = ""
	}
	many := arrow.MetadataFrom(metadata)
	fewer := arrow.NewSchema(everyType.Fields()[:6], nil)
	for name, tc := range map[string]struct {
		rec     arrow.RecordBatch
		want    *arrow.Schema
		options []ipc.Option
		words   string
	}{
		"as it is":        {plain, everyType, nil, ""},
		"compressed":      {plain, everyType, []ipc.Option{ipc.WithZstd()}, "compressed"},
		"a dictionary":    {words, arrow.NewSchema([]arrow.Field{Required("name", arrow.BinaryTypes.String)}, nil), nil, "has a dictionary"},
		"another type":    {words, dictionary, nil, "no type"},
		"a column more":   {plain, fewer, nil, "has 7 columns, want 6"},
		"another name":    {plain, renamed("number", "count"), nil, `is called "number"`},
		"another type of": {plain, retyped("number", arrow.BinaryTypes.String), nil, "has type number 2"},
		"much metadata":   {array.NewRecordBatch(arrow.NewSchema(everyType.Fields(), &many), plain.Columns(), everyTypeRows), everyType, nil, "entries of metadata"},
	} {
		data, info := crafted(t, tc.rec, tc.options...)
		err := reading(data, info, tc.want)
		if tc.words == "" && err != nil || tc.words != "" && (err == nil || !strings.Contains(err.Error(), tc.words)) {
			t.Errorf("%s: %v, want %q", name, err, tc.words)
		}
	}
}

// renamed and retyped are everyType with another column.
func renamed(name, as string) *arrow.Schema {
	return changed(name, func(f *arrow.Field) { f.Name = as })
}

func retyped(name string, as arrow.DataType) *arrow.Schema {
	return changed(name, func(f *arrow.Field) { f.Type = as })
}

func changed(name string, change func(*arrow.Field)) *arrow.Schema {
	fields := everyType.Fields()
	for i := range fields {
		if fields[i].Name == name {
			change(&fields[i])
		}
	}
	return arrow.NewSchema(fields, nil)
}

// A batch whose buffers are shorter than its rows, or not in its body, is refused before it is read.
func TestCraftedBuffers(t *testing.T) {
	data, info := crafted(t, everyColumn(t, everyType))
	batch := data[info.Batch[0].Offset:][:info.Batch[0].Bytes]
	header, _, err := flatMessage(batch, messageBatch)
	if err != nil {
		t.Fatal(err)
	}
	for member, what := range map[int]string{1: "rows", 2: "buffer"} {
		list, err := header.Structs(member, 16)
		if err != nil {
			t.Fatal(err)
		}
		for at := 0; at < len(list); at += 8 {
			was := binary.LittleEndian.Uint64(list[at:])
			for _, is := range []uint64{1 << 20, 1 << 40, 1 << 63, ^uint64(0)} {
				binary.LittleEndian.PutUint64(list[at:], is)
				if err := checkBatch(batch, everyType, everyTypeRows); err == nil || !strings.Contains(err.Error(), what) {
					t.Errorf("number %d of member %d is %d: %v, want something about %q", at/8, member, int64(is), err, what)
				}
			}
			binary.LittleEndian.PutUint64(list[at:], was)
		}
	}
	if err := errors.Join(checkBatch(batch, everyType, everyTypeRows), reading(data, info, everyType)); err != nil {
		t.Fatal(err)
	}
	if err := checkBatch(batch, everyType, everyTypeRows+1); err == nil {
		t.Error("a row is missing")
	}
}
