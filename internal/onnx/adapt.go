package onnx

import (
	"fmt"
	"math"
	"slices"

	"google.golang.org/protobuf/encoding/protowire"

	"facepipe/internal/protobuf"
)

// elemTypes are the types that a value may be cast to and from.
var elemTypes = map[ElemType]struct {
	name     string
	min, max float64 // of integers; both 0 otherwise
}{
	Float32: {name: "float32"}, Float16: {name: "float16"}, Float64: {name: "float64"}, BFloat16: {name: "bfloat16"},
	Uint8: {"uint8", 0, math.MaxUint8}, Uint16: {"uint16", 0, math.MaxUint16},
	Int8: {"int8", math.MinInt8, math.MaxInt8}, Int16: {"int16", math.MinInt16, math.MaxInt16},
	Int32: {"int32", math.MinInt32, math.MaxInt32}, Int64: {"int64", math.MinInt64, math.MaxInt64},
}

// String is the type's name, if pipe uses the type.
func (e ElemType) String() string {
	if t, known := elemTypes[e]; known {
		return t.name
	}
	return fmt.Sprintf("element type %d", int32(e))
}

// IsFloat says that values of a type may be had as float32.
func (e ElemType) IsFloat() bool {
	t, known := elemTypes[e]
	return known && t.max == 0
}

// Integers are the least and the greatest value of a type of integers; ok is false for others.
func (e ElemType) Integers() (least, greatest float64, ok bool) {
	t := elemTypes[e]
	return t.min, t.max, t.max > 0
}

// Numbers of fields in the standard.
const (
	modelGraph  = 7
	graphNode   = 1
	graphInput  = 11
	graphOutput = 12
	graphShapes = 13 // of values between nodes
)

// isWeight says that an input is a weight, which old exporters list among the inputs.
func (g *Graph) isWeight(in ValueInfo) bool {
	return slices.ContainsFunc(g.Initializers, func(t Tensor) bool { return t.Name == in.Name })
}

// Images are the inputs that are no weights.
func (g *Graph) Images() []ValueInfo { return slices.DeleteFunc(slices.Clone(g.Inputs), g.isWeight) }

// Form is what the inputs and the outputs of a model are to be. The zero value is float32 for all.
type Form struct {
	// Halves leaves float16 as it is.
	Halves bool
	// Pixels, unless nil, are to come in place of the only image.
	Pixels *Pixels
}

// Pixels are 8-bit images, interleaved, in place of a model's input. The input is made of them
// inside: x becomes (x - mean) / std in float32, with the mean and the std of each channel in two
// further inputs, and is rounded to the input's own type.
type Pixels struct {
	Height, Width int64
	// Planar says that the model takes planes: N×3×H×W instead of N×H×W×3.
	Planar bool
}

// pixelsOpset is the first operator set in which arithmetic stretches one operand to the other's
// shape by itself.
const pixelsOpset = 7

// TakesPixels says that [Form].Pixels can be had of a model: it has one input, an image, and is
// not too old.
func (m *Model) TakesPixels() bool {
	images := m.Graph.Images()
	if len(images) != 1 || len(images[0].Dims) != 4 || m.OpsetVersion < pixelsOpset {
		return false
	}
	_, castable := elemTypes[images[0].Type]
	return castable
}

// keeps says that a type may stay.
func (f Form) keeps(t ElemType) bool { return t == Float32 || f.Halves && t == Float16 }

// Has says that all inputs and outputs of a graph are of a form.
func (f Form) Has(g *Graph) bool {
	return f.Pixels == nil && !slices.ContainsFunc(slices.Concat(g.Images(), g.Outputs), func(v ValueInfo) bool { return !f.keeps(v.Type) })
}

// AsFloats are the outputs that can be had as float32: floating-point ones, and quantized ones
// of which the graph tells the scale.
func (g *Graph) AsFloats() []ValueInfo {
	return slices.DeleteFunc(slices.Clone(g.Outputs), func(out ValueInfo) bool { return !out.Type.IsFloat() && g.quantizer(out) == nil })
}

// quantizer is the node that quantizes an output of 8 bits, maybe before it is given another
// shape; nil if there is none.
func (g *Graph) quantizer(out ValueInfo) *Node {
	if out.Type != Uint8 && out.Type != Int8 {
		return nil
	}
	name := out.Name
	for i := len(g.Nodes) - 1; i >= 0; i-- { // the standard demands that they are in order
		n := &g.Nodes[i]
		if len(n.Inputs) == 0 || !slices.Contains(n.Outputs, name) {
			continue
		}
		switch n.OpType {
		case "QuantizeLinear":
			return n
		case "Reshape", "Flatten", "Squeeze", "Unsqueeze", "Identity":
			name = n.Inputs[0]
		default:
			return nil
		}
	}
	return nil
}

// Rewrite rewrites a model's bytes so that its inputs and outputs have the form, by casts inside;
// quantized outputs are dequantized. Outputs that are not among [Graph.AsFloats] are
// left out. So are the shapes that an exporter declared for outputs and between nodes: what
// the graph computes counts.
func (f Form) Rewrite(data []byte) ([]byte, error) {
	m, err := Unmarshal(data)
	if err != nil {
		return nil, err
	}
	return f.rewrite(data, &m.Graph, f.outputs)
}

// rewrite rewrites a model's bytes so that its inputs have the form, and its outputs are those
// that a function writes.
func (f Form) rewrite(data []byte, g *Graph, outputs func(*message, *Graph)) ([]byte, error) {
	return copyFields(data, func(w *message, field protobuf.Field) (bool, error) {
		if field.Number != modelGraph {
			return isSeal(field), nil
		}
		var graph message
		f.inputs(&graph, g)
		rest, err := copyFields(field.Bytes, func(_ *message, part protobuf.Field) (bool, error) {
			return part.Number == graphInput || part.Number == graphOutput || part.Number == graphShapes, nil
		})
		graph = append(graph, rest...)
		outputs(&graph, g)
		w.bytes(modelGraph, graph)
		return true, err
	})
}

// inputs writes a graph's inputs, and before its nodes what makes of them what it takes.
func (f Form) inputs(w *message, g *Graph) {
	for _, in := range g.Inputs {
		if f.Pixels != nil && !g.isWeight(in) {
			f.Pixels.write(w, in)
			continue
		}
		if _, castable := elemTypes[in.Type]; castable && !f.keeps(in.Type) && !g.isWeight(in) {
			w.cast(in.Name+castSuffix, in.Name, in.Type)
			in.Name, in.Type = in.Name+castSuffix, Float32
		}
		w.nested(graphInput, in.write)
	}
}

// write writes the inputs that stand for one, and what makes that of them.
func (p *Pixels) write(w *message, in ValueInfo) {
	nodes := []Node{
		{OpType: "Cast", Inputs: []string{in.Name + ".pixels"}, Attributes: []Attribute{Int("to", int64(Float32))}},
		{OpType: "Sub", Inputs: []string{"", in.Name + ".mean"}},
		{OpType: "Div", Inputs: []string{"", in.Name + ".std"}},
	}
	if p.Planar {
		nodes = append(nodes, Node{OpType: "Transpose", Inputs: []string{""}, Attributes: []Attribute{Ints("perm", 0, 3, 1, 2)}})
	}
	if in.Type != Float32 {
		nodes = append(nodes, Node{OpType: "Cast", Inputs: []string{""}, Attributes: []Attribute{Int("to", int64(in.Type))}})
	}
	for i := range nodes {
		n := &nodes[i]
		n.Name = fmt.Sprintf("%s.%d", in.Name, i)
		n.Outputs = []string{n.Name}
		if i > 0 {
			n.Inputs[0] = nodes[i-1].Name
		}
		if i == len(nodes)-1 {
			n.Outputs[0] = in.Name
		}
		w.nested(graphNode, n.write)
	}
	for _, v := range []ValueInfo{
		{Name: in.Name + ".pixels", Type: Uint8, Dims: append([]Dim{in.Dims[0]}, Fixed(p.Height, p.Width, 3)...)},
		{Name: in.Name + ".mean", Type: Float32, Dims: Fixed(3)},
		{Name: in.Name + ".std", Type: Float32, Dims: Fixed(3)},
	} {
		w.nested(graphInput, v.write)
	}
}

// outputs writes the outputs that can be had in the form.
func (f Form) outputs(w *message, g *Graph) {
	for _, out := range g.AsFloats() {
		as := out.Name + castSuffix
		if q := g.quantizer(out); q != nil {
			n := Node{Name: as + ".dequantize", OpType: "DequantizeLinear", Inputs: append([]string{out.Name}, q.Inputs[1:]...), Outputs: []string{as},
				Attributes: slices.DeleteFunc(slices.Clone(q.Attributes), func(a Attribute) bool { return a.Name != "axis" })}
			w.nested(graphNode, n.write)
			out.Name, out.Type = as, Float32
		} else if !f.keeps(out.Type) {
			w.cast(out.Name, as, Float32)
			out.Name, out.Type = as, Float32
		}
		w.output(out.Name, out.Type)
	}
}

// output writes an output of a type, of a shape that is not declared.
func (w *message) output(name string, t ElemType) {
	w.nested(graphOutput, func(w *message) {
		w.string(1, name)
		w.nested(2, func(w *message) { w.nested(1, func(w *message) { w.int(1, int64(t)) }) })
	})
}

// castSuffix ends the name of a value that stands for another in float32.
const castSuffix = ".float32"

// cast writes a node that casts a value.
func (w *message) cast(from, to string, t ElemType) {
	n := Node{Name: to + ".cast", OpType: "Cast", Inputs: []string{from}, Outputs: []string{to}, Attributes: []Attribute{Int("to", int64(t))}}
	w.nested(graphNode, n.write)
}

// copyFields copies a message, except the fields that replace says are done with.
func copyFields(data []byte, replace func(*message, protobuf.Field) (bool, error)) ([]byte, error) {
	var w message
	for len(data) > 0 {
		_, _, n := protowire.ConsumeField(data)
		if n < 0 {
			return nil, protowire.ParseError(n)
		}
		err := protobuf.Fields(data[:n], func(f protobuf.Field) error {
			done, err := replace(&w, f)
			if !done {
				w = append(w, data[:n]...)
			}
			return err
		})
		if err != nil {
			return nil, err
		}
		data = data[n:]
	}
	return w, nil
}
