package net

import (
	"fmt"

	"facepipe/internal/onnx"
)

// Names in what is exported.
const (
	inputName  = "input"
	outputName = "embedding"
)

// DefaultOpset is old enough for every runtime in use on devices, and has all that the
// networks need.
const DefaultOpset = 13

// irVersions are the versions of the file format that came with each version of the
// default operator set, from the first one that can be asked for: runtimes refuse a format
// that is newer than they are.
var irVersions = []int64{6, 7, 7, 7, 8, 8, 8, 8, 9, 9, 10}

const (
	firstOpset = 11
	lastOpset  = 21
)

// ExportOptions tune the ONNX file.
type ExportOptions struct {
	// Size is the side of the input crop in pixels.
	Size int
	// Mean and Std normalise pixels as (x - Mean)/Std.
	Mean, Std float32
	// NormaliseInside puts that into the graph, which then takes 0 to 255.
	NormaliseInside bool
	// UnitLength divides the embedding by its length within the graph.
	UnitLength bool
	// Half computes in float16. Input and output, with what normalises them, stay float32.
	Half bool
	// Opset is the version of the operators, 11 to 21; 0 takes [DefaultOpset].
	Opset int64
	// Producer and Version name the program.
	Producer, Version string
	// Metadata goes into the file as it is.
	Metadata []onnx.Property
}

// Validate reports a version of the operators that there is not.
func (o ExportOptions) Validate() error {
	if o.Opset != 0 && (o.Opset < firstOpset || o.Opset > lastOpset) {
		return fmt.Errorf("opset %d is not in %d to %d", o.Opset, firstOpset, lastOpset)
	}
	return nil
}

// Export writes the network with the values v as an ONNX model with input N×3×Size×Size
// and output embedding N×d, for any N. Batch normalisation is folded into the
// convolutions, with the running statistics. In float16 a folded weight beyond 65504 is an
// error that names it.
func (n *Network) Export(v Values, o ExportOptions) (*onnx.Model, error) {
	if o.Opset == 0 {
		o.Opset = DefaultOpset
	}
	if err := o.Validate(); err != nil {
		return nil, err
	}
	g := &graphWriter{values: v, graph: onnx.Graph{Name: n.Name}, opset: o.Opset}
	x := inputName
	if o.NormaliseInside {
		// The names tell insightface's loaders, too, that pixels go in as they are.
		x = g.node("Sub", "Sub_mean", []string{x, g.constant("input.mean", []float32{o.Mean})})
		x = g.node("Mul", "Mul_scale", []string{x, g.constant("input.scale", []float32{1 / o.Std})})
	}
	first, in := len(g.graph.Nodes), x
	x = g.node("Flatten", "flatten", []string{n.root.export(g, "", x)}, onnx.Int("axis", 1))
	if o.Half {
		var err error
		if x, err = halve(&g.graph, first, in, x); err != nil {
			return nil, err
		}
	}
	if o.UnitLength {
		g.unit(x)
	}
	// The last node's output is the graph's.
	g.graph.Nodes[len(g.graph.Nodes)-1].Outputs = []string{outputName}
	g.graph.Inputs = []onnx.ValueInfo{{Name: inputName, Type: onnx.Float32,
		Dims: append([]onnx.Dim{onnx.Variable("N")}, onnx.Fixed(3, int64(o.Size), int64(o.Size))...)}}
	g.graph.Outputs = []onnx.ValueInfo{{Name: outputName, Type: onnx.Float32,
		Dims: append([]onnx.Dim{onnx.Variable("N")}, onnx.Fixed(int64(n.Dim))...)}}
	return &onnx.Model{IRVersion: irVersions[o.Opset-firstOpset], OpsetVersion: o.Opset, Producer: o.Producer, Version: o.Version,
		Metadata: o.Metadata, Graph: g.graph}, nil
}

// graphWriter collects the nodes and weights of an ONNX graph.
type graphWriter struct {
	graph   onnx.Graph
	values  Values
	weights []weight
	opset   int64
}

// weight is an initializer of the graph, and what it says of the network.
type weight struct {
	name  string
	param *Param
	dims  []int64
	// folded is the norm that the convolution or linear layer has taken in, whose param is
	// its weight or, in place of a bias, the norm's; nil for what is exported as it is.
	folded *norm
	// absorbed is another parameter that is in the folded ones, or nil.
	absorbed *Param
}

// node adds an operator with one output, which has the node's name, and returns
// that name.
func (g *graphWriter) node(op, name string, inputs []string, attributes ...onnx.Attribute) string {
	g.graph.Nodes = append(g.graph.Nodes, onnx.Node{Name: name, OpType: op, Inputs: inputs,
		Outputs: []string{name}, Attributes: attributes})
	return name
}

// constant adds numbers that are no parameter of the network and returns their name. No
// dims make a vector.
func (g *graphWriter) constant(name string, v []float32, dims ...int64) string {
	if dims == nil {
		dims = []int64{int64(len(v))}
	}
	g.graph.Initializers = append(g.graph.Initializers, onnx.FloatTensor(name, v, dims...))
	return name
}

// weight adds the values v of a parameter and returns their name. No dims make a vector.
func (g *graphWriter) weight(name string, p *Param, v []float32, dims ...int64) string {
	return g.folded(name, p, nil, v, dims...)
}

// folded adds values that a norm was folded into: a weight of what it follows or, as the
// bias, the norm's own.
func (g *graphWriter) folded(name string, p *Param, n *norm, v []float32, dims ...int64) string {
	name = g.constant(name, v, dims...)
	last := g.graph.Initializers[len(g.graph.Initializers)-1]
	g.weights = append(g.weights, weight{name: name, param: p, dims: last.Dims, folded: n})
	return name
}

// unit divides rows by their length.
func (g *graphWriter) unit(x string) {
	// Shorter ones become zero, as they would by a division of zero by a small number.
	const shortest = 1e-12
	length := ""
	if g.opset >= 18 {
		g.graph.Initializers = append(g.graph.Initializers, onnx.IntTensor("unit.axes", []int64{1}, 1))
		length = g.node("ReduceL2", "length", []string{x, "unit.axes"}, onnx.Int("keepdims", 1))
	} else {
		length = g.node("ReduceL2", "length", []string{x}, onnx.Ints("axes", 1), onnx.Int("keepdims", 1))
	}
	length = g.node("Max", "positive", []string{length, g.constant("unit.shortest", []float32{shortest})})
	g.node("Div", "unit", []string{x, length})
}

// export writes the convolution with the norm folded in, then the activation.
func (l *convNorm) export(g *graphWriter, prefix, input string) string {
	weight, bias := l.folded(g.values)
	k, near, far := int64(l.kernel), int64(l.padding), int64(l.padding+l.far)
	y := g.node("Conv", prefix+"conv", []string{input,
		g.folded(prefix+"weight", &l.weight, &l.norm, weight, int64(l.out), int64(l.in/l.groups), k, k),
		g.folded(prefix+"bias", &l.norm.beta, &l.norm, bias)},
		onnx.Ints("kernel_shape", k, k), onnx.Ints("strides", int64(l.stride), int64(l.stride)),
		onnx.Ints("pads", near, near, far, far), onnx.Ints("dilations", 1, 1), onnx.Int("group", int64(l.groups)))
	if l.linear {
		return y
	}
	return g.node("PRelu", prefix+"prelu", []string{y, g.weight(prefix+"slope", &l.slope, g.values[&l.slope], int64(l.out), 1, 1)})
}

// folded is the convolution that does what this one and its norm do:
// weight·γ/σ and β - mean·γ/σ for each output channel.
func (l *convNorm) folded(values Values) (weight, bias []float32) {
	raw := values[&l.weight]
	weight, bias = make([]float32, len(raw)), make([]float32, l.out)
	each := len(raw) / l.out
	for c := range l.out {
		scale, offset := l.norm.line(values, c)
		bias[c] = float32(offset)
		for i := c * each; i < (c+1)*each; i++ {
			weight[i] = float32(float64(raw[i]) * scale)
		}
	}
	return weight, bias
}
