package protobuf_test

import (
	"errors"
	"slices"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"

	"facepipe/internal/alloctest"
	"facepipe/internal/protobuf"
)

// message has a field of every kind, a group among them.
func message() []byte {
	b := protowire.AppendVarint(protowire.AppendTag(nil, 1, protowire.VarintType), 300)
	b = protowire.AppendFixed32(protowire.AppendTag(b, 2, protowire.Fixed32Type), 32)
	b = protowire.AppendFixed64(protowire.AppendTag(b, 3, protowire.Fixed64Type), 64)
	b = protowire.AppendTag(protowire.AppendTag(b, 4, protowire.StartGroupType), 4, protowire.EndGroupType)
	packed := protowire.AppendVarint(protowire.AppendVarint(nil, 7), 1<<63)
	return protowire.AppendBytes(protowire.AppendTag(b, 5, protowire.BytesType), packed)
}

func TestFields(t *testing.T) {
	var numbers []protowire.Number
	var bits []uint64
	var ints []int64
	err := protobuf.Fields(message(), func(f protobuf.Field) (err error) {
		numbers, bits = append(numbers, f.Number), append(bits, f.Bits)
		if f.Number == 1 || f.Number == 5 {
			ints, err = f.Ints(ints)
		}
		return err
	})
	if err != nil || !slices.Equal(numbers, []protowire.Number{1, 2, 3, 4, 5}) || !slices.Equal(bits, []uint64{300, 32, 64, 0, 0}) ||
		!slices.Equal(ints, []int64{300, 7, -1 << 63}) {
		t.Errorf("%v, %v, %v, %v", numbers, bits, ints, err)
	}
	enough := errors.New("enough")
	if err := protobuf.Fields(message(), func(protobuf.Field) error { return enough }); err != enough {
		t.Errorf("stopped: %v", err)
	}
}

// A message that ends within a field is an error, wherever that is.
func TestCutShort(t *testing.T) {
	whole, starts := message(), map[int]bool{}
	for n := range whole {
		if protobuf.Fields(whole[:n], func(protobuf.Field) error { return nil }) == nil {
			starts[n] = true
		}
	}
	if len(starts) != 5 {
		t.Errorf("fields begin at %v", starts)
	}
}

func FuzzFields(f *testing.F) {
	f.Add(message())
	f.Add([]byte("\x2a\xff\xff\xff\xff\x0f"))
	f.Fuzz(func(t *testing.T, data []byte) {
		alloctest.AtMost(t, 64*len(data)+1<<16, func() {
			var ints []int64
			_ = protobuf.Fields(data, func(f protobuf.Field) (err error) {
				ints, err = f.Ints(ints[:0])
				return err
			})
		})
	})
}
