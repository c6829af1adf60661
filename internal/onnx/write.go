package onnx

import (
	"math"

	"google.golang.org/protobuf/encoding/protowire"
)

// Marshal encodes the model, without a seal that it had; the same model gives the same bytes.
func (m *Model) Marshal() []byte {
	var w message
	w.int(1, m.IRVersion)
	w.string(2, m.Producer)
	w.string(3, m.Version)
	w.nested(7, func(w *message) { m.Graph.write(w) })
	w.nested(8, func(w *message) { w.int(2, m.OpsetVersion) })
	for _, p := range m.Metadata {
		if p.Key != SealKey {
			w.property(modelProperty, p)
		}
	}
	return w
}

// message is a protocol buffer under construction.
type message []byte

func (w *message) int(number protowire.Number, v int64) {
	*w = protowire.AppendTag(*w, number, protowire.VarintType)
	*w = protowire.AppendVarint(*w, uint64(v))
}

func (w *message) bytes(number protowire.Number, b []byte) {
	*w = protowire.AppendTag(*w, number, protowire.BytesType)
	*w = protowire.AppendBytes(*w, b)
}

func (w *message) string(number protowire.Number, s string) {
	if s != "" {
		w.bytes(number, []byte(s))
	}
}

func (w *message) nested(number protowire.Number, build func(*message)) {
	var inner message
	build(&inner)
	w.bytes(number, inner)
}

func (w *message) property(number protowire.Number, p Property) {
	w.nested(number, func(w *message) {
		w.string(1, p.Key)
		w.string(2, p.Value)
	})
}

func (g *Graph) write(w *message) {
	for _, n := range g.Nodes {
		w.nested(1, func(w *message) { n.write(w) })
	}
	w.string(2, g.Name)
	for _, t := range g.Initializers {
		w.nested(5, func(w *message) { t.write(w) })
	}
	for _, v := range g.Inputs {
		w.nested(11, func(w *message) { v.write(w) })
	}
	for _, v := range g.Outputs {
		w.nested(12, func(w *message) { v.write(w) })
	}
}

func (n *Node) write(w *message) {
	for _, s := range n.Inputs {
		w.bytes(1, []byte(s)) // "" is an input that is left out
	}
	for _, s := range n.Outputs {
		w.bytes(2, []byte(s))
	}
	w.string(3, n.Name)
	w.string(4, n.OpType)
	for _, a := range n.Attributes {
		w.nested(5, func(w *message) { a.write(w) })
	}
	w.string(7, n.Domain)
}

func (a *Attribute) write(w *message) {
	w.string(1, a.Name)
	switch a.Kind {
	case KindFloat:
		*w = protowire.AppendTag(*w, 2, protowire.Fixed32Type)
		*w = protowire.AppendFixed32(*w, math.Float32bits(a.Float))
	case KindInt:
		w.int(3, a.Int)
	case KindText:
		w.string(4, a.Text)
	case KindTensor:
		w.nested(5, a.Tensor.write)
	case KindInts:
		for _, v := range a.Ints {
			w.int(8, v)
		}
	}
	w.int(20, int64(a.Kind))
}

func (t *Tensor) write(w *message) {
	for _, d := range t.Dims {
		w.int(1, d)
	}
	w.int(2, int64(t.Type))
	w.string(8, t.Name)
	if len(t.External) == 0 {
		w.bytes(9, t.Data)
		return
	}
	for _, p := range t.External {
		w.property(13, p)
	}
	const external = 1 // of data_location
	w.int(14, external)
}

func (v *ValueInfo) write(w *message) {
	w.string(1, v.Name)
	w.nested(2, func(w *message) { // TypeProto
		w.nested(1, func(w *message) { // Tensor
			w.int(1, int64(v.Type))
			w.nested(2, func(w *message) { // TensorShapeProto
				for _, d := range v.Dims {
					w.nested(1, func(w *message) {
						if d.Size >= 0 {
							w.int(1, d.Size)
						} else {
							w.string(2, d.Name)
						}
					})
				}
			})
		})
	})
}
