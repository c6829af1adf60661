package net

import (
	"fmt"

	"facepipe/internal/onnx"
	"facepipe/student/net/layer"
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
func (n *Network) Export(v layer.Values, o ExportOptions) (*onnx.Model, error) {
	if o.Opset == 0 {
		o.Opset = DefaultOpset
	}
	if err := o.Validate(); err != nil {
		return nil, err
	}
	g := &layer.Graph{Graph: onnx.Graph{Name: n.Name}, Values: v, Opset: o.Opset, Half: o.Half}
	x := inputName
	if o.NormaliseInside {
		// The names tell insightface's loaders, too, that pixels go in as they are.
		x = g.Node("Sub", "Sub_mean", []string{x, g.Constant("input.mean", []float32{o.Mean})})
		x = g.Node("Mul", "Mul_scale", []string{x, g.Constant("input.scale", []float32{1 / o.Std})})
	}
	first, in := len(g.Nodes), x
	x = g.Node("Flatten", "flatten", []string{n.root.Export(g, "", x)}, onnx.Int("axis", 1))
	if o.Half {
		var err error
		if x, err = halve(g, first, in, x); err != nil {
			return nil, err
		}
	}
	if o.UnitLength {
		unit(g, x)
	}
	// The last node's output is the graph's.
	g.Nodes[len(g.Nodes)-1].Outputs = []string{outputName}
	g.Inputs = []onnx.ValueInfo{{Name: inputName, Type: onnx.Float32,
		Dims: append([]onnx.Dim{onnx.Variable("N")}, onnx.Fixed(3, int64(o.Size), int64(o.Size))...)}}
	g.Outputs = []onnx.ValueInfo{{Name: outputName, Type: onnx.Float32,
		Dims: append([]onnx.Dim{onnx.Variable("N")}, onnx.Fixed(int64(n.Dim))...)}}
	return &onnx.Model{IRVersion: irVersions[o.Opset-firstOpset], OpsetVersion: o.Opset, Producer: o.Producer, Version: o.Version,
		Metadata: o.Metadata, Graph: g.Graph}, nil
}

// unit divides rows by their length.
func unit(g *layer.Graph, x string) {
	// Shorter ones become zero, as they would by a division of zero by a small number.
	const shortest = 1e-12
	length := ""
	if g.Opset >= 18 {
		g.Initializers = append(g.Initializers, onnx.IntTensor("unit.axes", []int64{1}, 1))
		length = g.Node("ReduceL2", "length", []string{x, "unit.axes"}, onnx.Int("keepdims", 1))
	} else {
		length = g.Node("ReduceL2", "length", []string{x}, onnx.Ints("axes", 1), onnx.Int("keepdims", 1))
	}
	length = g.Node("Max", "positive", []string{length, g.Constant("unit.shortest", []float32{shortest})})
	g.Node("Div", "unit", []string{x, length})
}
