package layer

import "facepipe/internal/onnx"

// Graph is an ONNX graph that layers write themselves into.
type Graph struct {
	onnx.Graph
	// Values are what the parameters hold.
	Values Values
	// Opset is the version of the operators.
	Opset int64
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
