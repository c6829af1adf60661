// Package net holds the student networks. A network is a tree of layers; each
// layer knows how to run on the training engine and how to write itself into an
// ONNX graph, so that the two cannot drift apart.
//
// Every network maps a batch of crops N×3×112×112, normalised to about [-1, 1],
// to raw (not normalised) embeddings N×d in float32.
package net

import (
	"fmt"
	"math"
	"math/rand/v2"

	"facepipe/student/torch"
)

// Param is one named tensor of a network.
type Param struct {
	// Name is stable between versions, e.g. "stage3.block2.expand.conv.weight".
	Name string
	// Shape of the tensor, e.g. out×in×k×k of a convolution.
	Shape []int
	// Trained is false for running statistics, which no gradient moves.
	Trained bool
	// Decay is false for the parameters of norms and slopes of activations, which
	// weight decay would only harm.
	Decay bool

	tensor torch.Tensor
	init   func(rng *rand.Rand, data []float32)
}

// NewParam declares a trained, decaying parameter that init fills.
func NewParam(name string, shape []int, init func(rng *rand.Rand, data []float32)) *Param {
	return &Param{Name: name, Shape: shape, Trained: true, Decay: true, init: init}
}

// Materialise creates parameters in a scope on a device, initialised from the
// seed: the same seed gives the same values everywhere.
func Materialise(s *torch.Scope, device string, seed uint64, params []*Param) error {
	for i, p := range params {
		p.tensor = torch.FromData(s, device, p.initial(seed, i), p.Shape...)
		if p.Trained {
			s.RequireGrad(p.tensor, true)
		}
	}
	return s.Err()
}

// Tensor is the parameter inside the engine (after [Network.Materialise]).
func (p *Param) Tensor() torch.Tensor { return p.tensor }

// Elements is the number of values.
func (p *Param) Elements() int {
	n := 1
	for _, d := range p.Shape {
		n *= d
	}
	return n
}

// Network is a student: its layers and their parameters.
type Network struct {
	// Name is the registry's name, e.g. "mobilefacenet".
	Name string
	// Dim is the length of the embedding.
	Dim int
	// Config is what [New] was given, for checkpoints.
	Config Config

	root   layer
	params []*Param
	scope  *torch.Scope
	device string
}

// Config chooses the size of a network.
type Config struct {
	// Dim is the length of the embedding (default 512).
	Dim int `json:"dim" yaml:"dim"`
	// Width scales the number of channels of every inner layer (default 1),
	// rounded to multiples of 8 and at least 8.
	Width float64 `json:"width" yaml:"width"`
}

// channels is a number of channels at this width: n times it, in eights, and at least 8.
func (c Config) channels(n int) int { return max(8, int(math.Round(float64(n)*c.Width/8))*8) }

// layer is one node of the tree.
type layer interface {
	// forward runs the layer.
	forward(r *run, x torch.Tensor) torch.Tensor
	// register declares the layer's parameters under a prefix.
	register(prefix string, add func(*Param))
	// export writes the layer to an ONNX graph and returns its output's name.
	export(g *graphWriter, prefix, input string) string
	// cost is what the layer makes of one image of a shape, and how many multiplications
	// of a weight and a value that takes.
	cost(in shape) (out shape, macs int64)
}

// shape is that of one image's activations.
type shape struct{ channels, height, width int }

// run is one forward pass.
type run struct {
	s        *torch.Scope
	training bool
	dtype    torch.DType // of activations and convolutions
	// observe, unless nil, is told what each norm gets, outside training.
	observe func(l *norm, x torch.Tensor)
}

// New lays out a network; [Network.Materialise] gives it weights. An unknown name
// is an error that lists the known ones.
func New(name string, c Config) (*Network, error) {
	if c.Dim == 0 {
		c.Dim = 512
	}
	if c.Width == 0 {
		c.Width = 1
	}
	if c.Dim < 8 || c.Dim > 4096 {
		return nil, fmt.Errorf("network %s: dim %d is not 8 to 4096", name, c.Dim)
	}
	if !(c.Width >= 0.1 && c.Width <= 8) {
		return nil, fmt.Errorf("network %s: width %g is not 0.1 to 8", name, c.Width)
	}
	a, ok := architectures()[name]
	if !ok {
		return nil, fmt.Errorf("unknown network %q (known: %v)", name, Architectures())
	}
	n := &Network{Name: name, Dim: c.Dim, Config: c, root: a.layout(c)}
	n.root.register("", func(p *Param) { n.params = append(n.params, p) })
	return n, nil
}

// Params lists all parameters and running statistics in the order of the layers.
func (n *Network) Params() []*Param { return n.params }

// Parameters counts the trained values.
func (n *Network) Parameters() int {
	total := 0
	for _, p := range n.params {
		if p.Trained {
			total += p.Elements()
		}
	}
	return total
}

// cropSide is the side of the crops that costs are told for.
const cropSide = 112

// MACs is the number of multiplications of a weight and a value that an embedding of a
// 112×112 crop takes. Norms, which are folded into what precedes them, and activations
// are not counted.
func (n *Network) MACs() int64 {
	_, macs := n.root.cost(shape{3, cropSide, cropSide})
	return macs
}

// Materialise creates the network's parameters; see the function of that name.
func (n *Network) Materialise(e *torch.Engine, device string, seed uint64) error {
	n.scope, n.device = e.NewScope(), device
	return Materialise(n.scope, device, seed, n.params)
}

// Close releases the parameters.
func (n *Network) Close() {
	if n.scope != nil {
		n.scope.Close()
	}
}

// Forward embeds a batch N×3×H×W of normalised crops and returns N×d in float32.
// dtype is the type of activations and convolutions; norms keep their statistics
// in float32. In training the norms use the batch's statistics and update their
// running ones.
func (n *Network) Forward(s *torch.Scope, x torch.Tensor, dtype torch.DType, training bool) torch.Tensor {
	return n.forward(&run{s: s, training: training, dtype: dtype}, x)
}

func (n *Network) forward(r *run, x torch.Tensor) torch.Tensor {
	y := n.root.forward(r, r.s.ChannelsLast(r.s.To(x, r.dtype)))
	return r.s.To(r.s.Reshape(y, -1, n.Dim), torch.Float32)
}

// sequence runs layers one after the other.
type sequence struct {
	names  []string
	layers []layer
}

func (q *sequence) add(name string, l layer) {
	q.names = append(q.names, name)
	q.layers = append(q.layers, l)
}

func (q *sequence) forward(r *run, x torch.Tensor) torch.Tensor {
	for _, l := range q.layers {
		x = l.forward(r, x)
	}
	return x
}

// forwardAdd adds a residual to the output of the last layer.
func (q *sequence) forwardAdd(r *run, x, residual torch.Tensor) torch.Tensor {
	last := len(q.layers) - 1
	for _, l := range q.layers[:last] {
		x = l.forward(r, x)
	}
	return forwardAdd(r, q.layers[last], x, residual)
}

func (q *sequence) register(prefix string, add func(*Param)) {
	for i, l := range q.layers {
		l.register(prefix+q.names[i]+".", add)
	}
}

func (q *sequence) export(g *graphWriter, prefix, input string) string {
	for i, l := range q.layers {
		input = l.export(g, prefix+q.names[i]+".", input)
	}
	return input
}

func (q *sequence) cost(in shape) (out shape, macs int64) {
	for _, l := range q.layers {
		var one int64
		in, one = l.cost(in)
		macs += one
	}
	return in, macs
}

// residual adds its input, or what shortcut makes of that where it is not nil, to what
// body makes of it.
type residual struct{ body, shortcut layer }

func (l residual) forward(r *run, x torch.Tensor) torch.Tensor {
	beside := x
	if l.shortcut != nil {
		beside = l.shortcut.forward(r, x)
	}
	return forwardAdd(r, l.body, x, beside)
}

// adder is a layer that can add a residual to its output in the same pass.
type adder interface {
	forwardAdd(r *run, x, residual torch.Tensor) torch.Tensor
}

// forwardAdd runs a layer on x and adds a residual to its output.
func forwardAdd(r *run, l layer, x, residual torch.Tensor) torch.Tensor {
	if a, ok := l.(adder); ok {
		return a.forwardAdd(r, x, residual)
	}
	return r.s.Add(l.forward(r, x), residual)
}

func (l residual) register(prefix string, add func(*Param)) {
	l.body.register(prefix, add)
	if l.shortcut != nil {
		l.shortcut.register(prefix+"shortcut.", add)
	}
}

func (l residual) export(g *graphWriter, prefix, input string) string {
	beside := input
	if l.shortcut != nil {
		beside = l.shortcut.export(g, prefix+"shortcut.", input)
	}
	return g.node("Add", prefix+"add", []string{l.body.export(g, prefix, input), beside})
}

func (l residual) cost(in shape) (out shape, macs int64) {
	out, macs = l.body.cost(in)
	if l.shortcut != nil {
		_, beside := l.shortcut.cost(in)
		macs += beside
	}
	return out, macs
}
