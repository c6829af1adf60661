package main

import (
	"fmt"
	"math"
	"math/rand/v2"

	"facepipe/internal/onnx"
)

// Names of the models that are made.
const (
	free   = "free"
	r50    = "r50"
	device = "device"
)

// builder makes a graph layer by layer.
type builder struct {
	graph onnx.Graph
	rng   *rand.Rand
	value string // the last layer's output
	n     int
}

func newBuilder(name string) *builder {
	return &builder{graph: onnx.Graph{Name: name}, rng: rand.New(rand.NewPCG(1, 2)), value: "input"}
}

// add appends a layer to what from names and returns its output.
func (b *builder) add(op string, from []string, attributes ...onnx.Attribute) string {
	b.n++
	out := fmt.Sprintf("v%d", b.n)
	b.graph.Nodes = append(b.graph.Nodes, onnx.Node{Name: "n" + out, OpType: op, Inputs: from, Outputs: []string{out}, Attributes: attributes})
	b.value = out
	return out
}

// weights is a tensor of numbers that keep activations at their size: of a sum of so many.
func (b *builder) weights(fanIn int64, dims ...int64) string {
	n := int64(1)
	for _, d := range dims {
		n *= d
	}
	values, scale := make([]float32, n), math.Sqrt(2/float64(fanIn))
	for i := range values {
		values[i] = float32(scale * b.rng.NormFloat64())
	}
	b.n++
	name := fmt.Sprintf("w%d", b.n)
	b.graph.Initializers = append(b.graph.Initializers, onnx.FloatTensor(name, values, dims...))
	return name
}

// shape is a list of dimensions or places, as Reshape and others take it.
func (b *builder) shape(dims ...int64) string {
	b.n++
	name := fmt.Sprintf("s%d", b.n)
	b.graph.Initializers = append(b.graph.Initializers, onnx.IntTensor(name, dims, int64(len(dims))))
	return name
}

// conv is a convolution whose output is smaller than its input by the root of damping.
func (b *builder) conv(from string, in, out, kernel, stride, damping int64) string {
	pad := kernel / 2
	return b.add("Conv", []string{from, b.weights(damping*in*kernel*kernel, out, in, kernel, kernel)},
		onnx.Ints("kernel_shape", kernel, kernel), onnx.Ints("strides", stride, stride), onnx.Ints("pads", pad, pad, pad, pad))
}

func (b *builder) prelu(from string, channels int64) string {
	return b.add("PRelu", []string{from, b.weights(32, channels, 1, 1)})
}

// model finishes the graph: the last value is an embedding of a size.
func (b *builder) model(size int64) []byte {
	last := &b.graph.Nodes[len(b.graph.Nodes)-1]
	last.Outputs[0] = "embedding"
	b.graph.Inputs = []onnx.ValueInfo{{Name: "input", Type: onnx.Float32, Dims: append([]onnx.Dim{onnx.Variable("N")}, onnx.Fixed(3, 112, 112)...)}}
	b.graph.Outputs = []onnx.ValueInfo{{Name: "embedding", Type: onnx.Float32, Dims: []onnx.Dim{onnx.Variable("N"), {Size: size}}}}
	m := onnx.Model{IRVersion: 7, OpsetVersion: 13, Graph: b.graph}
	return m.Marshal()
}

// freeModel costs next to nothing: the mean of every 16×16 pixels of each colour.
func freeModel() []byte {
	b := newBuilder(free)
	pooled := b.add("AveragePool", []string{"input"}, onnx.Ints("kernel_shape", 16, 16), onnx.Ints("strides", 16, 16))
	b.add("Flatten", []string{pooled})
	return b.model(3 * 7 * 7)
}

// deviceModel stands in for a slow device: twelve LSTMs of 336 steps, one row of one colour
// each, of which no step can begin before the one in front of it has ended. One thread
// computes that, in a time that further ones do not shorten.
func deviceModel() []byte {
	const layers, steps, width, state, gates = 12, 3 * 112, 112, 128, 4
	b := newBuilder(device)
	rows := b.add("Reshape", []string{"input", b.shape(0, steps, width)})
	x := b.add("Transpose", []string{rows}, onnx.Ints("perm", 1, 0, 2))
	in, again := int64(width), b.weights(2*state, 1, gates*state, state)
	for range layers {
		weights := again
		if in != state {
			weights = b.weights(2*in, 1, gates*state, in)
		}
		y := b.add("LSTM", []string{x, weights, again}, onnx.Int("hidden_size", state))
		x, in = b.add("Squeeze", []string{y, b.shape(1)}), state
	}
	last := b.add("Gather", []string{x, b.shape(steps - 1)}, onnx.Int("axis", 0))
	b.add("Reshape", []string{last, b.shape(-1, state)})
	return b.model(state)
}

// resNet50 has the layers of the IR-50 that face teachers are (3, 4, 14 and 3 blocks of two
// 3×3 convolutions, batch normalisation folded into them) and random weights.
func resNet50() []byte {
	b := newBuilder(r50)
	x := b.prelu(b.conv("input", 3, 64, 3, 1, 1), 64)
	in := int64(64)
	for stage, blocks := range []int{3, 4, 14, 3} {
		out := int64(64) << stage
		for block := range blocks {
			stride := int64(1)
			if block == 0 {
				stride = 2
			}
			shortcut := x
			if block == 0 {
				shortcut = b.conv(x, in, out, 1, stride, 1)
			}
			y := b.prelu(b.conv(x, in, out, 3, 1, 1), out)
			y = b.conv(y, out, out, 3, stride, 32) // or 24 sums of two would grow beyond measure
			x = b.add("Add", []string{y, shortcut})
			in = out
		}
	}
	const size, flat = 512, 512 * 7 * 7
	b.add("Gemm", []string{b.add("Flatten", []string{x}), b.weights(flat, flat, size)})
	return b.model(size)
}
