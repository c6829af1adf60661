package embeddings

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
)

// checkClaims holds the numbers of things that an Arrow file claims in its metadata against the
// bytes that there are of them: the library allocates what is claimed. The layout is that of
// FlatBuffers and of Arrow's File.fbs, Schema.fbs and Message.fbs. What lies outside panics.
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
	footer := make(claims, length)
	if _, err := file.ReadAt(footer, size-tail-length); err != nil {
		return err
	}
	root := footer.ref(0)
	schema := footer.ref(footer.must(root, footerSchema))
	if err := footer.checkSchema(schema); err != nil {
		return err
	}
	footer.texts(root, footerMetadata)
	for _, slot := range []int{footerDictionaries, footerBatches} {
		start, n := footer.vector(root, slot, blockBytes)
		for i := range n {
			at := start + i*blockBytes
			if err := checkBlock(file, size, int64(footer.u64(at)), int64(footer.u32(at+8))); err != nil {
				return err
			}
		}
	}
	return nil
}

// Slots of the tables' fields: 4 and 2 more for each field before.
const (
	footerSchema       = 6
	footerDictionaries = 8
	footerBatches      = 10
	footerMetadata     = 12
	schemaFields       = 6
	schemaMetadata     = 8
	schemaFeatures     = 10
	fieldName          = 4
	fieldKind          = 8
	fieldChildren      = 14
	fieldMetadata      = 16
	messageKind        = 6
	messageHeader      = 8
	messageMetadata    = 12
	textKey            = 4
	textValue          = 6
	dictionaryData     = 6
	batchNodes         = 6
	batchBuffers       = 8
	batchCounts        = 12
)

// Sizes of structures, and values of the kinds that are told apart.
const (
	blockBytes      = 24
	nodeBytes       = 16
	fieldBytes      = 16 // less than a field, or an entry of metadata, takes
	unionKind       = 14
	dictionaryBatch = 2
)

// checkBlock looks at the message of a batch.
func checkBlock(file *os.File, size, offset, length int64) error {
	if offset < 0 || length < 8 || length > maxMetaBytes || offset > size-length {
		return errors.New("a batch lies outside the file")
	}
	m := make(claims, length)
	if _, err := file.ReadAt(m, offset); err != nil {
		return err
	}
	if m.u32(0) == 0xffffffff { // the mark of newer files
		m = m[4:]
	}
	m = m[4:]
	root := m.ref(0)
	m.texts(root, messageMetadata)
	header := m.ref(m.must(root, messageHeader))
	if m[m.must(root, messageKind)] == dictionaryBatch {
		header = m.ref(m.must(header, dictionaryData))
	}
	m.vector(header, batchNodes, nodeBytes)
	m.vector(header, batchBuffers, nodeBytes)
	m.vector(header, batchCounts, 8)
	return nil
}

// claims are the bytes of a FlatBuffer.
type claims []byte

func (c claims) u16(at int) int    { return int(binary.LittleEndian.Uint16(c[at:])) }
func (c claims) u32(at int) int    { return int(binary.LittleEndian.Uint32(c[at:])) }
func (c claims) u64(at int) uint64 { return binary.LittleEndian.Uint64(c[at:]) }

// ref is where the offset at a place leads.
func (c claims) ref(at int) int { return at + c.u32(at) }

// field is the place of a table's field, 0 where it has none.
func (c claims) field(table, slot int) int {
	layout := table - int(int32(c.u32(table)))
	if slot >= c.u16(layout) {
		return 0
	}
	if offset := c.u16(layout + slot); offset > 0 {
		return table + offset
	}
	return 0
}

// must is a field that there has to be.
func (c claims) must(table, slot int) int {
	at := c.field(table, slot)
	if at == 0 {
		panic("a part of its metadata is missing")
	}
	return at
}

// vector is where a table's list begins, and how many elements of a size it has.
func (c claims) vector(table, slot, element int) (start, n int) {
	at := c.field(table, slot)
	if at == 0 {
		return 0, 0
	}
	at = c.ref(at)
	if n = c.u32(at); n > (len(c)-at-4)/element {
		panic(fmt.Sprintf("its metadata claim a list of %d", n))
	}
	return at + 4, n
}

// text is how long a table's text is.
func (c claims) text(table, slot int) int {
	_, n := c.vector(table, slot, 1)
	return n
}

// texts is how long all texts of a table's list of metadata are. They may share their bytes, and
// may not be longer together than what they are in.
func (c claims) texts(table, slot int) (bytes int) {
	start, n := c.vector(table, slot, 4)
	for i := range n {
		entry := c.ref(start + 4*i)
		if bytes += fieldBytes + c.text(entry, textKey) + c.text(entry, textValue); bytes > len(c) {
			panic("its metadata are nested without end")
		}
	}
	return bytes
}

// checkSchema looks at the lists and texts of a schema and of all its fields, which may not be more
// together than there are bytes: fields may share what is below them.
func (c claims) checkSchema(schema int) error {
	c.vector(schema, schemaFeatures, 8)
	seen := c.texts(schema, schemaMetadata)
	type list struct{ table, slot int }
	for todo := []list{{schema, schemaFields}}; len(todo) > 0; {
		next := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		start, n := c.vector(next.table, next.slot, 4)
		if seen += n * fieldBytes; seen > len(c) {
			return errors.New("its columns are nested without end")
		}
		for i := range n {
			field := c.ref(start + 4*i)
			if c[c.must(field, fieldKind)] == unionKind {
				return errors.New("a column is a union")
			}
			if seen += c.text(field, fieldName) + c.texts(field, fieldMetadata); seen > len(c) {
				return errors.New("its columns are nested without end")
			}
			todo = append(todo, list{field, fieldChildren})
		}
	}
	return nil
}
