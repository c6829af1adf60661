package net

import (
	"fmt"

	"facepipe/internal/onnx"
	"facepipe/student/torch"
)

// Names and versions of what is exported.
const (
	inputName  = "input"
	outputName = "embedding"
	// opset 13 and IR version 7 are old enough for every runtime in use on devices,
	// and have all that these graphs need.
	opsetVersion = 13
	irVersion    = 7
)

// ExportOptions tune the ONNX file.
type ExportOptions struct {
	// Size is the side of the input crop in pixels.
	Size int
	// Mean and Std normalise pixels as (x - Mean)/Std.
	Mean, Std float32
	// NormaliseInside puts that into the graph, which then takes 0 to 255.
	NormaliseInside bool
	// Producer and Version name the program.
	Producer, Version string
	// Metadata goes into the file as it is.
	Metadata []onnx.Property
}

// Export writes the network as an ONNX model with input N×3×Size×Size and output
// embedding N×d, raw, for any N. Batch normalisation is folded into the
// convolutions, with the running statistics.
func (n *Network) Export(s *torch.Scope, o ExportOptions) (*onnx.Model, error) {
	g := &graphWriter{values: map[*Param][]float32{}, graph: onnx.Graph{Name: n.Name}}
	for _, p := range n.params {
		g.values[p] = s.Floats(p.tensor)
	}
	if err := s.Err(); err != nil {
		return nil, fmt.Errorf("read the weights for export: %w", err)
	}
	x := inputName
	if o.NormaliseInside {
		// The names tell insightface's loaders, too, that pixels go in as they are.
		x = g.node("Sub", "Sub_mean", []string{x, g.floats("input.mean", []float32{o.Mean})})
		x = g.node("Mul", "Mul_scale", []string{x, g.floats("input.scale", []float32{1 / o.Std})})
	}
	x = n.root.export(g, "", x)
	g.finish(x)
	g.graph.Inputs = []onnx.ValueInfo{{Name: inputName, Type: onnx.Float32,
		Dims: append([]onnx.Dim{onnx.Variable("N")}, onnx.Fixed(3, int64(o.Size), int64(o.Size))...)}}
	g.graph.Outputs = []onnx.ValueInfo{{Name: outputName, Type: onnx.Float32,
		Dims: append([]onnx.Dim{onnx.Variable("N")}, onnx.Fixed(int64(n.Dim))...)}}
	return &onnx.Model{IRVersion: irVersion, OpsetVersion: opsetVersion, Producer: o.Producer, Version: o.Version,
		Metadata: o.Metadata, Graph: g.graph}, nil
}

// graphWriter collects the nodes and weights of an ONNX graph.
type graphWriter struct {
	graph  onnx.Graph
	values map[*Param][]float32
}

// node adds an operator with one output, which has the node's name, and returns
// that name.
func (g *graphWriter) node(op, name string, inputs []string, attributes ...onnx.Attribute) string {
	g.graph.Nodes = append(g.graph.Nodes, onnx.Node{Name: name, OpType: op, Inputs: inputs,
		Outputs: []string{name}, Attributes: attributes})
	return name
}

// floats adds weights and returns their name. No dims make a vector.
func (g *graphWriter) floats(name string, v []float32, dims ...int64) string {
	if dims == nil {
		dims = []int64{int64(len(v))}
	}
	g.graph.Initializers = append(g.graph.Initializers, onnx.FloatTensor(name, v, dims...))
	return name
}

// finish flattens N×d×1×1 to the embedding.
func (g *graphWriter) finish(x string) {
	g.graph.Nodes = append(g.graph.Nodes, onnx.Node{Name: "flatten", OpType: "Flatten",
		Inputs: []string{x}, Outputs: []string{outputName}, Attributes: []onnx.Attribute{onnx.Int("axis", 1)}})
}

// export writes the convolution with the norm folded in, then the activation.
func (l *convNorm) export(g *graphWriter, prefix, input string) string {
	weight, bias := l.folded(g.values)
	k, p := int64(l.kernel), int64(l.padding)
	y := g.node("Conv", prefix+"conv", []string{input,
		g.floats(prefix+"weight", weight, int64(l.out), int64(l.in/l.groups), k, k), g.floats(prefix+"bias", bias)},
		onnx.Ints("kernel_shape", k, k), onnx.Ints("strides", int64(l.stride), int64(l.stride)),
		onnx.Ints("pads", p, p, p, p), onnx.Ints("dilations", 1, 1), onnx.Int("group", int64(l.groups)))
	if l.linear {
		return y
	}
	return g.node("PRelu", prefix+"prelu", []string{y, g.floats(prefix+"slope", g.values[&l.slope], int64(l.out), 1, 1)})
}

// folded is the convolution that does what this one and its norm do:
// weight·γ/σ and β - mean·γ/σ for each output channel.
func (l *convNorm) folded(values map[*Param][]float32) (weight, bias []float32) {
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
