// Package net holds the student networks: trees of layers (package layer), laid out for a
// size, with what a whole network does. It runs, it is exported, and it takes weights.
//
// Every network maps a batch of crops N×3×112×112, normalised to about [-1, 1],
// to raw (not normalised) embeddings N×d in float32.
package net

import (
	"fmt"
	"math"

	"facepipe/student/net/layer"
	"facepipe/student/torch"
)

// InputSide is the side of the crops that networks take, in pixels.
const InputSide = 112

// Pixels are normalised as (x - InputMean) / InputStd to [-1, 1], the convention of
// insightface's networks.
const (
	InputMean = 127.5
	InputStd  = 127.5
)

// Network is a student: its layers and their parameters.
type Network struct {
	// Name is the registry's name, e.g. "mobilefacenet".
	Name string
	// Dim is the length of the embedding.
	Dim int
	// Config is what [New] was given, for checkpoints.
	Config Config

	root   layer.Layer
	params []*layer.Param
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
	// OnlyLastClassToken has a MetaFormer embed the class token of its last stage alone.
	OnlyLastClassToken bool `json:"only_last_class_token,omitempty" yaml:"only_last_class_token,omitempty"`
	// DropPath is how often a MetaFormer's last block is left out in training, from 0 to
	// below 1 (0 by default; its authors take 0.1); those before it less, in proportion.
	DropPath float64 `json:"drop_path,omitempty" yaml:"drop_path,omitempty"`
}

// validate reports settings of transformers that are out of range, or of no transformer.
func (c Config) validate(transformer bool) error {
	switch {
	case !(c.DropPath >= 0 && c.DropPath < 1):
		return fmt.Errorf("drop_path %g is not in [0, 1)", c.DropPath)
	case !transformer && (c.OnlyLastClassToken || c.DropPath != 0):
		return fmt.Errorf("only_last_class_token and drop_path are settings of metaformer-0, -1 and -2: leave them out")
	}
	return nil
}

// channels is a number of channels at this width: n times it, in eights, and at least 8.
func (c Config) channels(n int) int { return max(8, int(math.Round(float64(n)*c.Width/8))*8) }

// mostParameters bounds width and dim together: 4 GiB of weights, more than ten times those of the
// largest network at its own width.
const mostParameters = 1 << 30

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
	if err := c.validate(a.transformer); err != nil {
		return nil, fmt.Errorf("network %s: %w", name, err)
	}
	n := &Network{Name: name, Dim: c.Dim, Config: c, root: a.layout(c)}
	n.root.Register("", func(p *layer.Param) { n.params = append(n.params, p) })
	if p := n.Parameters(); p > mostParameters {
		return nil, fmt.Errorf("network %s: width %g and dim %d make %d parameters, more than %d: choose a smaller width", name, c.Width, c.Dim, p, mostParameters)
	}
	return n, nil
}

// Params lists all parameters and running statistics in the order of the layers.
func (n *Network) Params() []*layer.Param { return n.params }

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

// MACs is the number of multiplications of a weight and a value that an embedding of a
// 112×112 crop takes. Norms, which are folded into what precedes them, and activations
// are not counted.
func (n *Network) MACs() int64 {
	_, macs := n.root.Cost(layer.Shape{Channels: 3, Height: InputSide, Width: InputSide})
	return macs
}

// Materialise creates the network's parameters; see [layer.Materialise].
func (n *Network) Materialise(e *torch.Engine, device string, seed uint64) error {
	n.scope, n.device = e.NewScope(), device
	return layer.Materialise(n.scope, device, seed, n.params)
}

// Close releases the parameters.
func (n *Network) Close() {
	if n.scope != nil {
		n.scope.Close()
	}
}

// Initial is what [Network.Materialise] gives the network with the same seed.
func (n *Network) Initial(seed uint64) layer.Values { return layer.Initial(n.params, seed) }

// Values reads the parameters out of the engine.
func (n *Network) Values(s *torch.Scope) (layer.Values, error) {
	v := layer.Values{}
	for _, p := range n.params {
		v[p] = s.Floats(p.Tensor())
	}
	if err := s.Err(); err != nil {
		return nil, fmt.Errorf("read the weights: %w", err)
	}
	return v, nil
}

// SetValues overwrites the parameters in the engine.
func (n *Network) SetValues(s *torch.Scope, v layer.Values) error {
	s.Engine().NoGrad(func() {
		for _, p := range n.params {
			s.Copy(p.Tensor(), torch.FromData(s, n.device, v[p], p.Shape...))
		}
	})
	return s.Err()
}

// Forward embeds a batch N×3×H×W of normalised crops and returns N×d in float32.
// dtype is the type of activations and convolutions; norms keep their statistics
// in float32. In training the norms use the batch's statistics and update their
// running ones.
func (n *Network) Forward(s *torch.Scope, x torch.Tensor, dtype torch.DType, training bool) torch.Tensor {
	return n.forward(&layer.Pass{Scope: s, Training: training, DType: dtype}, x)
}

// Train is [Network.Forward] in training, with what is dropped at random by c.
func (n *Network) Train(s *torch.Scope, x torch.Tensor, dtype torch.DType, c layer.Chance) torch.Tensor {
	return n.forward(&layer.Pass{Scope: s, Training: true, DType: dtype, Chance: &c}, x)
}

func (n *Network) forward(p *layer.Pass, x torch.Tensor) torch.Tensor {
	y := n.root.Forward(p, p.Scope.ChannelsLast(p.Scope.To(x, p.DType)))
	return p.Scope.To(p.Scope.Reshape(y, -1, n.Dim), torch.Float32)
}
