package onnx

import "slices"

// Parameters are the numbers in a graph's weights, by the type that they are stored in. What
// counts is
//
//   - what a layer takes as its weight or bias: a kernel, a matrix, the scale and offset of a
//     norm, the slopes of PRelu;
//   - any other tensor of more than 4 floating-point numbers, such as the scale and offset of
//     a norm that is spelled out, positions and class tokens. Fewer are constants: a mean of
//     three channels, the root of a half.
//
// Running statistics, and scales and zero points of quantizers, are not trained and do not
// count. Where an exporter has folded a norm into the layer before it, the norm's scales are
// not in the file and are not counted. A tensor counts once, and only if an output needs it.
// A mask of numbers, such as that of shifted windows, cannot be told from a weight.
func (g *Graph) Parameters() (map[ElemType]int64, error) {
	f, err := g.flow()
	if err != nil {
		return nil, err
	}
	p := parameters{}
	tensors := map[string]*Tensor{}
	for i := range g.Initializers {
		tensors[g.Initializers[i].Name] = &g.Initializers[i]
	}
	for i := range g.Nodes {
		n := &g.Nodes[i]
		if !f.needed[i] {
			continue
		}
		for k, name := range f.reads[i] {
			p[name] = append(p[name], reader{n, k})
		}
		if t := n.tensor(); t != nil {
			tensors[n.Outputs[0]] = t
		}
	}
	counts := map[ElemType]int64{}
	for name, t := range tensors {
		elements := shape(t.Dims).size()
		if elements > 0 && p.trained(name, elements, t.Type.IsFloat(), map[string]bool{}) {
			counts[t.Type] += int64(min(elements, maxElements))
		}
	}
	return counts, nil
}

// parameters are the readers of values.
type parameters map[string][]reader

// reader is a node that reads a value, and the place among its inputs.
type reader struct {
	*Node
	place int
}

// tensor is what a Constant node holds as one.
func (n *Node) tensor() *Tensor {
	if n.OpType == "Constant" && len(n.Attributes) == 1 {
		return n.Attributes[0].Tensor
	}
	return nil
}

// passing are operators that give their first input another form.
var passing = []string{"Cast", "Transpose", "Reshape", "Flatten", "Squeeze", "Unsqueeze", "Identity", "Expand", "QuantizeLinear", "DequantizeLinear"}

// maxElements bounds the elements of one tensor, whatever a file claims.
const maxElements = 1 << 31

// fewConstants is the most numbers that are taken for constants.
const fewConstants = 4

// trained says that a value, floating-point or not, is read as a weight. seen are values that
// need not be looked at again.
func (p parameters) trained(name string, elements float64, float bool, seen map[string]bool) bool {
	if seen[name] {
		return false
	}
	seen[name] = true
	return slices.ContainsFunc(p[name], func(r reader) bool {
		op, known := operators[r.name()]
		switch {
		case r.place == 0 && slices.Contains(passing, r.OpType):
			return p.trained(r.Outputs[0], elements, float || r.OpType == "DequantizeLinear", seen)
		case known:
			return slices.Contains(op.trained, r.place)
		}
		return float && elements > fewConstants
	})
}
