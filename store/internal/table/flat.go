package table

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/apache/arrow-go/v18/arrow"

	"facepipe/internal/arrowmeta"
)

// What an Arrow file's metadata say is compared here with what they must say before Arrow's library sees
// them: see package arrowmeta, whose panics [recoverParse] turns into errors.

// maxMetadata bounds the entries of a schema's or a message's metadata; this program writes a
// handful.
const maxMetadata = 64

// checkMetadata bounds the metadata that are a member of the table.
func checkMetadata(t arrowmeta.Table, member int) error {
	n, _, err := t.Metadata(member)
	if n > maxMetadata {
		return fmt.Errorf("has %d entries of metadata, more than %d", n, maxMetadata)
	}
	return err
}

// Kinds of message.
const (
	messageSchema = 1
	messageBatch  = 3
)

// flatMessage is the header of the message of a kind with which data begins, and its length with
// all that precedes its body.
func flatMessage(data []byte, kind byte) (header arrowmeta.Table, size int, err error) {
	const prefix = 8 // 0xFFFFFFFF, and the length of what follows
	if len(data) < prefix || binary.LittleEndian.Uint32(data) != 0xffffffff {
		return header, 0, errors.New("does not begin with a message")
	}
	n := int(binary.LittleEndian.Uint32(data[4:]))
	if n > len(data)-prefix || n > maxMetaBytes {
		return header, 0, fmt.Errorf("begins with a message of %d bytes", n)
	}
	message := arrowmeta.Root(data[prefix : prefix+n : prefix+n])
	if got := message.Byte(1); got != kind {
		return header, 0, fmt.Errorf("begins with a message of kind %d, want %d", got, kind)
	}
	header, err = message.Below(2)
	return header, prefix + n, errors.Join(err, checkMetadata(message, 4))
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
	return checkSchema(message, schema)
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
	footer := arrowmeta.Root(tail[end-n : end : end])
	of, err := footer.Below(1)
	if err != nil {
		return err
	}
	return errors.Join(checkSchema(of, schema), checkBlocks(footer, batches))
}

// checkBlocks compares a footer's list of batches with a manifest's; there are no dictionaries.
func checkBlocks(t arrowmeta.Table, batches []batchInfo) error {
	const block = 24 // offset, 8 bytes; metadata's length, 4, and 4 of padding; body's length, 8
	if _, n, err := t.Vector(2, block); err != nil || n > 0 {
		return errors.New("has dictionaries, which no table of a dataset has")
	}
	blocks, err := t.Structs(3, block)
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
func checkSchema(t arrowmeta.Table, want *arrow.Schema) error {
	err := checkFields(t, 1, want.Fields())
	if err == nil {
		err = checkMetadata(t, 2)
	}
	if err != nil {
		return fmt.Errorf("schema is not {%v}: %w", want, err)
	}
	return nil
}

// checkFields compares the fields that are a member of the table, and those below them.
func checkFields(t arrowmeta.Table, member int, want []arrow.Field) error {
	n, field, err := t.Tables(member)
	if err != nil {
		return err
	}
	if n != len(want) {
		return fmt.Errorf("has %d columns, want %d", n, len(want))
	}
	for i, w := range want {
		if err := checkField(field(i), w); err != nil {
			return fmt.Errorf("column %s: %w", w.Name, err)
		}
	}
	return nil
}

func checkField(t arrowmeta.Table, want arrow.Field) error {
	kind, ok := kindsOfType[want.Type.ID()]
	switch {
	case !ok:
		return fmt.Errorf("%v is no type of a dataset's tables", want.Type)
	case string(t.Text(0)) != want.Name:
		return fmt.Errorf("is called %.40q", t.Text(0))
	case t.Byte(2) != kind:
		return fmt.Errorf("has type number %d, want %v", t.Byte(2), want.Type)
	case t.Has(4):
		return errors.New("has a dictionary")
	}
	var below []arrow.Field
	if nested, ok := want.Type.(arrow.NestedType); ok {
		below = nested.Fields()
	}
	return errors.Join(checkFields(t, 5, below), checkMetadata(t, 6))
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
	if l.nodes, err = batch.Structs(1, pair); err != nil {
		return err
	}
	if l.buffers, err = batch.Structs(2, pair); err != nil {
		return err
	}
	if batch.Has(3) {
		return errors.New("is compressed, which no table of a dataset is")
	}
	if _, n, err := batch.Vector(4, 8); err != nil || n > 0 {
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
