package onnx

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"

	"google.golang.org/protobuf/encoding/protowire"

	"facepipe/internal/protobuf"
	"facepipe/internal/regular"
)

// ErrFormat marks bytes that are no ONNX model.
var ErrFormat = errors.New("not an ONNX model")

// MaxBytes is the longest model file: protobuf has no larger messages. Larger models keep their
// weights in files beside it.
const MaxBytes = math.MaxInt32

// ReadFile reads a model file; errors name it.
func ReadFile(path string) (*Model, error) {
	data, err := regular.Read(path, MaxBytes)
	if err != nil {
		return nil, err
	}
	m, err := Unmarshal(data)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	return m, nil
}

// Unmarshal decodes a model. The errors wrap [ErrFormat] or, of a student of this program that is
// not what was written, [seal.ErrDamaged]. Nothing is allocated beyond a small multiple of
// len(data).
func Unmarshal(data []byte) (*Model, error) {
	m := &Model{}
	err := m.read(data)
	if err == nil {
		m.external, err = locations(nil, data, modelMessage, 0)
		slices.Sort(m.external)
		m.external = slices.Compact(m.external)
	}
	if err == nil && len(m.Graph.Outputs) == 0 {
		err = errors.New("it has no graph with an output")
	}
	if damaged := m.verify(data, err); damaged != nil {
		return nil, damaged
	}
	if err == nil {
		return m, nil
	}
	if kind := kindOf(data); kind != "" {
		return nil, fmt.Errorf("%w but %s", ErrFormat, kind)
	}
	return nil, fmt.Errorf("%w: %w", ErrFormat, err)
}

func (m *Model) read(data []byte) error {
	return protobuf.Fields(data, func(f protobuf.Field) error {
		switch f.Number {
		case 1:
			m.IRVersion = int64(f.Bits)
		case 2:
			if m.Producer == "" { // what damage makes of a later field does not rename it
				m.Producer = string(f.Bytes)
			}
		case 3:
			m.Version = string(f.Bytes)
		case 7:
			return m.Graph.read(f.Bytes)
		case 8:
			return m.readOpset(f.Bytes)
		case modelProperty:
			p, err := readProperty(f.Bytes)
			m.Metadata = append(m.Metadata, p)
			return err
		}
		return nil
	})
}

func readProperty(data []byte) (Property, error) {
	var p Property
	err := protobuf.Fields(data, func(f protobuf.Field) error {
		switch f.Number {
		case 1:
			p.Key = string(f.Bytes)
		case 2:
			p.Value = string(f.Bytes)
		}
		return nil
	})
	return p, err
}

func (m *Model) readOpset(data []byte) error {
	var domain string
	var version int64
	err := protobuf.Fields(data, func(f protobuf.Field) error {
		switch f.Number {
		case 1:
			domain = string(f.Bytes)
		case 2:
			version = int64(f.Bits)
		}
		return nil
	})
	if domain == "" || domain == "ai.onnx" {
		m.OpsetVersion = version
	}
	return err
}

func (g *Graph) read(data []byte) error {
	return protobuf.Fields(data, func(f protobuf.Field) error {
		switch f.Number {
		case 1:
			var n Node
			err := n.read(f.Bytes)
			g.Nodes = append(g.Nodes, n)
			return err
		case 2:
			g.Name = string(f.Bytes)
		case 5:
			var t Tensor
			err := t.read(f.Bytes)
			g.Initializers = append(g.Initializers, t)
			return err
		case 11:
			return readValue(&g.Inputs, f.Bytes)
		case 12:
			return readValue(&g.Outputs, f.Bytes)
		}
		return nil
	})
}

func (n *Node) read(data []byte) error {
	return protobuf.Fields(data, func(f protobuf.Field) error {
		switch f.Number {
		case 1:
			n.Inputs = append(n.Inputs, string(f.Bytes))
		case 2:
			n.Outputs = append(n.Outputs, string(f.Bytes))
		case 3:
			n.Name = string(f.Bytes)
		case 4:
			n.OpType = string(f.Bytes)
		case 5:
			var a Attribute
			err := a.read(f.Bytes)
			n.Attributes = append(n.Attributes, a)
			return err
		case 7:
			if n.Domain = string(f.Bytes); n.Domain == "ai.onnx" {
				n.Domain = ""
			}
		}
		return nil
	})
}

func (a *Attribute) read(data []byte) error {
	err := protobuf.Fields(data, func(f protobuf.Field) (err error) {
		switch f.Number {
		case 1:
			a.Name = string(f.Bytes)
		case 2:
			a.Float = math.Float32frombits(uint32(f.Bits))
		case 3:
			a.Int = int64(f.Bits)
		case 4:
			a.Text = string(f.Bytes)
		case 6, 11:
			a.graphs = append(a.graphs, f.Bytes)
		case 5:
			a.Tensor = new(Tensor)
			err = a.Tensor.read(f.Bytes)
		case 7:
			a.Floats = append(a.Floats, decode(fixed32(f), 4, littleFloat)...)
		case 8:
			a.Ints, err = f.Ints(a.Ints)
		case 20:
			a.Kind = AttributeKind(f.Bits)
		}
		return err
	})
	if err == nil && a.Kind == KindTensor && a.Tensor == nil {
		return fmt.Errorf("the attribute %q says that it is a tensor, and has none", a.Name)
	}
	return err
}

// fixed32 are the bytes of a repeated float, packed or not.
func fixed32(f protobuf.Field) []byte {
	if f.Kind == protowire.BytesType {
		return f.Bytes
	}
	return binary.LittleEndian.AppendUint32(nil, uint32(f.Bits))
}

// read takes the elements from raw_data, or from the typed lists that older
// exporters write.
func (t *Tensor) read(data []byte) error {
	return protobuf.Fields(data, func(f protobuf.Field) (err error) {
		switch f.Number {
		case 1:
			t.Dims, err = f.Ints(t.Dims)
		case 2:
			t.Type = ElemType(f.Bits)
		case 4: // float_data, which if packed is like raw_data
			t.Data = append(t.Data, fixed32(f)...)
		case 10: // double_data
			if f.Kind == protowire.BytesType {
				t.Data = append(t.Data, f.Bytes...)
			} else {
				t.Data = binary.LittleEndian.AppendUint64(t.Data, f.Bits)
			}
		case 5, 7: // int32_data, of which the smaller types take the lower bytes, and int64_data
			var values []int64
			values, err = f.Ints(nil)
			for _, v := range values {
				t.Data = append(t.Data, binary.LittleEndian.AppendUint64(nil, uint64(v))[:t.Type.Size()]...)
			}
		case 8:
			t.Name = string(f.Bytes)
		case 9:
			t.Data = f.Bytes
		case 13:
			var p Property
			p, err = readProperty(f.Bytes)
			t.External = append(t.External, p)
		}
		return err
	})
}

func readValue(list *[]ValueInfo, data []byte) error {
	var v ValueInfo
	err := protobuf.Fields(data, func(f protobuf.Field) error {
		switch f.Number {
		case 1:
			v.Name = string(f.Bytes)
		case 2:
			return v.readType(f.Bytes)
		}
		return nil
	})
	*list = append(*list, v)
	return err
}

// readType walks TypeProto → Tensor → TensorShapeProto → Dimension.
func (v *ValueInfo) readType(data []byte) error {
	return protobuf.Fields(data, func(f protobuf.Field) error {
		if f.Number != 1 { // only tensors
			return nil
		}
		return protobuf.Fields(f.Bytes, func(f protobuf.Field) error {
			switch f.Number {
			case 1:
				v.Type = ElemType(f.Bits)
			case 2:
				return protobuf.Fields(f.Bytes, func(f protobuf.Field) error {
					if f.Number != 1 {
						return nil
					}
					d, err := readDim(f.Bytes)
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
	err := protobuf.Fields(data, func(f protobuf.Field) error {
		switch f.Number {
		case 1:
			d.Size = int64(f.Bits)
		case 2:
			d.Name = string(f.Bytes)
		}
		return nil
	})
	if d.Size <= 0 { // some exporters write 0 or -1 for "any"
		d.Size = -1
	}
	return d, err
}
