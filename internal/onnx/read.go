package onnx

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"os"
	"slices"

	"google.golang.org/protobuf/encoding/protowire"
)

// ErrFormat marks bytes that are no ONNX model.
var ErrFormat = errors.New("not an ONNX model")

// ReadFile reads a model file; errors name it.
func ReadFile(path string) (*Model, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	m, err := Unmarshal(data)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	return m, nil
}

// Unmarshal decodes a model. The errors wrap [ErrFormat]. Nothing is allocated
// beyond a small multiple of len(data).
func Unmarshal(data []byte) (*Model, error) {
	m := &Model{}
	if err := m.read(data); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrFormat, err)
	}
	if len(m.Graph.Outputs) == 0 {
		return nil, fmt.Errorf("%w: it has no graph with an output", ErrFormat)
	}
	return m, nil
}

// field is one field of a message: a number for varints, the bits for fixed32, the
// bytes for what has a length.
type field struct {
	number protowire.Number
	kind   protowire.Type
	value  uint64
	bytes  []byte
}

// fields calls f for every field of a message.
func fields(message []byte, f func(field) error) error {
	for len(message) > 0 {
		number, kind, n := protowire.ConsumeTag(message)
		if n < 0 {
			return protowire.ParseError(n)
		}
		message = message[n:]
		v := field{number: number, kind: kind}
		switch kind {
		case protowire.VarintType:
			v.value, n = protowire.ConsumeVarint(message)
		case protowire.Fixed32Type:
			var bits uint32
			bits, n = protowire.ConsumeFixed32(message)
			v.value = uint64(bits)
		case protowire.BytesType:
			v.bytes, n = protowire.ConsumeBytes(message)
			v.bytes = slices.Clip(v.bytes) // what is appended to it must not land in the message
		default:
			n = protowire.ConsumeFieldValue(number, kind, message)
		}
		if n < 0 {
			return protowire.ParseError(n)
		}
		if err := f(v); err != nil {
			return err
		}
		message = message[n:]
	}
	return nil
}

// ints adds an integer of a repeated field, packed or not.
func (f field) ints(list []int64) ([]int64, error) {
	if f.kind != protowire.BytesType {
		return append(list, int64(f.value)), nil
	}
	for b := f.bytes; len(b) > 0; {
		v, n := protowire.ConsumeVarint(b)
		if n < 0 {
			return nil, protowire.ParseError(n)
		}
		list, b = append(list, int64(v)), b[n:]
	}
	return list, nil
}

func (m *Model) read(data []byte) error {
	return fields(data, func(f field) error {
		switch f.number {
		case 1:
			m.IRVersion = int64(f.value)
		case 2:
			m.Producer = string(f.bytes)
		case 3:
			m.Version = string(f.bytes)
		case 7:
			return m.Graph.read(f.bytes)
		case 8:
			return m.readOpset(f.bytes)
		case 14:
			p, err := readProperty(f.bytes)
			m.Metadata = append(m.Metadata, p)
			return err
		}
		return nil
	})
}

func readProperty(data []byte) (Property, error) {
	var p Property
	err := fields(data, func(f field) error {
		switch f.number {
		case 1:
			p.Key = string(f.bytes)
		case 2:
			p.Value = string(f.bytes)
		}
		return nil
	})
	return p, err
}

func (m *Model) readOpset(data []byte) error {
	var domain string
	var version int64
	err := fields(data, func(f field) error {
		switch f.number {
		case 1:
			domain = string(f.bytes)
		case 2:
			version = int64(f.value)
		}
		return nil
	})
	if domain == "" || domain == "ai.onnx" {
		m.OpsetVersion = version
	}
	return err
}

func (g *Graph) read(data []byte) error {
	return fields(data, func(f field) error {
		switch f.number {
		case 1:
			var n Node
			err := n.read(f.bytes)
			g.Nodes = append(g.Nodes, n)
			return err
		case 2:
			g.Name = string(f.bytes)
		case 5:
			var t Tensor
			err := t.read(f.bytes)
			g.Initializers = append(g.Initializers, t)
			return err
		case 11:
			return readValue(&g.Inputs, f.bytes)
		case 12:
			return readValue(&g.Outputs, f.bytes)
		}
		return nil
	})
}

func (n *Node) read(data []byte) error {
	return fields(data, func(f field) error {
		switch f.number {
		case 1:
			n.Inputs = append(n.Inputs, string(f.bytes))
		case 2:
			n.Outputs = append(n.Outputs, string(f.bytes))
		case 3:
			n.Name = string(f.bytes)
		case 4:
			n.OpType = string(f.bytes)
		case 5:
			var a Attribute
			err := a.read(f.bytes)
			n.Attributes = append(n.Attributes, a)
			return err
		}
		return nil
	})
}

func (a *Attribute) read(data []byte) error {
	return fields(data, func(f field) (err error) {
		switch f.number {
		case 1:
			a.Name = string(f.bytes)
		case 2:
			a.Float = math.Float32frombits(uint32(f.value))
		case 3:
			a.Int = int64(f.value)
		case 8:
			a.Ints, err = f.ints(a.Ints)
		case 20:
			a.Kind = AttributeKind(f.value)
		}
		return err
	})
}

// read takes the elements from raw_data, or from the typed lists that older
// exporters write.
func (t *Tensor) read(data []byte) error {
	return fields(data, func(f field) (err error) {
		switch f.number {
		case 1:
			t.Dims, err = f.ints(t.Dims)
		case 2:
			t.Type = ElemType(f.value)
		case 4: // float_data: packed it is what raw_data would be
			if f.kind == protowire.BytesType {
				t.Data = append(t.Data, f.bytes...)
			} else {
				t.Data = binary.LittleEndian.AppendUint32(t.Data, uint32(f.value))
			}
		case 7:
			var values []int64
			values, err = f.ints(nil)
			for _, v := range values {
				t.Data = binary.LittleEndian.AppendUint64(t.Data, uint64(v))
			}
		case 8:
			t.Name = string(f.bytes)
		case 9:
			t.Data = f.bytes
		case 13:
			var p Property
			p, err = readProperty(f.bytes)
			t.External = append(t.External, p)
		}
		return err
	})
}

func readValue(list *[]ValueInfo, data []byte) error {
	var v ValueInfo
	err := fields(data, func(f field) error {
		switch f.number {
		case 1:
			v.Name = string(f.bytes)
		case 2:
			return v.readType(f.bytes)
		}
		return nil
	})
	*list = append(*list, v)
	return err
}

// readType walks TypeProto → Tensor → TensorShapeProto → Dimension.
func (v *ValueInfo) readType(data []byte) error {
	return fields(data, func(f field) error {
		if f.number != 1 { // only tensors
			return nil
		}
		return fields(f.bytes, func(f field) error {
			switch f.number {
			case 1:
				v.Type = ElemType(f.value)
			case 2:
				return fields(f.bytes, func(f field) error {
					if f.number != 1 {
						return nil
					}
					d, err := readDim(f.bytes)
					v.Dims = append(v.Dims, d)
					return err
				})
			}
			return nil
		})
	})
}

func readDim(data []byte) (Dim, error) {
	d := Dim{Size: -1}
	err := fields(data, func(f field) error {
		switch f.number {
		case 1:
			d.Size = int64(f.value)
		case 2:
			d.Name = string(f.bytes)
		}
		return nil
	})
	if d.Size <= 0 { // some exporters write 0 or -1 for "any"
		d.Size = -1
	}
	return d, err
}
