package arrowmeta_test

import (
	"encoding/binary"
	"strings"
	"testing"

	flatbuffers "github.com/google/flatbuffers/go"

	"facepipe/internal/alloctest"
	"facepipe/internal/arrowmeta"
)

// sample is a table with a text, a byte, a vector of structs of eight bytes, and metadata: entries that
// share a key and a value.
func sample(value string, entries int) []byte {
	b := flatbuffers.NewBuilder(0)
	name, key, text := b.CreateString("name"), b.CreateString("key"), b.CreateString(value)
	b.StartVector(8, 2, 8)
	b.PrependUint64(2)
	b.PrependUint64(1)
	numbers := b.EndVector(2)
	b.StartObject(2)
	b.PrependUOffsetTSlot(0, key, 0)
	b.PrependUOffsetTSlot(1, text, 0)
	entry := b.EndObject()
	b.StartVector(4, entries, 4)
	for range entries {
		b.PrependUOffsetT(entry)
	}
	list := b.EndVector(entries)
	b.StartObject(5)
	b.PrependUOffsetTSlot(0, name, 0)
	b.PrependByteSlot(1, 7, 0)
	b.PrependUOffsetTSlot(2, numbers, 0)
	b.PrependUOffsetTSlot(3, list, 0)
	b.Finish(b.EndObject())
	return b.FinishedBytes()
}

func TestMembers(t *testing.T) {
	root := arrowmeta.Root(sample("value", 2))
	if !root.Has(0) || root.Has(4) || root.Has(9) || string(root.Text(0)) != "name" || root.Byte(1) != 7 || root.Byte(4) != 0 || root.Text(4) != nil {
		t.Errorf("%q, %d", root.Text(0), root.Byte(1))
	}
	if list, err := root.Structs(2, 8); err != nil || len(list) != 16 || binary.LittleEndian.Uint64(list[8:]) != 2 {
		t.Errorf("%v, %v", list, err)
	}
	if _, n, err := root.Vector(4, 8); n != 0 || err != nil {
		t.Errorf("%d, %v", n, err)
	}
	n, entry, err := root.Tables(3)
	if err != nil || n != 2 || string(entry(1).Text(1)) != "value" {
		t.Errorf("%d, %v", n, err)
	}
	if n, bytes, err := root.Metadata(3); n != 2 || bytes < 2*len("keyvalue") || err != nil {
		t.Errorf("%d, %d, %v", n, bytes, err)
	}
	if _, err := root.Below(4); err == nil {
		t.Error("a table that is not there")
	}
}

// No list is believed to be longer than its buffer, and no text that is shared to be there once for
// each who shares it.
func TestClaims(t *testing.T) {
	if _, _, err := arrowmeta.Root(sample(strings.Repeat("v", 1000), 50)).Metadata(3); err == nil || !strings.Contains(err.Error(), "nested without end") {
		t.Error(err)
	}
	data := sample("value", 2)
	for at := range data {
		for _, to := range []byte{0x00, 0x7f, 0xff} {
			was := data[at]
			data[at] = to
			alloctest.AtMost(t, 64<<10, func() {
				defer func() { _ = recover() }() // what points out of the buffer panics
				root := arrowmeta.Root(data)
				for member := range 5 {
					if _, n, err := root.Vector(member, 8); err == nil && n > len(data)/8 {
						t.Errorf("byte %d as %x: a vector of %d", at, to, n)
					}
				}
				_, _ = root.Structs(2, 8) // as the next ones, for what they allocate
				_, _, _ = root.Metadata(3)
				_, _ = root.Below(3)
			})
			data[at] = was
		}
	}
}
