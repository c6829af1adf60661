package net

import (
	"fmt"
	"math"
	"strings"

	"facepipe/internal/onnx"
	"facepipe/student/net/layer"
)

// layerWeight is a weight of an ONNX graph by what it is to the layer that has it.
type layerWeight struct {
	Tensor
	name string // of the initializer, "" for the bias of a layer without
	role string // kind of layer and of weight, such as "Conv bias"
}

// layerWeights lists the weights that a value of a graph depends on, in an order that is
// the same for every graph of the same layers: each layer's after those of its inputs, in
// their order. Sums and batch normalisation right behind a convolution or a linear layer
// are folded into that.
func layerWeights(g *onnx.Graph, value string) ([]layerWeight, error) {
	r := layerReader{producers: map[string]*onnx.Node{}, consumers: map[string]int{}, tensors: map[string]onnx.Tensor{},
		done: map[*onnx.Node]bool{}, linear: map[string]int{}, scaled: map[string]bool{}}
	for _, t := range g.Initializers {
		r.tensors[t.Name] = t
	}
	for i := range g.Nodes {
		n := &g.Nodes[i]
		for _, out := range n.Outputs {
			r.producers[out] = n
		}
		for _, in := range n.Inputs {
			r.consumers[in]++
		}
	}
	return r.list, r.read(value)
}

type layerReader struct {
	producers map[string]*onnx.Node
	consumers map[string]int // how many nodes take a value
	tensors   map[string]onnx.Tensor
	done      map[*onnx.Node]bool
	// linear is where in list the weight is, with its bias behind it, of the layer that
	// makes a value.
	linear map[string]int
	// scaled are the values of layers' normalisations that lack the offset.
	scaled map[string]bool
	list   []layerWeight
}

// read appends the weights on which a value depends.
func (r *layerReader) read(value string) error {
	node := r.producers[value]
	if node == nil || r.done[node] {
		return nil
	}
	r.done[node] = true
	for _, in := range node.Inputs {
		if err := r.read(in); err != nil {
			return err
		}
	}
	if err := r.layer(node, value); err != nil {
		return fmt.Errorf("node %s (%s): %w", node.Name, node.OpType, err)
	}
	return nil
}

// layer appends the weights of the node that makes a value.
func (r *layerReader) layer(node *onnx.Node, value string) error {
	switch node.OpType {
	case "Conv", "Gemm":
		return r.readLinear(node, value)
	case "MatMul":
		if _, ok := r.tensors[input(node, 1)]; ok {
			return r.readLinear(node, value)
		}
	case "Add":
		return r.sum(node, value)
	case "PRelu":
		return r.add(node, 1, "slope")
	case "LayerNormalization":
		return r.layerNorm(node)
	case "Mul":
		return r.scale(node, value)
	case "Gather":
		return r.addFloats(node, 0, "weight") // a table
	case "Expand":
		return r.addFloats(node, 0, "token") // one for all images
	case "BatchNormalization":
		return r.norm(node, value)
	}
	return nil
}

// input is the name of a node's input i, "" if it has none.
func input(node *onnx.Node, i int) string {
	if i < len(node.Inputs) {
		return node.Inputs[i]
	}
	return ""
}

// floats reads the initializer that is input i of a node.
func (r *layerReader) floats(node *onnx.Node, i int) (shape []int, data []float32, err error) {
	name := input(node, i)
	t, ok := r.tensors[name]
	if !ok {
		return nil, nil, fmt.Errorf("its input %d (%s) is no initializer", i, name)
	}
	if data, err = t.Floats(); err != nil {
		return nil, nil, err
	}
	for _, d := range t.Dims {
		if d < 0 {
			return nil, nil, fmt.Errorf("tensor %s has shape %v", name, t.Dims)
		}
		shape = append(shape, int(d))
	}
	if product(shape) != len(data) {
		return nil, nil, fmt.Errorf("tensor %s of shape %v has %d values", name, shape, len(data))
	}
	return shape, data, nil
}

// layerNorm appends scale and offset. What is left out is one and nothing.
func (r *layerReader) layerNorm(node *onnx.Node) error {
	for i, what := range []string{"scale", "offset"} {
		if input(node, i+1) == "" {
			continue
		}
		if err := r.add(node, i+1, what); err != nil {
			return err
		}
	}
	return nil
}

// scale appends the scale of a layer's normalisation that is written out: the numbers by
// which a quotient is multiplied.
func (r *layerReader) scale(node *onnx.Node, value string) error {
	if by := r.producers[input(node, 0)]; by == nil || by.OpType != "Div" {
		return nil
	}
	r.scaled[value] = true
	return r.addFloats(node, 1, "scale")
}

// addFloats appends input i of a node if it is an initializer of floats.
func (r *layerReader) addFloats(node *onnx.Node, i int, what string) error {
	if t, ok := r.tensors[input(node, i)]; ok && (t.Type == onnx.Float32 || t.Type == onnx.Float16) {
		return r.add(node, i, what)
	}
	return nil
}

// add appends the initializer that is input i of a node: of a layer's kind, which is what
// the node's operator is called. All but matrices and kernels are of one dimension,
// whatever they are broadcast along.
func (r *layerReader) add(node *onnx.Node, i int, what string) error {
	shape, data, err := r.floats(node, i)
	if err != nil {
		return err
	}
	kind := node.OpType
	if other := map[string]string{"MatMul": "Gemm", "Mul": "LayerNormalization", "Add": "LayerNormalization"}[kind]; other != "" {
		kind = other // another name for the same
	}
	if what != "weight" {
		shape = []int{len(data)}
	}
	r.list = append(r.list, layerWeight{Tensor{shape, data}, input(node, i), kind + " " + what})
	return nil
}

// readLinear appends weight and bias of a linear layer or a convolution; a bias that is
// not there is zero.
func (r *layerReader) readLinear(node *onnx.Node, value string) error {
	at := len(r.list)
	if err := r.add(node, 1, "weight"); err != nil {
		return err
	}
	w := &r.list[at]
	if len(w.Shape) < 2 {
		return fmt.Errorf("weight %s has shape %v", w.name, w.Shape)
	}
	if node.OpType != "Conv" {
		if len(w.Shape) != 2 || scaled(node) || attribute(node, "transA").Int != 0 {
			return fmt.Errorf("it is no linear layer: weight %s of shape %v, scaled or transposed input", w.name, w.Shape)
		}
		if attribute(node, "transB").Int == 0 {
			w.transpose()
		}
	}
	r.linear[value] = at
	if node.OpType != "MatMul" && input(node, 2) != "" {
		return r.add(node, 2, "bias")
	}
	out := w.Shape[0]
	role := strings.Replace(w.role, "weight", "bias", 1)
	r.list = append(r.list, layerWeight{Tensor{[]int{out}, make([]float32, out)}, "", role})
	return nil
}

// scaled is whether a Gemm multiplies its product or its bias.
func scaled(node *onnx.Node) bool {
	for _, name := range []string{"alpha", "beta"} {
		if a := attribute(node, name); a.Name != "" && a.Float != 1 {
			return true
		}
	}
	return false
}

// transpose makes an in×out matrix an out×in one.
func (w *layerWeight) transpose() {
	in, out := w.Shape[0], w.Shape[1]
	data := make([]float32, len(w.Data))
	for i := range in {
		for o := range out {
			data[o*in+i] = w.Data[i*out+o]
		}
	}
	w.Shape, w.Data = []int{out, in}, data
}

// before is where the linear layer is that makes a node's input i for it alone.
func (r *layerReader) before(node *onnx.Node, i int) (at int, ok bool) {
	at, ok = r.linear[input(node, i)]
	return at, ok && r.consumers[input(node, i)] == 1
}

// sum folds numbers that are added to a linear layer's output, one a channel, into it.
// Other sums have no weights.
func (r *layerReader) sum(node *onnx.Node, value string) error {
	if r.scaled[input(node, 0)] {
		return r.addFloats(node, 1, "offset")
	}
	for i := range 2 {
		at, ok := r.before(node, i)
		if _, constant := r.tensors[input(node, 1-i)]; !ok || !constant {
			continue
		}
		_, data, err := r.floats(node, 1-i)
		if err != nil {
			return err
		}
		bias := &r.list[at+1]
		if len(data) != len(bias.Data) {
			return fmt.Errorf("%d numbers are added to %d channels", len(data), len(bias.Data))
		}
		for c := range data {
			bias.Data[c] += data[c]
		}
		if bias.name == "" {
			bias.name = input(node, 1-i)
		}
		r.linear[value] = at
	}
	return nil
}

// norm appends scale, offset, mean and variance, or folds them into the layer before.
func (r *layerReader) norm(node *onnx.Node, value string) error {
	at := len(r.list)
	for i, what := range []string{"scale", "offset", "mean", "variance"} {
		if err := r.add(node, i+1, what); err != nil {
			return err
		}
	}
	eps := attribute(node, "epsilon").Float
	if eps == 0 {
		eps = 1e-5 // the standard's default
	}
	four := r.list[at:]
	channels := len(four[0].Data)
	for _, w := range four {
		if len(w.Data) != channels {
			return fmt.Errorf("%d and %d values for its channels", channels, len(w.Data))
		}
	}
	before, ok := r.before(node, 0)
	if !ok {
		variance := four[3].Data
		for i := range variance {
			variance[i] += eps - layer.NormEps
		}
		return nil
	}
	r.list = r.list[:at]
	r.linear[value] = before
	return fold(&r.list[before], &r.list[before+1], four, float64(eps))
}

// fold puts a norm's scale, offset, mean and variance into a layer's weight and bias.
func fold(weight, bias *layerWeight, norm []layerWeight, eps float64) error {
	channels := weight.Shape[0]
	if len(norm[0].Data) != channels || len(bias.Data) != channels {
		return fmt.Errorf("%d channels behind a layer with %d and %d biases", len(norm[0].Data), channels, len(bias.Data))
	}
	each := len(weight.Data) / max(1, channels)
	for c := range channels {
		scale := float64(norm[0].Data[c]) / math.Sqrt(float64(norm[3].Data[c])+eps)
		bias.Data[c] = float32((float64(bias.Data[c])-float64(norm[2].Data[c]))*scale + float64(norm[1].Data[c]))
		for i := c * each; i < (c+1)*each; i++ {
			weight.Data[i] = float32(float64(weight.Data[i]) * scale)
		}
	}
	return nil
}

// attribute is a node's, or one of zeros.
func attribute(node *onnx.Node, name string) onnx.Attribute {
	for _, a := range node.Attributes {
		if a.Name == name {
			return a
		}
	}
	return onnx.Attribute{}
}
