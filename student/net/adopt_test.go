package net

import (
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"facepipe/internal/alloctest"
	"facepipe/internal/onnx"
	"facepipe/student/net/layer"
	"facepipe/student/torch"
	"facepipe/student/torch/torchtest"
)

// adopted is a network of another seed that has taken the weights of a graph.
func adopted(t *testing.T, s *torch.Scope, name string, m *onnx.Model) (*Network, Adoption) {
	t.Helper()
	n := drawn(t, s.Engine(), name, 7)
	v, err := n.Values(s)
	if err != nil {
		t.Fatal(err)
	}
	a, err := n.AdoptGraph(v, m)
	if err != nil {
		t.Fatal(err)
	}
	if err := n.SetValues(s, v); err != nil {
		t.Fatal(err)
	}
	return n, a
}

// A network that takes the weights of another one's export does what that does.
func TestAdoptGraph(t *testing.T) {
	e := torchtest.Open(t)
	for _, name := range Architectures() {
		t.Run(name, func(t *testing.T) {
			s := torchtest.Scope(t, e)
			from := drawn(t, e, name, 1)
			m := exported(t, s, from)
			n, a := adopted(t, s, name, m)
			if a.Taken != a.Tensors || a.Values != a.AllValues || len(a.Left) != 0 || len(a.Unused) != 0 || a.ByOrder || !a.Folded() {
				t.Errorf("%+v", a)
			}
			agree(t, forward(t, s, n, false), forward(t, s, from, false), 0.999999)
		})
	}
}

// foreign is a model as another program might have it: other names, and nodes in another
// order.
func foreign(m *onnx.Model) *onnx.Model {
	names := map[string]string{}
	rename := func(name string) string {
		if name == inputName || name == outputName {
			return name
		}
		if names[name] == "" {
			names[name] = fmt.Sprint("n", len(names))
		}
		return names[name]
	}
	f := *m
	f.Graph.Nodes, f.Graph.Initializers = nil, nil
	for _, n := range m.Graph.Nodes {
		n.Name = ""
		n.Inputs, n.Outputs = slices.Clone(n.Inputs), slices.Clone(n.Outputs)
		for i := range n.Inputs {
			n.Inputs[i] = rename(n.Inputs[i])
		}
		for i := range n.Outputs {
			n.Outputs[i] = rename(n.Outputs[i])
		}
		f.Graph.Nodes = append([]onnx.Node{n}, f.Graph.Nodes...)
	}
	for _, t := range m.Graph.Initializers {
		t.Name = rename(t.Name)
		f.Graph.Initializers = append(f.Graph.Initializers, t)
	}
	return &f
}

func TestAdoptForeignGraph(t *testing.T) {
	e := torchtest.Open(t)
	for _, name := range []string{"mobilefacenet", "ir18", "ghostfacenetv1-2"} {
		s := torchtest.Scope(t, e)
		from := drawn(t, e, name, 1)
		m := foreign(exported(t, s, from))
		n, a := adopted(t, s, name, m)
		if a.Taken != a.Tensors || !a.ByOrder || len(a.Unused) != 0 {
			t.Errorf("%s: %+v", name, a)
		}
		agree(t, forward(t, s, n, false), forward(t, s, from, false), 0.999999)
	}
}

// A norm behind a layer is folded into it, a transposed matrix turned, and half precision
// widened.
func TestLayerWeights(t *testing.T) {
	half, err := onnx.HalfTensor("w", []float32{1, 2, 3, 4, 5, 6}, 3, 2) // in×out
	if err != nil {
		t.Fatal(err)
	}
	g := &onnx.Graph{
		Nodes: []onnx.Node{
			{OpType: "BatchNormalization", Inputs: []string{"y", "g", "b", "m", "v"}, Outputs: []string{"z"}, Attributes: []onnx.Attribute{onnx.Float("epsilon", 1)}},
			{OpType: "Gemm", Inputs: []string{"x", "w", "c"}, Outputs: []string{"y"}},
		},
		Initializers: []onnx.Tensor{half, onnx.FloatTensor("c", []float32{10, 20}, 2), onnx.FloatTensor("g", []float32{2, 4}, 2),
			onnx.FloatTensor("b", []float32{1, -1}, 2), onnx.FloatTensor("m", []float32{8, 22}, 2), onnx.FloatTensor("v", []float32{3, 15}, 2)},
	}
	got, err := layerWeights(g, "z")
	if err != nil {
		t.Fatal(err)
	}
	want := []layerWeight{
		{Tensor{[]int{2, 3}, []float32{1, 3, 5, 2, 4, 6}}, "w", "Gemm weight"}, // γ/√(v+1) is 1 for both
		{Tensor{[]int{2}, []float32{3, -3}}, "c", "Gemm bias"},
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("%v, want %v", got, want)
	}
}

func TestLayerWeightsRefuses(t *testing.T) {
	vector := onnx.FloatTensor("c", []float32{1, 2}, 2)
	matrix := onnx.FloatTensor("w", []float32{1, 2, 3, 4, 5, 6}, 2, 3)
	gemm := onnx.Node{Name: "fc", OpType: "Gemm", Inputs: []string{"x", "w"}, Outputs: []string{"y"}}
	scaled := gemm
	scaled.Attributes = []onnx.Attribute{onnx.Float("alpha", 2)}
	short := onnx.FloatTensor("w", []float32{1, 2}, 2, 3)
	elsewhere := matrix
	elsewhere.External = []onnx.Property{{Key: "location", Value: "weights.bin"}}
	negative := onnx.FloatTensor("w", []float32{1, 2, 3, 4, 5, 6}, -2, -3)
	for want, c := range map[string]struct {
		node    onnx.Node
		tensors []onnx.Tensor
	}{
		"no initializer":   {gemm, nil},
		"no linear layer":  {scaled, []onnx.Tensor{matrix}},
		"has 2 values":     {gemm, []onnx.Tensor{short}},
		"weights.bin":      {gemm, []onnx.Tensor{elsewhere}},
		"[-2 -3]":          {gemm, []onnx.Tensor{negative}},
		"has shape [2]":    {onnx.Node{OpType: "Conv", Inputs: []string{"x", "c"}, Outputs: []string{"y"}}, []onnx.Tensor{vector}},
		"its input 1 ()":   {onnx.Node{OpType: "PRelu", Inputs: []string{"x"}, Outputs: []string{"y"}}, nil},
		"for its channels": {onnx.Node{OpType: "BatchNormalization", Inputs: []string{"x", "c", "c", "c", "w"}, Outputs: []string{"y"}}, []onnx.Tensor{vector, matrix}},
	} {
		if _, err := layerWeights(&onnx.Graph{Nodes: []onnx.Node{c.node}, Initializers: c.tensors}, "y"); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want %q: %v", want, err)
		}
	}
}

// A product of matrices and a sum are a linear layer, too.
func TestLayerWeightsOfASum(t *testing.T) {
	g := &onnx.Graph{
		Nodes: []onnx.Node{
			{OpType: "MatMul", Inputs: []string{"x", "w"}, Outputs: []string{"y"}},
			{OpType: "Add", Inputs: []string{"c", "y"}, Outputs: []string{"z"}},
		},
		Initializers: []onnx.Tensor{onnx.FloatTensor("w", []float32{1, 2}, 1, 2), onnx.FloatTensor("c", []float32{3, 4}, 1, 2)},
	}
	got, err := layerWeights(g, "z")
	if err != nil {
		t.Fatal(err)
	}
	want := []layerWeight{{Tensor{[]int{2, 1}, []float32{1, 2}}, "w", "Gemm weight"}, {Tensor{[]int{2}, []float32{3, 4}}, "c", "Gemm bias"}}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("%v, want %v", got, want)
	}
	g.Initializers[1] = onnx.FloatTensor("c", []float32{3}, 1)
	if _, err := layerWeights(g, "z"); err == nil || !strings.Contains(err.Error(), "1 numbers are added to 2 channels") {
		t.Error(err)
	}
}

// What does not fit stays, and is named with both shapes; a norm's offset is not taken
// without the weights that it belongs to.
func TestAdoptPart(t *testing.T) {
	e := torchtest.Open(t)
	s := torchtest.Scope(t, e)
	from := drawn(t, e, "mobilefacenet", 1)
	m := exported(t, s, from)
	for i, w := range m.Graph.Initializers {
		if w.Name == "head.weight" {
			m.Graph.Initializers[i].Dims = []int64{w.Dims[1], w.Dims[0], 1, 1}
		}
		if w.Name == "global.weight" {
			m.Graph.Initializers[i].Name = "pool.weight"
		}
	}
	for i, n := range m.Graph.Nodes {
		for k, in := range n.Inputs {
			if in == "global.weight" {
				m.Graph.Nodes[i].Inputs[k] = "pool.weight"
			}
		}
	}
	n := drawn(t, e, "mobilefacenet", 7)
	before, err := n.Values(s)
	if err != nil {
		t.Fatal(err)
	}
	v := layer.Values{}
	for p, x := range before {
		v[p] = slices.Clone(x)
	}
	a, err := n.AdoptGraph(v, m)
	if err != nil {
		t.Fatal(err)
	}
	var left []string
	for _, l := range a.Left {
		left = append(left, fmt.Sprintf("%s%v %v", l.Name, l.Shape, l.FileShape))
	}
	want := []string{"head.weight[64 16 1 1] [16 64 1 1]", "head.bias[64] [64]", "global.weight[64 1 7 7] []", "global.bias[64] [64]"}
	if got := strings.Join(left, "; "); got != strings.Join(want, "; ") {
		t.Errorf("left %s, want %s", got, strings.Join(want, "; "))
	}
	if !slices.Equal(a.Unused, []string{"pool.weight"}) || a.Taken != a.Tensors-4 {
		t.Errorf("%d of %d, unused %v", a.Taken, a.Tensors, a.Unused)
	}
	for _, p := range n.Params() {
		same := slices.Equal(v[p], before[p])
		if stays := strings.HasPrefix(p.Name, "head.") && p.Name != "head.prelu.weight" || strings.HasPrefix(p.Name, "global."); same != stays {
			t.Errorf("%s: as before %v, want %v", p.Name, same, stays)
		}
	}
}

func TestAdoptByName(t *testing.T) {
	n, err := New("mobilefacenet", Config{Dim: testDim, Width: 0.125})
	if err != nil {
		t.Fatal(err)
	}
	v, other := n.Initial(1), n.Initial(2)
	tensors := map[string]Tensor{"classifier": {[]int{1}, []float32{1}}}
	for _, p := range n.Params() {
		tensors[p.Name] = Tensor{p.Shape, other[p]}
	}
	first := n.Params()[0]
	delete(tensors, first.Name)
	a := n.Adopt(v, tensors)
	if a.Taken != a.Tensors-1 || a.Tensors != len(n.Params()) || !slices.Equal(a.Unused, []string{"classifier"}) || a.Folded() ||
		len(a.Left) != 1 || a.Left[0].Name != first.Name || a.AllValues-a.Values != first.Elements() {
		t.Errorf("%+v", a)
	}
	for i, p := range n.Params() {
		if i > 0 && !slices.Equal(v[p], other[p]) {
			t.Errorf("%s was not taken", p.Name)
		}
	}
}

// After unfolding the network does what it did, and in training, where its norms take
// the batch's statistics, on those crops as well.
func TestUnfold(t *testing.T) {
	e := torchtest.Open(t)
	for _, name := range []string{"mobilefacenet", "ir18", "ghostfacenetv1-2"} {
		s := torchtest.Scope(t, e)
		n, a := adopted(t, s, name, exported(t, s, drawn(t, e, name, 1)))
		before := forward(t, s, n, false)
		u := n.NewUnfold(a)
		for range 2 { // the same batch twice has the same statistics
			if err := u.Observe(s, torch.FromData(s, "cpu", pixels(), testRows, 3, InputSide, InputSide)); err != nil {
				t.Fatal(err)
			}
		}
		v, err := n.Values(s)
		if err != nil {
			t.Fatal(err)
		}
		u.Apply(v)
		if err := n.SetValues(s, v); err != nil {
			t.Fatal(err)
		}
		agree(t, forward(t, s, n, false), before, 0.99999)
		if name == "ir18" {
			continue // its own norms, which no convolution has taken in, see other crops than these
		}
		agree(t, forward(t, s, n, true), before, 0.999)
	}
}

// The mean and the variance over several batches are those of all their values.
func TestMomentsOfBatches(t *testing.T) {
	n, err := New("mobilefacenet", Config{Dim: testDim, Width: 0.125})
	if err != nil {
		t.Fatal(err)
	}
	l := &layer.Norm{Channels: 1}
	var gamma, beta, mean, variance *layer.Param
	into := []**layer.Param{&gamma, &beta, &mean, &variance}
	l.Register("", func(p *layer.Param) { *into[0], into = p, into[1:] })
	u := n.NewUnfold(Adoption{folded: []*layer.Norm{l}})
	rng := rand.New(rand.NewPCG(1, 2))
	var sum, squares float64
	const batches, size = 5, 40
	for b := range batches {
		var m, q float64
		for range size {
			x := rng.NormFloat64()*2 + float64(b)
			m, q = m+x/size, q+x*x/size
		}
		u.seen[l].add([]float32{float32(m)}, []float32{float32(q - m*m)})
		sum, squares = sum+m/batches, squares+q/batches
	}
	v := layer.Values{beta: {0.5}}
	u.Apply(v)
	for what, pair := range map[string][2]float64{
		"mean": {float64(v[mean][0]), sum}, "variance": {float64(v[variance][0]), squares - sum*sum},
		"offset": {float64(v[beta][0]), 0.5 + sum}, "scale": {float64(v[gamma][0]), math.Sqrt(squares - sum*sum + layer.NormEps)},
	} {
		if math.Abs(pair[0]-pair[1]) > 1e-5 {
			t.Errorf("%s is %g, want %g", what, pair[0], pair[1])
		}
	}
}

// insightface's published graph has this registry's layers under other names.
func TestRealAdoptPublished(t *testing.T) {
	root := os.Getenv("PIPE_REAL_DATA")
	if root == "" {
		t.Skip("PIPE_REAL_DATA is not set")
	}
	path := filepath.Join(root, "models", "w600k_mbf.onnx")
	m, err := onnx.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	n, err := New("mbf-0.45g", Config{})
	if err != nil {
		t.Fatal(err)
	}
	v := n.Initial(1)
	a, err := n.AdoptGraph(v, m)
	if err != nil {
		t.Fatal(err)
	}
	if a.Taken != a.Tensors || !a.ByOrder || len(a.Unused) != 0 {
		t.Fatalf("%d of %d, by order %v, unused %v", a.Taken, a.Tensors, a.ByOrder, a.Unused)
	}
	own, err := n.Export(v, ExportOptions{Size: InputSide, Std: 1})
	if err != nil {
		t.Fatal(err)
	}
	const dim = 512
	got, want := inferred(t, written(t, own), pixels(), dim), inferred(t, path, pixels(), dim)
	for r := range testRows {
		if c := cosine(got[r*dim:][:dim], want[r*dim:][:dim]); !(c > 0.999999) {
			t.Errorf("row %d: cosine %.8f", r, c)
		}
	}
}

func FuzzAdoptGraph(f *testing.F) {
	n, err := New("ghostfacenetv1-2", Config{Dim: 8, Width: 0.1})
	if err != nil {
		f.Fatal(err)
	}
	v := n.Initial(1)
	m, err := n.Export(v, ExportOptions{Size: InputSide, Std: 1})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(m.Marshal())
	f.Add(foreign(m).Marshal())
	f.Add((&onnx.Model{OpsetVersion: 13, Graph: onnx.Graph{
		Nodes: []onnx.Node{
			{OpType: "Conv", Inputs: []string{"x", "w"}, Outputs: []string{"y"}},
			{OpType: "BatchNormalization", Inputs: []string{"y", "c", "c", "c", "c"}, Outputs: []string{"z"}},
		},
		Initializers: []onnx.Tensor{onnx.FloatTensor("w", []float32{1, 2}, 2, 1, 1, 1), onnx.FloatTensor("c", []float32{1, 2}, 2)},
		Outputs:      []onnx.ValueInfo{{Name: "z"}},
	}}).Marshal())
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := onnx.Unmarshal(data)
		if err != nil {
			return
		}
		values := n.Initial(1)
		alloctest.AtMost(t, 8<<20+500*len(data), func() { _, _ = n.AdoptGraph(maps.Clone(values), m) })
		a, err := n.AdoptGraph(values, m)
		if err != nil {
			return
		}
		if a.Taken > a.Tensors || a.Values > a.AllValues {
			t.Errorf("%+v", a)
		}
		for _, p := range n.Params() {
			if len(values[p]) != p.Elements() {
				t.Errorf("%s has %d values of shape %v", p.Name, len(values[p]), p.Shape)
			}
		}
	})
}
