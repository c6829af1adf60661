package table

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/apache/arrow-go/v18/arrow"
	flatbuffers "github.com/google/flatbuffers/go"
)

// Beside its columns an Arrow file has a schema message, a message before each batch, and a
// footer. These are FlatBuffers, and Arrow's library believes them: where a vector says that it has
// 2^32 elements, it allocates so many. So each is compared here with what it must be before the
// library sees it. Nothing here allocates by what a file says, and what points out of its buffer
// panics, which [recoverParse] turns into an error.
//
// Numbers of members are those of Arrow's Schema.fbs, Message.fbs and File.fbs.

// flat is a table of a FlatBuffer.
type flat struct{ flatbuffers.Table }

func flatRoot(buf []byte) flat {
	return flat{flatbuffers.Table{Bytes: buf, Pos: flatbuffers.GetUOffsetT(buf)}}
}

// at is where a member of the table is; 0 if the table does not have it.
func (t flat) at(member int) flatbuffers.UOffsetT {
	if o := t.Offset(flatbuffers.VOffsetT(4 + 2*member)); o != 0 {
		return t.Pos + flatbuffers.UOffsetT(o)
	}
	return 0
}

// table is a member that is a table.
func (t flat) table(member int) (flat, error) {
	o := t.at(member)
	if o == 0 {
		return flat{}, fmt.Errorf("a FlatBuffer has no member %d", member)
	}
	return flat{flatbuffers.Table{Bytes: t.Bytes, Pos: t.Indirect(o)}}, nil
}

// byte is a member of one byte, 0 by default.
func (t flat) byte(member int) byte {
	if o := t.at(member); o != 0 {
		return t.GetByte(o)
	}
	return 0
}

// text are the bytes of a member that is a string.
func (t flat) text(member int) []byte {
	if o := t.at(member); o != 0 {
		return t.ByteVector(o)
	}
	return nil
}

// vector is where the elements of a member that is a vector begin, and how many there are, of some
// bytes each. All are in the buffer.
func (t flat) vector(member, size int) (start, n int, err error) {
	o := t.at(member)
	if o == 0 {
		return 0, 0, nil
	}
	start = int(o) + int(flatbuffers.GetUOffsetT(t.Bytes[o:]))
	n = int(flatbuffers.GetUOffsetT(t.Bytes[start:]))
	if start += flatbuffers.SizeUOffsetT; n > (len(t.Bytes)-start)/size {
		return 0, 0, fmt.Errorf("a vector in %d bytes has %d elements", len(t.Bytes), n)
	}
	return start, n, nil
}

// structs are the bytes of a member that is a vector of structs of some bytes.
func (t flat) structs(member, size int) ([]byte, error) {
	start, n, err := t.vector(member, size)
	return t.Bytes[start : start+n*size], err
}

// tables are the elements of a member that is a vector of tables.
func (t flat) tables(member int) (n int, element func(i int) flat, err error) {
	start, n, err := t.vector(member, flatbuffers.SizeUOffsetT)
	return n, func(i int) flat {
		at := flatbuffers.UOffsetT(start + i*flatbuffers.SizeUOffsetT)
		return flat{flatbuffers.Table{Bytes: t.Bytes, Pos: t.Indirect(at)}}
	}, err
}

// maxMetadata bounds the entries of a schema's or a message's metadata; this program writes a
// handful.
const maxMetadata = 64

// checkMetadata bounds the metadata that are a member of the table: entries may share their bytes.
func (t flat) checkMetadata(member int) error {
	n, entry, err := t.tables(member)
	if err != nil {
		return err
	}
	if n > maxMetadata {
		return fmt.Errorf("has %d entries of metadata, more than %d", n, maxMetadata)
	}
	size := 0
	for i := range n {
		size += len(entry(i).text(0)) + len(entry(i).text(1))
	}
	if size > len(t.Bytes) {
		return fmt.Errorf("has %d bytes of metadata in %d", size, len(t.Bytes))
	}
	return nil
}

// Kinds of message.
const (
	messageSchema = 1
	messageBatch  = 3
)

// flatMessage is the header of the message of a kind with which data begins, and its length with
// all that precedes its body.
func flatMessage(data []byte, kind byte) (header flat, size int, err error) {
	const prefix = 8 // 0xFFFFFFFF, and the length of what follows
	if len(data) < prefix || binary.LittleEndian.Uint32(data) != 0xffffffff {
		return flat{}, 0, errors.New("does not begin with a message")
	}
	n := int(binary.LittleEndian.Uint32(data[4:]))
	if n > len(data)-prefix || n > maxMetaBytes {
		return flat{}, 0, fmt.Errorf("begins with a message of %d bytes", n)
	}
	message := flatRoot(data[prefix : prefix+n : prefix+n])
	if got := message.byte(1); got != kind {
		return flat{}, 0, fmt.Errorf("begins with a message of kind %d, want %d", got, kind)
	}
	header, err = message.table(2)
	return header, prefix + n, errors.Join(err, message.checkMetadata(4))
}

// checkHead compares the beginning of a file, up to its first batch, with its schema.
func checkHead(head []byte, schema *arrow.Schema) error {
	if len(head) < len(fileStart) || !bytes.Equal(head[:len(fileStart)], fileStart) {
		return errors.New("is no Arrow file")
	}
	message, size, err := flatMessage(head[len(fileStart):], messageSchema)
	if err != nil {
		return err
	}
	if size != len(head)-len(fileStart) {
		return fmt.Errorf("schema message has %d bytes of %d", size, len(head)-len(fileStart))
	}
	return message.checkSchema(schema)
}

// fileStart and fileMagic begin and end a file.
var (
	fileStart = []byte("ARROW1\x00\x00")
	fileMagic = fileStart[:6]
)

// checkTail compares the end of a file, from its last batch on, with its schema and batches.
func checkTail(tail []byte, schema *arrow.Schema, batches []batchInfo) error {
	const length = 4
	end := len(tail) - len(fileMagic) - length
	if end < 0 || !bytes.Equal(tail[end+length:], fileMagic) {
		return errors.New("does not end as an Arrow file")
	}
	n := int(binary.LittleEndian.Uint32(tail[end:]))
	if n > end {
		return fmt.Errorf("footer of %d bytes has only %d", n, end)
	}
	footer := flatRoot(tail[end-n : end : end])
	of, err := footer.table(1)
	if err != nil {
		return err
	}
	return errors.Join(of.checkSchema(schema), footer.checkBlocks(batches))
}

// checkBlocks compares a footer's list of batches with a manifest's; there are no dictionaries.
func (t flat) checkBlocks(batches []batchInfo) error {
	const block = 24 // offset, 8 bytes; metadata's length, 4, and 4 of padding; body's length, 8
	if _, n, err := t.vector(2, block); err != nil || n > 0 {
		return errors.New("has dictionaries, which no table of a dataset has")
	}
	blocks, err := t.structs(3, block)
	if err != nil {
		return err
	}
	if n := len(blocks) / block; n != len(batches) {
		return fmt.Errorf("has %d record batches, its manifest lists %d", n, len(batches))
	}
	for i, b := range batches {
		at := blocks[i*block:]
		offset, body := int64(binary.LittleEndian.Uint64(at)), int64(binary.LittleEndian.Uint64(at[16:]))
		if meta := int64(binary.LittleEndian.Uint32(at[8:])); offset != b.Offset || body < 0 || body > b.Bytes || meta+body != b.Bytes {
			return fmt.Errorf("record batch %d is at %d and has %d and %d bytes, its manifest says %d bytes at %d",
				i, offset, meta, body, b.Bytes, b.Offset)
		}
	}
	return nil
}

// checkSchema compares the names and kinds of columns; their parameters are left to [matchSchema],
// as they cost nothing to read.
func (t flat) checkSchema(want *arrow.Schema) error {
	err := t.checkFields(1, want.Fields())
	if err == nil {
		err = t.checkMetadata(2)
	}
	if err != nil {
		return fmt.Errorf("schema is not {%v}: %w", want, err)
	}
	return nil
}

// checkFields compares the fields that are a member of the table, and those below them.
func (t flat) checkFields(member int, want []arrow.Field) error {
	n, field, err := t.tables(member)
	if err != nil {
		return err
	}
	if n != len(want) {
		return fmt.Errorf("has %d columns, want %d", n, len(want))
	}
	for i, w := range want {
		if err := field(i).checkField(w); err != nil {
			return fmt.Errorf("column %s: %w", w.Name, err)
		}
	}
	return nil
}

func (t flat) checkField(want arrow.Field) error {
	kind, ok := kindsOfType[want.Type.ID()]
	switch {
	case !ok:
		return fmt.Errorf("%v is no type of a dataset's tables", want.Type)
	case string(t.text(0)) != want.Name:
		return fmt.Errorf("is called %.40q", t.text(0))
	case t.byte(2) != kind:
		return fmt.Errorf("has type number %d, want %v", t.byte(2), want.Type)
	case t.at(4) != 0:
		return errors.New("has a dictionary")
	}
	var below []arrow.Field
	if nested, ok := want.Type.(arrow.NestedType); ok {
		below = nested.Fields()
	}
	return errors.Join(t.checkFields(5, below), t.checkMetadata(6))
}

// kindsOfType are the numbers that a schema has for the types that tables of a dataset have.
var kindsOfType = map[arrow.Type]byte{
	arrow.INT32: 2, arrow.FLOAT16: 3, arrow.FLOAT32: 3, arrow.BINARY: 4, arrow.STRING: 5,
	arrow.LIST: 12, arrow.FIXED_SIZE_BINARY: 15, arrow.FIXED_SIZE_LIST: 16,
}

// checkBatch compares the message of a batch with its schema, its rows and the bytes of its body:
// every buffer is inside of the body, and large enough for the rows.
func checkBatch(data []byte, schema *arrow.Schema, rows int) error {
	batch, size, err := flatMessage(data, messageBatch)
	if err != nil {
		return err
	}
	const pair = 16 // two numbers of 8 bytes
	var l layout
	l.body = int64(len(data) - size)
	if l.nodes, err = batch.structs(1, pair); err != nil {
		return err
	}
	if l.buffers, err = batch.structs(2, pair); err != nil {
		return err
	}
	if batch.at(3) != 0 {
		return errors.New("is compressed, which no table of a dataset is")
	}
	if _, n, err := batch.vector(4, 8); err != nil || n > 0 {
		return errors.New("has variadic buffers, which no table of a dataset has")
	}
	for _, field := range schema.Fields() {
		if l.column(field.Type, int64(rows)); l.err != nil {
			return fmt.Errorf("column %s: %w", field.Name, l.err)
		}
	}
	if len(l.nodes)+len(l.buffers) > 0 {
		return errors.New("has more columns than its schema")
	}
	return nil
}

// layout are the nodes (lengths and numbers of nulls) and buffers (offsets and lengths) of a batch
// that remain to be compared. The first error stays.
type layout struct {
	body           int64
	nodes, buffers []byte
	err            error
}

func (l *layout) fail(format string, args ...any) {
	if l.err == nil {
		l.err = fmt.Errorf(format, args...)
	}
}

// take reads the next two numbers of a list.
func (l *layout) take(from *[]byte) (a, b int64) {
	if len(*from) == 0 {
		l.fail("is missing")
		return 0, 0
	}
	a, b = int64(binary.LittleEndian.Uint64(*from)), int64(binary.LittleEndian.Uint64((*from)[8:]))
	*from = (*from)[16:]
	return a, b
}

// buffer wants the next buffer to have so many bytes or more.
func (l *layout) buffer(least int64) {
	offset, length := l.take(&l.buffers)
	if offset < 0 || length < 0 || length > l.body || offset > l.body-length {
		l.fail("a buffer of %d bytes at %d is not in its body of %d", length, offset, l.body)
	}
	if length < least {
		l.fail("a buffer has %d bytes, want %d", length, least)
	}
}

// anyRows stands for a number of rows that only the column itself says.
const anyRows = -1

// column compares the column that comes next.
func (l *layout) column(of arrow.DataType, rows int64) {
	length, nulls := l.take(&l.nodes)
	if length < 0 || length > l.body || nulls < 0 || nulls > length || rows != anyRows && length != rows {
		l.fail("has %d rows and %d nulls, want %d rows", length, nulls, rows)
	}
	if l.err != nil {
		return
	}
	validity := int64(0)
	if nulls > 0 {
		validity = (length + 7) / 8
	}
	l.buffer(validity)
	switch t := of.(type) {
	case *arrow.FixedSizeListType:
		l.column(t.Elem(), length*int64(t.Len()))
	case *arrow.ListType:
		l.buffer(4 * (length + 1))
		l.column(t.Elem(), anyRows)
	case *arrow.StringType, *arrow.BinaryType:
		l.buffer(4 * (length + 1))
		l.buffer(0)
	case arrow.FixedWidthDataType:
		l.buffer(length * int64(t.BitWidth()/8))
	default:
		l.fail("%v is no type of a dataset's tables", of)
	}
}
