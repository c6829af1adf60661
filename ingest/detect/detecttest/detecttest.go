// Package detecttest makes tiny detector models for tests. They have the inputs and
// outputs of the real families and find one thing: a red square of [Side] by [Side]
// pixels, aligned to a multiple of eight. [Draw] draws it.
package detecttest

import (
	"fmt"
	"math"

	"facepipe/ingest/align"
	"facepipe/internal/imgcodec"
	"facepipe/internal/onnx"
)

// Side is the side, in pixels, of the square that counts as a face.
const Side = 16

// Options vary the model.
type Options struct {
	// Kind is scrfd or yunet.
	Kind string
	// W and H fix the size of the input; 0 leaves it free.
	W, H int
	// Batched gives the outputs a leading dimension of one.
	Batched bool
	// Isolated makes the model blind to faces larger than about two cells: it wants
	// nothing red farther than one cell from the cell it looks at.
	Isolated bool
	// Strides are those of the levels; nil means 8, 16, 32.
	Strides []int
}

// Draw paints a face with its upper left corner at (x, y).
func Draw(img *imgcodec.Image, x, y int) {
	for v := y; v < y+Side; v++ {
		for u := x; u < x+Side; u++ {
			copy(img.Pix[3*(v*img.W+u):], []byte{255, 0, 0})
		}
	}
}

// Landmarks are the ones the models report for the face drawn at (x, y).
func Landmarks(x, y int) align.Landmarks {
	var l align.Landmarks
	for i, o := range landmarkOffsets {
		l[i] = align.Point{X: float64(x) + o[0], Y: float64(y) + o[1]}
	}
	return l
}

// landmarkOffsets and boxReach describe a face around the square, in pixels from
// its upper left corner and from the cell there.
var (
	landmarkOffsets = [5][2]float64{{-8, -4}, {24, -4}, {8, 12}, {-4, 28}, {20, 28}}
	boxReach        = [4]float64{16, 16, 32, 32} // left, top, right, bottom
)

// builder assembles the graph.
type builder struct {
	o     Options
	graph onnx.Graph
}

// Model encodes the model that o asks for.
func Model(o Options) []byte {
	if o.Strides == nil {
		o.Strides = []int{8, 16, 32}
	}
	side := func(n int, name string) onnx.Dim {
		if n > 0 {
			return onnx.Dim{Size: int64(n)}
		}
		return onnx.Variable(name)
	}
	b := builder{o: o}
	b.graph = onnx.Graph{
		Name: "blob",
		Inputs: []onnx.ValueInfo{{Name: "input", Type: onnx.Float32, Dims: []onnx.Dim{
			{Size: 1}, {Size: 3}, side(o.H, "height"), side(o.W, "width"),
		}}},
	}
	for _, s := range o.Strides {
		b.level(s)
	}
	b.sortOutputs()
	m := onnx.Model{IRVersion: 8, Producer: "detecttest", OpsetVersion: 13, Graph: b.graph}
	return m.Marshal()
}

// sortOutputs puts all levels of one kind together, as the exporters do.
func (b *builder) sortOutputs() {
	var out []onnx.ValueInfo
	perLevel := len(b.graph.Outputs) / len(b.o.Strides)
	for k := range perLevel {
		for l := range b.o.Strides {
			out = append(out, b.graph.Outputs[l*perLevel+k])
		}
	}
	b.graph.Outputs = out
}

// level adds the outputs at one stride. Only the finest level ever finds anything.
func (b *builder) level(stride int) {
	score, bias := b.redness(stride)
	if b.o.Kind == "yunet" {
		w := (boxReach[0] + boxReach[2])
		h := (boxReach[1] + boxReach[3])
		b.output("cls", stride, []float32{score}, []float32{bias}, true)
		b.output("obj", stride, []float32{0}, []float32{10}, true)
		b.output("bbox", stride, make([]float32, 4), []float32{
			float32((boxReach[2] - boxReach[0]) / 2 / float64(stride)),
			float32((boxReach[3] - boxReach[1]) / 2 / float64(stride)),
			log32(w / float64(stride)), log32(h / float64(stride)),
		}, false)
	} else {
		b.output("score", stride, []float32{score}, []float32{bias}, true)
		reach := make([]float32, 4)
		for i, r := range boxReach {
			reach[i] = float32(r / float64(stride))
		}
		b.output("bbox", stride, make([]float32, 4), reach, false)
	}
	offsets := make([]float32, 0, 10)
	for _, o := range landmarkOffsets {
		offsets = append(offsets, float32(o[0]/float64(stride)), float32(o[1]/float64(stride)))
	}
	b.output("kps", stride, make([]float32, 10), offsets, false)
}

// redness is the factor and the bias, before the sigmoid, of a cell's mean of red
// less half of green and blue.
func (b *builder) redness(stride int) (factor, bias float32) {
	switch {
	case stride != b.o.Strides[0]:
		return 0, -20
	case b.o.Kind == "yunet":
		return 12.0 / 255, -6 // 0 to 255
	}
	return 10, -14 // normalised, so that pure red is about 2
}

// output adds a convolution that looks at each cell by itself, then puts its
// channels last, one row a cell.
func (b *builder) output(name string, stride int, factor, bias []float32, sigmoid bool) {
	full := fmt.Sprintf("%s_%d", name, stride)
	n, margin := len(bias), 0
	if b.o.Isolated && sigmoid {
		margin = 2 * stride
	}
	colour := [3]float32{1, -0.5, -0.5}
	if b.o.Kind == "yunet" { // which wants blue first
		colour = [3]float32{-0.5, -0.5, 1}
	}
	var weights []float32
	for k := range n {
		for c := range 3 {
			for _, w := range window(stride, margin) {
				weights = append(weights, factor[k]*colour[c]*w)
			}
		}
	}
	s, m := int64(stride), int64(margin)
	b.constant(onnx.FloatTensor(full+"_w", weights, int64(n), 3, s+2*m, s+2*m))
	b.constant(onnx.FloatTensor(full+"_b", bias, int64(n)))
	b.node("Conv", []string{"input", full + "_w", full + "_b"}, full+"_conv",
		onnx.Ints("strides", s, s), onnx.Ints("kernel_shape", s+2*m, s+2*m), onnx.Ints("pads", m, m, m, m))
	last := full + "_conv"
	if sigmoid {
		b.node("Sigmoid", []string{last}, full+"_sigmoid")
		last = full + "_sigmoid"
	}
	b.node("Transpose", []string{last}, full+"_last", onnx.Ints("perm", 0, 2, 3, 1))
	shape := []int64{-1, int64(n)}
	dims := []onnx.Dim{onnx.Variable(""), {Size: int64(n)}}
	if b.o.Batched {
		shape, dims = append([]int64{1}, shape...), append([]onnx.Dim{{Size: 1}}, dims...)
	}
	b.constant(onnx.IntTensor(full+"_shape", shape, int64(len(shape))))
	b.node("Reshape", []string{full + "_last", full + "_shape"}, full)
	b.graph.Outputs = append(b.graph.Outputs, onnx.ValueInfo{Name: full, Type: onnx.Float32, Dims: dims})
}

// window weighs the pixels of a cell and of a margin around it: the mean of the
// cell, and a penalty for what lies farther than one cell away.
func window(stride, margin int) []float32 {
	side := stride + 2*margin
	mean := 1 / float32(stride*stride)
	out := make([]float32, side*side)
	for y := range side {
		for x := range side {
			beyond := max(margin-x, margin-y, x-margin-stride+1, y-margin-stride+1)
			switch {
			case beyond <= 0:
				out[y*side+x] = mean
			case beyond > stride:
				out[y*side+x] = -mean
			}
		}
	}
	return out
}

func (b *builder) constant(t onnx.Tensor) { b.graph.Initializers = append(b.graph.Initializers, t) }

func (b *builder) node(op string, inputs []string, output string, attributes ...onnx.Attribute) {
	b.graph.Nodes = append(b.graph.Nodes, onnx.Node{
		Name: output, OpType: op, Inputs: inputs, Outputs: []string{output}, Attributes: attributes,
	})
}

func log32(v float64) float32 { return float32(math.Log(v)) }
