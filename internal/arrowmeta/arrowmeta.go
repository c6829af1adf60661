// Package arrowmeta walks the metadata of Arrow files. Beside its columns a file has a schema, a
// message before each batch, and a footer: FlatBuffers, which Arrow's library believes. Where a vector
// says that it has 2^32 elements, the library allocates so many, so its readers look here first.
// Nothing here allocates by what a file says; what points out of its buffer panics.
//
// Numbers of members are those of Arrow's Schema.fbs, Message.fbs and File.fbs.
package arrowmeta

import (
	"fmt"

	flatbuffers "github.com/google/flatbuffers/go"
)

// Table is a table of a FlatBuffer.
type Table struct{ table flatbuffers.Table }

// Root is the table that a buffer holds.
func Root(buf []byte) Table {
	return Table{flatbuffers.Table{Bytes: buf, Pos: flatbuffers.GetUOffsetT(buf)}}
}

// Size is how many bytes the buffer has.
func (t Table) Size() int { return len(t.table.Bytes) }

// at is where a member of the table is; 0 if the table does not have it.
func (t Table) at(member int) flatbuffers.UOffsetT {
	if o := t.table.Offset(flatbuffers.VOffsetT(4 + 2*member)); o != 0 {
		return t.table.Pos + flatbuffers.UOffsetT(o)
	}
	return 0
}

// Has is whether the table has a member.
func (t Table) Has(member int) bool { return t.at(member) != 0 }

// Below is a member that is a table, and has to be there.
func (t Table) Below(member int) (Table, error) {
	o := t.at(member)
	if o == 0 {
		return Table{}, fmt.Errorf("a FlatBuffer has no member %d", member)
	}
	return t.indirect(o), nil
}

// Byte is a member of one byte, 0 by default.
func (t Table) Byte(member int) byte {
	if o := t.at(member); o != 0 {
		return t.table.GetByte(o)
	}
	return 0
}

// Text are the bytes of a member that is a string.
func (t Table) Text(member int) []byte {
	if o := t.at(member); o != 0 {
		return t.table.ByteVector(o)
	}
	return nil
}

// Vector is where the elements of a member that is a vector begin, and how many there are, of some
// bytes each. All are in the buffer.
func (t Table) Vector(member, size int) (start, n int, err error) {
	o := t.at(member)
	if o == 0 {
		return 0, 0, nil
	}
	start = int(o) + int(flatbuffers.GetUOffsetT(t.table.Bytes[o:]))
	n = int(flatbuffers.GetUOffsetT(t.table.Bytes[start:]))
	if start += flatbuffers.SizeUOffsetT; n > (t.Size()-start)/size {
		return 0, 0, fmt.Errorf("a vector in %d bytes has %d elements", t.Size(), n)
	}
	return start, n, nil
}

// Structs are the bytes of a member that is a vector of structs of some bytes.
func (t Table) Structs(member, size int) ([]byte, error) {
	start, n, err := t.Vector(member, size)
	return t.table.Bytes[start : start+n*size], err
}

// Tables are the elements of a member that is a vector of tables.
func (t Table) Tables(member int) (n int, element func(i int) Table, err error) {
	start, n, err := t.Vector(member, flatbuffers.SizeUOffsetT)
	return n, func(i int) Table {
		return t.indirect(flatbuffers.UOffsetT(start + i*flatbuffers.SizeUOffsetT))
	}, err
}

func (t Table) indirect(at flatbuffers.UOffsetT) Table {
	return Table{flatbuffers.Table{Bytes: t.table.Bytes, Pos: t.table.Indirect(at)}}
}

// entryBytes is less than an entry of metadata takes beside its texts.
const entryBytes = 16

// Metadata are how many entries a member has that is a list of keys and values, and how many bytes they
// stand for. They may share them, and must not be longer together than the buffer.
func (t Table) Metadata(member int) (n, bytes int, err error) {
	n, entry, err := t.Tables(member)
	for i := 0; i < n && err == nil; i++ {
		if bytes += entryBytes + len(entry(i).Text(0)) + len(entry(i).Text(1)); bytes > t.Size() {
			err = fmt.Errorf("metadata of %d bytes or more in %d: nested without end", bytes, t.Size())
		}
	}
	return n, bytes, err
}
