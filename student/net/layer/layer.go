// Package layer holds what the student networks are built of. A layer knows how to run on the
// training engine and how to write itself into an ONNX graph, so that the two cannot drift
// apart. Package net lays layers out.
package layer

import "facepipe/student/torch"

// Layer is one node of the tree that a network is.
type Layer interface {
	// Register declares the layer's parameters under a prefix. It comes before all else.
	Register(prefix string, add func(*Param))
	// Forward runs the layer on images N×C×H×W.
	Forward(p *Pass, x torch.Tensor) torch.Tensor
	// Export writes the layer to an ONNX graph and returns its output's name.
	Export(g *Graph, prefix, input string) string
	// Cost is what the layer makes of one image of a shape, and how many multiplications
	// of a weight and a value that takes.
	Cost(in Shape) (out Shape, macs int64)
}

// Shape is that of one image's activations.
type Shape struct{ Channels, Height, Width int }

// Pass is one forward pass through a network.
type Pass struct {
	// Scope owns what the layers make.
	Scope *torch.Scope
	// Training is whether norms take the batch's statistics and move their running ones.
	Training bool
	// DType is the type of activations and convolutions.
	DType torch.DType
	// Chance, unless nil, is what is dropped at random in training; see [DropPath].
	Chance *Chance
	// Observe, unless nil, is told what each norm gets, outside training.
	Observe func(l *Norm, x torch.Tensor)
}

// Sequence runs layers one after the other.
type Sequence struct {
	Names  []string // by which parameters and nodes of each layer are called
	Layers []Layer
}

// Add appends a layer under a name.
func (q *Sequence) Add(name string, l Layer) {
	q.Names = append(q.Names, name)
	q.Layers = append(q.Layers, l)
}

// Register declares the parameters of all layers.
func (q *Sequence) Register(prefix string, add func(*Param)) {
	for i, l := range q.Layers {
		l.Register(prefix+q.Names[i]+".", add)
	}
}

// Forward runs the layers.
func (q *Sequence) Forward(p *Pass, x torch.Tensor) torch.Tensor {
	for _, l := range q.Layers {
		x = l.Forward(p, x)
	}
	return x
}

// forwardAdd adds a residual to the output of the last layer.
func (q *Sequence) forwardAdd(p *Pass, x, residual torch.Tensor) torch.Tensor {
	last := len(q.Layers) - 1
	for _, l := range q.Layers[:last] {
		x = l.Forward(p, x)
	}
	return forwardAdd(p, q.Layers[last], x, residual)
}

// Export writes the layers.
func (q *Sequence) Export(g *Graph, prefix, input string) string {
	for i, l := range q.Layers {
		input = l.Export(g, prefix+q.Names[i]+".", input)
	}
	return input
}

// Cost is the sum of the layers'.
func (q *Sequence) Cost(in Shape) (out Shape, macs int64) {
	for _, l := range q.Layers {
		var one int64
		in, one = l.Cost(in)
		macs += one
	}
	return in, macs
}

// Residual adds its input to what Body makes of it. Where Shortcut is not nil, it adds what
// that makes of the input.
type Residual struct{ Body, Shortcut Layer }

// Register declares the parameters of both ways.
func (l Residual) Register(prefix string, add func(*Param)) {
	l.Body.Register(prefix, add)
	if l.Shortcut != nil {
		l.Shortcut.Register(prefix+"shortcut.", add)
	}
}

// Forward runs both ways and adds them.
func (l Residual) Forward(p *Pass, x torch.Tensor) torch.Tensor {
	beside := x
	if l.Shortcut != nil {
		beside = l.Shortcut.Forward(p, x)
	}
	return forwardAdd(p, l.Body, x, beside)
}

// adder is a layer that can add a residual to its output in the same pass.
type adder interface {
	forwardAdd(p *Pass, x, residual torch.Tensor) torch.Tensor
}

// forwardAdd runs a layer on x and adds a residual to its output.
func forwardAdd(p *Pass, l Layer, x, residual torch.Tensor) torch.Tensor {
	if a, ok := l.(adder); ok {
		return a.forwardAdd(p, x, residual)
	}
	return p.Scope.Add(l.Forward(p, x), residual)
}

// Export writes both ways and their sum.
func (l Residual) Export(g *Graph, prefix, input string) string {
	beside := input
	if l.Shortcut != nil {
		beside = l.Shortcut.Export(g, prefix+"shortcut.", input)
	}
	return g.Node("Add", prefix+"add", []string{l.Body.Export(g, prefix, input), beside})
}

// Cost is the sum of both ways'.
func (l Residual) Cost(in Shape) (out Shape, macs int64) {
	out, macs = l.Body.Cost(in)
	if l.Shortcut != nil {
		_, beside := l.Shortcut.Cost(in)
		macs += beside
	}
	return out, macs
}
