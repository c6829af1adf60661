package net

import (
	"errors"
	"slices"

	"facepipe/internal/onnx"
	"facepipe/student/net/layer"
)

// halve has the nodes of a graph from the given one on compute in float16. They take the
// value in and make the value out. Their weights become float16, in is converted before them
// and out behind them; the name of the float32 result is returned. A weight beyond 65504 is
// an error that names it.
func halve(g *layer.Graph, from int, in, out string) (single string, err error) {
	const intoHalf, intoSingle = "to_half", "to_single"
	weights := map[string]bool{}
	for _, n := range g.Nodes[from:] {
		for i, name := range n.Inputs {
			if weights[name] = true; name == in {
				n.Inputs[i] = intoHalf
			}
		}
	}
	for i, t := range g.Initializers {
		if t.Type != onnx.Float32 || !weights[t.Name] || slices.Contains(g.Single, t.Name) {
			continue
		}
		values, wrong := t.Floats()
		err = errors.Join(err, wrong)
		g.Initializers[i], wrong = onnx.HalfTensor(t.Name, values, t.Dims...)
		err = errors.Join(err, wrong)
	}
	cast := func(name, value string, to onnx.ElemType) onnx.Node {
		return onnx.Node{Name: name, OpType: "Cast", Inputs: []string{value}, Outputs: []string{name}, Attributes: []onnx.Attribute{onnx.Int("to", int64(to))}}
	}
	g.Nodes = append(slices.Insert(g.Nodes, from, cast(intoHalf, in, onnx.Float16)), cast(intoSingle, out, onnx.Float32))
	return intoSingle, err
}
