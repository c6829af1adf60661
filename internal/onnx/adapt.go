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

// IsFloat32 says that all inputs and outputs are.
func (g *Graph) IsFloat32() bool {
	return !slices.ContainsFunc(slices.Concat(g.Images(), g.Outputs), func(v ValueInfo) bool { return v.Type != Float32 })
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

// InFloat32 rewrites a model's bytes so that its inputs and outputs are float32 and cast
// inside; quantized outputs are dequantized. Outputs that are not among [Graph.AsFloats] are
// left out. So are the shapes that an exporter declared for outputs and between nodes: what
// the graph computes counts.
func InFloat32(data []byte) ([]byte, error) {
	m, err := Unmarshal(data)
	if err != nil {
		return nil, err
	}
	return withOutputs(data, &m.Graph, (*message).floatOutputs)
}

// withOutputs rewrites a model's bytes so that its inputs are float32, and its outputs those
// that a function writes.
func withOutputs(data []byte, g *Graph, outputs func(*message, *Graph)) ([]byte, error) {
	return copyFields(data, func(w *message, f protobuf.Field) (bool, error) {
		if f.Number != modelGraph {
			return isSeal(f), nil
		}
		graph, err := g.floatInputs(f.Bytes)
		outputs(&graph, g)
		w.bytes(modelGraph, graph)
		return true, err
	})
}

// floatInputs copies a graph without outputs, with inputs that are float32.
func (g *Graph) floatInputs(data []byte) (message, error) {
	var w message
	for _, in := range g.Inputs {
		if _, castable := elemTypes[in.Type]; castable && in.Type != Float32 && !g.isWeight(in) {
			w.cast(in.Name+castSuffix, in.Name, in.Type)
			in.Name, in.Type = in.Name+castSuffix, Float32
		}
		w.nested(graphInput, in.write)
	}
	rest, err := copyFields(data, func(_ *message, f protobuf.Field) (bool, error) {
		return f.Number == graphInput || f.Number == graphOutput || f.Number == graphShapes, nil
	})
	return append(w, rest...), err
}

// floatOutputs writes the outputs that can be had as float32.
func (w *message) floatOutputs(g *Graph) {
	for _, out := range g.AsFloats() {
		as := out.Name + castSuffix
		if q := g.quantizer(out); q != nil {
			n := Node{Name: as + ".dequantize", OpType: "DequantizeLinear", Inputs: append([]string{out.Name}, q.Inputs[1:]...), Outputs: []string{as},
				Attributes: slices.DeleteFunc(slices.Clone(q.Attributes), func(a Attribute) bool { return a.Name != "axis" })}
			w.nested(graphNode, n.write)
			out.Name = as
		} else if out.Type != Float32 {
			w.cast(out.Name, as, Float32)
			out.Name = as
		}
		w.floatOutput(out.Name)
	}
}

// floatOutput writes an output that is float32, of a shape that is not declared.
func (w *message) floatOutput(name string) {
	w.nested(graphOutput, func(w *message) {
		w.string(1, name)
		w.nested(2, func(w *message) { w.nested(1, func(w *message) { w.int(1, int64(Float32)) }) })
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
