package onnx

import (
	"fmt"
	"slices"

	"google.golang.org/protobuf/encoding/protowire"

	"facepipe/internal/protobuf"
)

// String is the type's name, if pipe uses the type.
func (e ElemType) String() string {
	if name, known := map[ElemType]string{Float32: "float32", Float16: "float16", Float64: "float64", Int64: "int64"}[e]; known {
		return name
	}
	return fmt.Sprintf("element type %d", int32(e))
}

// Castable says that values of a type may be had as float32.
func (e ElemType) Castable() bool { return e == Float32 || e == Float16 || e == Float64 }

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

// InFloat32 rewrites a model's bytes so that its floating-point inputs and outputs are float32
// and cast inside. Outputs of other types are left out. So are the shapes that an exporter
// declared for outputs and between nodes: what the graph computes counts.
func InFloat32(data []byte) ([]byte, error) {
	m, err := Unmarshal(data)
	if err != nil {
		return nil, err
	}
	return copyFields(data, func(w *message, f protobuf.Field) (bool, error) {
		if f.Number != modelGraph {
			return false, nil
		}
		graph, err := m.Graph.inFloat32(f.Bytes)
		w.bytes(modelGraph, graph)
		return true, err
	})
}

func (g *Graph) inFloat32(data []byte) ([]byte, error) {
	var w message
	for _, in := range g.Inputs {
		if in.Type.Castable() && in.Type != Float32 && !g.isWeight(in) {
			w.cast(in.Name+castSuffix, in.Name, in.Type)
			in.Name, in.Type = in.Name+castSuffix, Float32
		}
		w.nested(graphInput, in.write)
	}
	rest, err := copyFields(data, func(_ *message, f protobuf.Field) (bool, error) {
		return f.Number == graphInput || f.Number == graphOutput || f.Number == graphShapes, nil
	})
	w = append(w, rest...)
	for _, out := range g.Outputs {
		if !out.Type.Castable() {
			continue
		}
		if out.Type != Float32 {
			w.cast(out.Name, out.Name+castSuffix, Float32)
			out.Name += castSuffix
		}
		w.nested(graphOutput, func(w *message) {
			w.string(1, out.Name)
			w.nested(2, func(w *message) { w.nested(1, func(w *message) { w.int(1, int64(Float32)) }) })
		})
	}
	return w, err
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
