package embeddings

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"

	"facepipe/internal/arrowmeta"
)

// Sizes of structures, and values of the kinds that are told apart.
const (
	blockBytes      = 24
	nodeBytes       = 16
	fieldBytes      = 16 // less than a field takes
	unionKind       = 14
	dictionaryBatch = 2
)

// checkClaims holds the numbers of things that an Arrow file claims in its metadata against the
// bytes that there are of them: the library allocates what is claimed. What lies outside panics.
func checkClaims(file *os.File, size int64) error {
	const tail = 10 // the footer's length and the magic
	if size < 2*tail {
		return errors.New("it is cut short")
	}
	b := make([]byte, tail)
	if _, err := file.ReadAt(b, size-tail); err != nil {
		return err
	}
	length := int64(binary.LittleEndian.Uint32(b))
	if string(b[4:]) != "ARROW1" || length > size-2*tail || length > maxMetaBytes {
		return errors.New("it is cut short, or no Arrow file")
	}
	text := make([]byte, length)
	if _, err := file.ReadAt(text, size-tail-length); err != nil {
		return err
	}
	footer := arrowmeta.Root(text)
	schema, err := footer.Below(1)
	if err == nil {
		err = checkSchema(schema)
	}
	if err == nil {
		_, _, err = footer.Metadata(4)
	}
	for _, batches := range []int{2, 3} { // dictionaries, and records
		if err == nil {
			err = checkBatches(file, size, footer, batches)
		}
	}
	return err
}

// checkBatches looks at the messages of the batches that a member of a footer lists. Together they are
// no longer than the file: one that is listed again and again would be read as often.
func checkBatches(file *os.File, size int64, footer arrowmeta.Table, member int) error {
	blocks, err := footer.Structs(member, blockBytes)
	for left := size; err == nil && len(blocks) > 0; blocks = blocks[blockBytes:] {
		length, body := int64(binary.LittleEndian.Uint32(blocks[8:])), int64(binary.LittleEndian.Uint64(blocks[16:]))
		if body < 0 || body > left-length {
			return errors.New("its batches are longer together than the file")
		}
		left -= length + body
		err = checkBlock(file, size, int64(binary.LittleEndian.Uint64(blocks)), length)
	}
	return err
}

// checkBlock looks at the message of a batch.
func checkBlock(file *os.File, size, offset, length int64) error {
	if offset < 0 || length < 8 || length > maxMetaBytes || offset > size-length {
		return errors.New("a batch lies outside the file")
	}
	m := make([]byte, length)
	if _, err := file.ReadAt(m, offset); err != nil {
		return err
	}
	if binary.LittleEndian.Uint32(m) == 0xffffffff { // the mark of newer files
		m = m[4:]
	}
	message := arrowmeta.Root(m[4:])
	_, _, err := message.Metadata(4)
	var batch arrowmeta.Table
	if err == nil {
		batch, err = message.Below(2)
	}
	if err == nil && message.Byte(1) == dictionaryBatch {
		batch, err = batch.Below(1)
	}
	for _, list := range []struct{ member, size int }{{1, nodeBytes}, {2, nodeBytes}, {4, 8}} { // nodes, buffers, counts
		if err == nil {
			_, _, err = batch.Vector(list.member, list.size)
		}
	}
	return err
}

// checkSchema looks at the lists and texts of a schema and of all its fields, which may not be more
// together than there are bytes: fields may share what is below them.
func checkSchema(schema arrowmeta.Table) error {
	_, _, err := schema.Vector(3, 8) // features
	if err != nil {
		return err
	}
	_, seen, err := schema.Metadata(2)
	type list struct {
		table  arrowmeta.Table
		member int
	}
	for todo := []list{{schema, 1}}; err == nil && len(todo) > 0; {
		next := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		n, field, tablesErr := next.table.Tables(next.member)
		err = tablesErr
		for i := 0; i < n && err == nil; i++ {
			var bytes int
			bytes, err = checkField(field(i))
			if seen += fieldBytes + bytes; seen > schema.Size() {
				return errors.New("its columns are nested without end")
			}
			todo = append(todo, list{field(i), 5})
		}
	}
	return err
}

// checkField is how many bytes the texts of a field stand for.
func checkField(field arrowmeta.Table) (int, error) {
	if field.Byte(2) == unionKind {
		return 0, errors.New("a column is a union")
	}
	_, bytes, err := field.Metadata(6)
	if err != nil {
		return 0, fmt.Errorf("column %.40q: %w", field.Text(0), err)
	}
	return bytes + len(field.Text(0)), nil
}
