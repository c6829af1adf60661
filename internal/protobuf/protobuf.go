// Package protobuf reads messages of protocol buffers field by field, without their schema.
package protobuf

import (
	"slices"

	"google.golang.org/protobuf/encoding/protowire"
)

// Field is one field of a message.
type Field struct {
	Number protowire.Number
	Kind   protowire.Type
	// Bits are those of a number, of 32 or 64 bits or of variable length.
	Bits uint64
	// Bytes are the content of a string, a message or a packed list. They share the message's
	// memory; appending to them does not write to it.
	Bytes []byte
}

// Fields calls visit for every field of a message, until visit returns an error, which it
// returns as it is. Groups are passed over.
func Fields(message []byte, visit func(Field) error) error {
	for len(message) > 0 {
		number, kind, n := protowire.ConsumeTag(message)
		if n < 0 {
			return protowire.ParseError(n)
		}
		message = message[n:]
		f := Field{Number: number, Kind: kind}
		switch kind {
		case protowire.VarintType:
			f.Bits, n = protowire.ConsumeVarint(message)
		case protowire.Fixed64Type:
			f.Bits, n = protowire.ConsumeFixed64(message)
		case protowire.Fixed32Type:
			var bits uint32
			bits, n = protowire.ConsumeFixed32(message)
			f.Bits = uint64(bits)
		case protowire.BytesType:
			f.Bytes, n = protowire.ConsumeBytes(message)
			f.Bytes = slices.Clip(f.Bytes)
		default:
			n = protowire.ConsumeFieldValue(number, kind, message)
		}
		if n < 0 {
			return protowire.ParseError(n)
		}
		if err := visit(f); err != nil {
			return err
		}
		message = message[n:]
	}
	return nil
}

// Ints adds the integers of a repeated field, packed or not, to a list.
func (f Field) Ints(list []int64) ([]int64, error) {
	if f.Kind != protowire.BytesType {
		return append(list, int64(f.Bits)), nil
	}
	for b := f.Bytes; len(b) > 0; {
		v, n := protowire.ConsumeVarint(b)
		if n < 0 {
			return nil, protowire.ParseError(n)
		}
		list, b = append(list, int64(v)), b[n:]
	}
	return list, nil
}
