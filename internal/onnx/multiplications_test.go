package onnx_test

import (
	"cmp"
	"math"
	"slices"
	"strings"
	"testing"

	"facepipe/internal/alloctest"
	"facepipe/internal/onnx"
	"facepipe/internal/ort"
)

// node is a node whose output is y, unless it is renamed.
func node(op string, inputs string, attributes ...onnx.Attribute) onnx.Node {
	domain, name, found := strings.Cut(op, "/")
	if !found {
		domain, name = "", op
	}
	return onnx.Node{OpType: name, Domain: domain, Inputs: strings.Split(inputs, " "), Outputs: []string{"y"}, Attributes: attributes}
}

func named(output string, n onnx.Node) onnx.Node {
	n.Outputs = strings.Split(output, " ")
	return n
}

// weight is a tensor of a float type, all zeros.
func weight(name string, dims ...int64) onnx.Tensor {
	return zeros(name, onnx.Float32, 4, dims...)
}

func zeros(name string, of onnx.ElemType, width int64, dims ...int64) onnx.Tensor {
	for _, d := range dims {
		width *= d
	}
	return onnx.Tensor{Name: name, Type: of, Dims: dims, Data: make([]byte, width)}
}

func scalar(name string, v float32) onnx.Tensor { return onnx.FloatTensor(name, []float32{v}) }

// graph takes x of a shape and gives y.
func graph(dims []int64, nodes []onnx.Node, weights ...onnx.Tensor) *onnx.Model {
	x := onnx.ValueInfo{Name: "x", Type: onnx.Float32, Dims: append([]onnx.Dim{onnx.Variable("N")}, onnx.Fixed(dims[1:]...)...)}
	if dims[0] > 1 {
		x.Dims[0] = onnx.Dim{Size: dims[0]}
	}
	return &onnx.Model{IRVersion: 8, OpsetVersion: 17, Graph: onnx.Graph{Name: "g", Nodes: nodes, Initializers: weights,
		Inputs: []onnx.ValueInfo{x}, Outputs: []onnx.ValueInfo{{Name: "y", Type: onnx.Float32, Dims: make([]onnx.Dim, 0)}}}}
}

// counted counts by running the graph on x of a shape.
func counted(t *testing.T, m *onnx.Model, dims []int64) onnx.Multiplications {
	t.Helper()
	p, err := onnx.NewProbe(m.Marshal())
	if err != nil {
		t.Fatal(err)
	}
	var outputs [][]float32
	if p.Model != nil {
		outputs = run(t, p.Model, dims)
	}
	got, err := p.Count(outputs, int(dims[0]))
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func run(t *testing.T, model []byte, dims []int64) (outputs [][]float32) {
	t.Helper()
	s, err := ort.Open(t.Context(), t.TempDir(), ort.Options{Model: model, Threads: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	x, err := ort.NewTensor(dims...)
	if err != nil {
		t.Fatal(err)
	}
	defer x.Close()
	outs := make([]*ort.Tensor, len(s.Outputs()))
	if err := s.Run([]*ort.Tensor{x}, outs); err != nil {
		t.Fatal(err)
	}
	for _, out := range outs {
		outputs = append(outputs, slices.Clone(out.Data()))
		out.Close()
	}
	return outputs
}

// Counts that were made by hand.
func TestMultiplications(t *testing.T) {
	scale, zero := scalar("s", 1), onnx.Tensor{Name: "z", Type: onnx.Uint8, Data: []byte{0}}
	image, tokens := []int64{1, 4, 8, 8}, []int64{1, 6, 8}
	strided := []onnx.Attribute{onnx.Ints("strides", 2, 2), onnx.Ints("pads", 1, 1, 1, 1)}
	quantized := named("q", node("QuantizeLinear", "x s z"))
	for name, c := range map[string]struct {
		dims            []int64
		nodes           []onnx.Node
		weights         []onnx.Tensor
		macs, attention int64
		parameters      int64
		unknown         []string
		opset           int64 // 0 for the usual one
	}{
		"convolution in groups": {dims: image, nodes: []onnx.Node{node("Conv", "x w b", append(strided, onnx.Int("group", 2))...)},
			weights: []onnx.Tensor{weight("w", 6, 2, 3, 3), weight("b", 6)}, macs: 6 * 4 * 4 * 2 * 9, parameters: 108 + 6},
		"convolution of a fixed batch": {dims: []int64{3, 4, 8, 8}, nodes: []onnx.Node{node("Conv", "x w", strided...)},
			weights: []onnx.Tensor{weight("w", 6, 4, 3, 3)}, macs: 6 * 4 * 4 * 4 * 9, parameters: 216},
		"convolution along a line": {dims: []int64{1, 4, 9}, nodes: []onnx.Node{node("Conv", "x w")},
			weights: []onnx.Tensor{weight("w", 2, 4, 3)}, macs: 2 * 7 * 4 * 3, parameters: 24},
		"transposed convolution": {dims: []int64{1, 4, 5, 5}, nodes: []onnx.Node{node("ConvTranspose", "x w", onnx.Ints("strides", 2, 2))},
			weights: []onnx.Tensor{weight("w", 4, 3, 2, 2)}, macs: 4 * 25 * 3 * 4, parameters: 48},
		"linear": {dims: image, nodes: []onnx.Node{named("flat", node("Flatten", "x")), node("Gemm", "flat w b", onnx.Int("transB", 1))},
			weights: []onnx.Tensor{weight("w", 10, 256), weight("b", 10)}, macs: 2560, parameters: 2570},
		"matrix by tokens": {dims: tokens, nodes: []onnx.Node{node("MatMul", "x w")},
			weights: []onnx.Tensor{weight("w", 8, 5)}, macs: 6 * 8 * 5, parameters: 40},
		"vector by matrix": {dims: []int64{1, 8}, nodes: []onnx.Node{node("MatMul", "x w")},
			weights: []onnx.Tensor{weight("w", 8)}, macs: 8, parameters: 8},
		"weight that is computed": {dims: tokens, nodes: []onnx.Node{named("w2", node("Transpose", "w")), node("MatMul", "x w2")},
			weights: []onnx.Tensor{weight("w", 5, 8)}, macs: 6 * 8 * 5, parameters: 40},
		"attention": {dims: tokens, nodes: []onnx.Node{named("k", node("Transpose", "x", onnx.Ints("perm", 0, 2, 1))),
			named("p", node("MatMul", "x k")), node("MatMul", "p x")}, attention: 2 * 6 * 6 * 8},
		"indices": {dims: tokens, nodes: []onnx.Node{named("p", node("Einsum", "x x", onnx.Text("equation", "bik, bjk -> bij"))),
			node("Einsum", "p w", onnx.Text("equation", "bij,jd->bid"))},
			weights: []onnx.Tensor{weight("w", 6, 5)}, attention: 6 * 6 * 8, macs: 6 * 6 * 5, parameters: 30},
		"unknown indices": {dims: tokens, nodes: []onnx.Node{node("Einsum", "x w", onnx.Text("equation", "...k,kd->...d"))},
			weights: []onnx.Tensor{weight("w", 8, 5)}, parameters: 40, unknown: []string{"Einsum"}},
		"recurrent": {dims: []int64{1, 3, 4}, nodes: []onnx.Node{named("y h", node("GRU", "x w r", onnx.Int("hidden_size", 5)))},
			weights: []onnx.Tensor{weight("w", 1, 15, 4), weight("r", 1, 15, 5)}, macs: 3 * 15 * 9, parameters: 135},
		"weights between quantizers": {dims: image, nodes: []onnx.Node{named("f", node("DequantizeLinear", "w s wz")), node("Conv", "x f")},
			weights: []onnx.Tensor{zeros("w", onnx.Int8, 1, 6, 4, 1, 1), scale, {Name: "wz", Type: onnx.Int8, Data: []byte{0}}}, macs: 64 * 24, parameters: 24},
		"convolution of 8 bits": {dims: image, nodes: []onnx.Node{quantized, named("c", node("QLinearConv", "q s z w s z s z b")), node("DequantizeLinear", "c s z")},
			weights: []onnx.Tensor{zeros("w", onnx.Uint8, 1, 6, 4, 1, 1), zeros("b", onnx.Int32, 4, 6), scale, zero}, macs: 64 * 24, parameters: 30},
		"convolution of integers": {dims: image, nodes: []onnx.Node{quantized, named("c", node("ConvInteger", "q w")), node("Cast", "c", onnx.Int("to", 1))},
			weights: []onnx.Tensor{zeros("w", onnx.Uint8, 1, 6, 4, 1, 1), scale, zero}, macs: 64 * 24, parameters: 24},
		"product of 8 bits": {dims: tokens, nodes: []onnx.Node{quantized, named("c", node("QLinearMatMul", "q s z w s z s z")), node("DequantizeLinear", "c s z")},
			weights: []onnx.Tensor{zeros("w", onnx.Uint8, 1, 8, 5), scale, zero}, macs: 240, parameters: 40},
		"fused convolution": {dims: image, nodes: []onnx.Node{node("com.microsoft/FusedConv", "x w b", onnx.Text("activation", "Relu"))},
			weights: []onnx.Tensor{weight("w", 6, 4, 1, 1), weight("b", 6)}, macs: 64 * 24, parameters: 30},
		"fused product": {dims: tokens, nodes: []onnx.Node{node("com.microsoft/FusedMatMul", "x x", onnx.Int("transA", 1))}, attention: 8 * 6 * 8},
		"fused attention": {dims: tokens, nodes: []onnx.Node{node("com.microsoft/MultiHeadAttention", "x x x", onnx.Int("num_heads", 2))},
			attention: 2 * 6 * 6 * 8},
		"attention of the standard": {opset: 23, dims: tokens, nodes: []onnx.Node{node("Attention", "x x x", onnx.Int("q_num_heads", 2), onnx.Int("kv_num_heads", 2))},
			attention: 2 * 6 * 6 * 8},
		"attention with weights": {dims: tokens, nodes: []onnx.Node{node("com.microsoft/Attention", "x w b", onnx.Int("num_heads", 2))},
			weights: []onnx.Tensor{weight("w", 8, 24), weight("b", 24)}, macs: 6 * 8 * 24, attention: 2 * 6 * 6 * 8, parameters: 216},
		"norms and slopes": {dims: image, nodes: []onnx.Node{named("n", node("BatchNormalization", "x g g m v")), node("PRelu", "n a")},
			weights: []onnx.Tensor{weight("g", 4), weight("m", 4), weight("v", 4), weight("a", 1)}, parameters: 5},
		"a norm spelled out, constants and a position": {dims: tokens, nodes: []onnx.Node{named("a", node("Mul", "x g")), named("b", node("Add", "a p")), node("Div", "b c")},
			weights: []onnx.Tensor{weight("g", 8), weight("p", 1, 6, 8), weight("c", 1)}, parameters: 56},
		"a weight used twice, and in a node of its own": {dims: tokens, nodes: []onnx.Node{
			{OpType: "Constant", Outputs: []string{"w"}, Attributes: []onnx.Attribute{{Name: "value", Kind: onnx.KindTensor, Tensor: new(weight("", 8, 8))}}},
			named("a", node("MatMul", "x w")), node("MatMul", "a w")}, macs: 2 * 6 * 64, parameters: 64},
		"what no output needs": {dims: tokens, nodes: []onnx.Node{named("dead", node("MatMul", "x w")), node("Relu", "x")}, weights: []onnx.Tensor{weight("w", 8, 5)}},
		"weights by weights": {dims: tokens, nodes: []onnx.Node{named("k", node("MatMul", "w w")), node("MatMul", "x k")},
			weights: []onnx.Tensor{weight("w", 8, 8)}, macs: 6 * 64, parameters: 64},
	} {
		t.Run(name, func(t *testing.T) {
			m := graph(c.dims, c.nodes, c.weights...)
			m.OpsetVersion = cmp.Or(c.opset, m.OpsetVersion)
			want := onnx.Multiplications{Weights: c.macs, Attention: c.attention, Unknown: c.unknown}
			if got := counted(t, m, c.dims); got.Weights != want.Weights || got.Attention != want.Attention || !slices.Equal(got.Unknown, want.Unknown) {
				t.Errorf("got %+v, want %+v", got, want)
			}
			counts, err := m.Graph.Parameters()
			if err != nil {
				t.Fatal(err)
			}
			var all int64
			for _, n := range counts {
				all += n
			}
			if all != c.parameters {
				t.Errorf("%v parameters, want %d", counts, c.parameters)
			}
		})
	}
}

// What cannot be counted is said, not passed over.
func TestUnknownOperators(t *testing.T) {
	for _, c := range []struct {
		op   string
		want []string
	}{{"custom.face/Embed", []string{"custom.face.Embed"}}, {"com.microsoft/Newest", []string{"com.microsoft.Newest"}}, {"Relu", nil}} {
		p, err := onnx.NewProbe(graph([]int64{1, 8}, []onnx.Node{node(c.op, "x w")}, weight("w", 8)).Marshal())
		if err != nil {
			t.Fatal(err)
		}
		if got, err := p.Count(nil, 1); err != nil || !slices.Equal(got.Unknown, c.want) {
			t.Errorf("%s: %+v, %v", c.op, got, err)
		}
	}
}

// Shapes that no runtime gives are errors.
func TestHostileShapes(t *testing.T) {
	p, err := onnx.NewProbe(graph([]int64{1, 4, 8, 8}, []onnx.Node{node("Conv", "x w")}, weight("w", 6, 4, 1, 1)).Marshal())
	if err != nil {
		t.Fatal(err)
	}
	big, nan := float32(1<<23), float32(math.NaN())
	for name, out := range map[string][][]float32{
		"too few":        {{1, 4, 8, 8}},
		"negative":       {{1, 4, 8, 8}, {6, 4, 1, 1}, {1, -6, 8, 8}},
		"no number":      {{1, 4, 8, 8}, {6, 4, 1, 1}, {1, nan, 8, 8}},
		"beyond float32": {{1, 4, 8, 8}, {6, 4, 1, 1}, {1, 1 << 24, 8, 8}},
		"overflow":       {{1, 4, 8, 8}, {6, big, big, 1}, {1, big, big, big}},
		"another batch":  {{1, 4, 8, 8}, {6, 4, 1, 1}, {1, 5, 5, 5}},
	} {
		if got, err := p.Count(out, 7); err == nil {
			t.Errorf("%s: %+v", name, got)
		}
	}
	if got, err := p.Count([][]float32{{1, 4, 8, 8}, {}, {1, 6, 8, 8}}, 1); err != nil || !slices.Equal(got.Unknown, []string{"Conv"}) {
		t.Errorf("a weight without dimensions: %+v, %v", got, err)
	}
}

func TestProbeRefuses(t *testing.T) {
	two := graph([]int64{1, 8}, []onnx.Node{node("Add", "x x2")})
	two.Graph.Inputs = append(two.Graph.Inputs, onnx.ValueInfo{Name: "x2", Type: onnx.Float32, Dims: onnx.Fixed(1, 8)})
	silent := graph([]int64{1, 8}, []onnx.Node{{OpType: "Relu", Inputs: []string{"x"}}})
	for name, data := range map[string][]byte{"two inputs": two.Marshal(), "a node without output": silent.Marshal(), "no model": []byte("no")} {
		if p, err := onnx.NewProbe(data); err == nil {
			t.Errorf("%s: %+v", name, p)
		}
	}
}

// A graph that goes round, or gives a value twice, comes to an end.
func TestCycles(t *testing.T) {
	var nodes []onnx.Node
	for range 200 {
		nodes = append(nodes, node("Identity", "y"), named("w", node("Identity", "w")), node("Conv", "x w"))
	}
	m := graph([]int64{1, 4, 8, 8}, nodes, weight("w", 6, 4, 1, 1))
	if _, err := onnx.NewProbe(m.Marshal()); err != nil {
		t.Error(err)
	}
	if _, err := m.Graph.Parameters(); err != nil {
		t.Error(err)
	}
}

func FuzzMultiplications(f *testing.F) {
	f.Add(graph([]int64{1, 4, 8, 8}, []onnx.Node{named("c", node("Conv", "x w")), node("MatMul", "c c")}, weight("w", 6, 4, 1, 1)).Marshal(), []byte{1, 4, 8, 8}, 1)
	f.Add(graph([]int64{1, 6, 8}, []onnx.Node{node("Einsum", "x x", onnx.Text("equation", "bik,bjk->bij"))}).Marshal(), []byte{1, 6, 8}, 2)
	f.Fuzz(func(t *testing.T, data, dims []byte, batch int) {
		var p *onnx.Probe
		var err error
		alloctest.AtMost(t, 1<<20+1000*len(data), func() { p, err = onnx.NewProbe(data) })
		if err != nil {
			return
		}
		var s []float32
		for _, d := range dims {
			s = append(s, float32(int(d)-1)*float32(int(d)))
		}
		outputs := make([][]float32, 0, 16)
		if p.Model != nil {
			m, err := onnx.Unmarshal(p.Model)
			if err != nil {
				t.Fatal(err)
			}
			for range m.Graph.Outputs {
				outputs = append(outputs, s)
			}
		}
		if got, err := p.Count(outputs, max(batch, 1)); err == nil && (got.Weights < 0 || got.Attention < 0) {
			t.Errorf("%+v", got)
		}
	})
}
