package layer

import "facepipe/internal/onnx"

// Graph is an ONNX graph that layers write themselves into.
type Graph struct {
	onnx.Graph
	// Values are what the parameters hold.
	Values Values
	// Opset is the version of the operators.
	Opset int64
	// Half is whether the layers' nodes are to compute in float16, but for Single, constants
	// that are to stay in float32.
	Half   bool
	Single []string
	// Weights are the initializers that come from parameters.
	Weights []Weight
}

// Weight is an initializer of a graph, and what it says of the network.
type Weight struct {
	Name  string
	Param *Param
	// Folded is the norm that the convolution or linear layer has taken in, whose Param is
	// its weight or, in place of a bias, the norm's; nil for what is exported as it is.
	Folded *Norm
	// Absorbed is another parameter that is in the folded ones, or nil.
	Absorbed *Param
}

// IsOffset is whether the weight is the offset of a norm that was folded away.
func (w *Weight) IsOffset() bool { return w.Folded != nil && w.Param == w.Folded.beta }

// Node adds an operator with one output, which has the node's name, and returns
// that name.
func (g *Graph) Node(op, name string, inputs []string, attributes ...onnx.Attribute) string {
	g.Nodes = append(g.Nodes, onnx.Node{Name: name, OpType: op, Inputs: inputs, Outputs: []string{name}, Attributes: attributes})
	return name
}

// Constant adds numbers that are no parameter of the network and returns their name. No
// dims make a vector.
func (g *Graph) Constant(name string, v []float32, dims ...int64) string {
	if dims == nil {
		dims = []int64{int64(len(v))}
	}
	g.Initializers = append(g.Initializers, onnx.FloatTensor(name, v, dims...))
	return name
}

// Integers adds whole numbers and returns their name. No dims make a single one.
func (g *Graph) Integers(name string, v []int64, dims ...int64) string {
	g.Initializers = append(g.Initializers, onnx.IntTensor(name, v, dims...))
	return name
}

// Reshape gives a value another shape, of which one may be -1, and 0 is as before.
func (g *Graph) Reshape(name, input string, shape ...int64) string {
	return g.Node("Reshape", name, []string{input, g.Integers(name+".shape", shape, int64(len(shape)))})
}

// lastMean is the mean over the last dimension, which stays as one of 1. Only graphs that
// have no LayerNormalization ask for it: later ones take the dimension in another way.
func (g *Graph) lastMean(name, input string) string {
	return g.Node("ReduceMean", name, []string{input}, onnx.Ints("axes", -1), onnx.Int("keepdims", 1))
}

// single is a value in float32, whatever the graph is to be in; half takes it back.
func (g *Graph) single(name, input string) string { return g.cast(name, input, onnx.Float32) }
func (g *Graph) half(name, input string) string   { return g.cast(name, input, onnx.Float16) }

func (g *Graph) cast(name, input string, to onnx.ElemType) string {
	if !g.Half {
		return input
	}
	return g.Node("Cast", name, []string{input}, onnx.Int("to", int64(to)))
}

// keepSingle has a constant stay in float32.
func (g *Graph) keepSingle(constant string) { g.Single = append(g.Single, constant) }

// Weight adds a parameter as it is and returns its name in the graph. No dims make a vector.
func (g *Graph) Weight(name string, p *Param, dims ...int64) string {
	g.Weights = append(g.Weights, Weight{Name: name, Param: p})
	return g.Constant(name, g.Values[p], dims...)
}

// folded adds the weight, of some dims, and the bias (0 where nil) of a layer that a norm is
// folded into, and returns the names of both.
func (g *Graph) folded(prefix string, weight, bias *Param, n *Norm, dims ...int64) []string {
	g.Weights = append(g.Weights, Weight{Name: prefix + "weight", Param: weight, Folded: n},
		Weight{Name: prefix + "bias", Param: n.beta, Folded: n, Absorbed: bias})
	w, b := n.fold(g.Values, weight, bias)
	return []string{g.Constant(prefix+"weight", w, dims...), g.Constant(prefix+"bias", b)}
}
