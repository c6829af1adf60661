package net

import (
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"facepipe/internal/onnx"
	"facepipe/internal/ort"
	"facepipe/student/torch"
	"facepipe/student/torch/torchtest"
)

// With the last class token alone a MetaFormer has neither what widens the first one nor the
// norms around that.
func TestOnlyLastClassToken(t *testing.T) {
	e := torchtest.Open(t)
	for name, want := range map[string]int{"metaformer-0": 27874240, "metaformer-1": 44985760, "metaformer-2": 79941632} {
		n, err := New(name, Config{OnlyLastClassToken: true})
		if err != nil {
			t.Fatal(err)
		}
		if n.Parameters() != want {
			t.Errorf("%s: %d parameters, want %d", name, n.Parameters(), want)
		}
	}
	size := small
	size.OnlyLastClassToken = true
	n := drawnOf(t, e, "metaformer-0", size, 1)
	s := torchtest.Scope(t, e)
	agree(t, embedded(t, exported(t, s, n)), forward(t, s, n, false), 0.999999)
}

// Settings of transformers are those of no other network.
func TestTransformerSettings(t *testing.T) {
	for _, c := range []struct {
		name string
		size Config
		fine bool
	}{
		{"metaformer-0", Config{DropPath: 0.1, OnlyLastClassToken: true}, true},
		{"metaformer-0", Config{DropPath: 1}, false},
		{"metaformer-0", Config{DropPath: -0.1}, false},
		{"metaformer-0", Config{DropPath: math.NaN()}, false},
		{"ir18", Config{DropPath: 0.1}, false},
		{"ir18", Config{OnlyLastClassToken: true}, false},
	} {
		if _, err := New(c.name, c.size); (err == nil) != c.fine {
			t.Errorf("%s with %+v: %v", c.name, c.size, err)
		}
	}
}

// Trained parameters and multiplications at full size. Those of the residual networks are
// what torch counts of insightface's, less the 512 weights of the last norm, which it
// does not train. Those of MetaFormer are what torch counts of its authors' code with a last
// map of 4×4; products of tokens with each other are not among its multiplications. Those of
// GhostFaceNet are sums over the layers that its authors' code
// has; with 28,552 running statistics they make the 4.09 million that are published.
func TestSizes(t *testing.T) {
	for _, c := range []struct {
		name       string
		parameters int
		macs       int64
	}{
		{"mobilefacenet", 1200512, 221161984},
		{"mbf-0.45g", 3410368, 440444928},
		{"ghostfacenetv1-1", 4060260, 211909644},
		{"ghostfacenetv1-2", 4038348, 59316222},
		{"ir18", 24025600 - 512, 2609954816},
		{"ir34", 34139328 - 512, 4459642880},
		{"ir50", 43590848 - 512, 6309330944},
		{"ir100", 65156160 - 512, 12089606144},
		{"metaformer-0", 28321603, 1222176768},
		{"metaformer-1", 45433123, 2196132864},
		{"metaformer-2", 80734723, 4396115968},
	} {
		n, err := New(c.name, Config{})
		if err != nil {
			t.Fatal(err)
		}
		if n.Parameters() != c.parameters || n.MACs() != c.macs {
			t.Errorf("%s: %d parameters and %d multiplications, want %d and %d", c.name, n.Parameters(), n.MACs(), c.parameters, c.macs)
		}
	}
}

// The graph of mbf has as many weights as insightface's own w600k_mbf.onnx, which has the
// last norm as a node with four vectors.
func TestPublishedMBF(t *testing.T) {
	const published = 3400448 - 4*512
	e := torchtest.Open(t)
	n, err := New("mbf-0.45g", Config{})
	if err != nil {
		t.Fatal(err)
	}
	if err := n.Materialise(e, "cpu", 1); err != nil {
		t.Fatal(err)
	}
	defer n.Close()
	if got := weights(exported(t, torchtest.Scope(t, e), n)); got != published {
		t.Errorf("%d weights in the graph, want %d", got, published)
	}
}

func weights(m *onnx.Model) int {
	sum := 0
	for _, w := range m.Graph.Initializers {
		n := 1
		for _, d := range w.Dims {
			n *= int(d)
		}
		sum += n
	}
	return sum
}

func exported(t *testing.T, s *torch.Scope, n *Network) *onnx.Model {
	t.Helper()
	v, err := n.Values(s)
	if err != nil {
		t.Fatal(err)
	}
	m, err := n.Export(v, ExportOptions{Size: InputSide, Mean: 127.5, Std: 127.5, Producer: "test", Version: "1"})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// What ONNX Runtime makes of each network's graph is what the engine makes of it with
// the running statistics, which are drawn here like everything that a norm holds.
func TestExportsAgree(t *testing.T) {
	e := torchtest.Open(t)
	for _, name := range Architectures() {
		t.Run(name, func(t *testing.T) {
			n := drawn(t, e, name, 1)
			s := torchtest.Scope(t, e)
			agree(t, embedded(t, exported(t, s, n)), forward(t, s, n, false), 0.999999)
		})
	}
}

// At full width, in single precision and in half, networks with statistics that fit agree
// as well. The five largest are as small as everywhere here, for time and memory.
func TestFullWidthExportsAgree(t *testing.T) {
	e := torchtest.Open(t)
	for _, name := range Architectures() {
		t.Run(name, func(t *testing.T) {
			size, rounds := Config{}, 10
			if slices.Contains([]string{"ir34", "ir50", "ir100", "metaformer-1", "metaformer-2"}, name) {
				size, rounds = small, 50
			}
			n := drawnOf(t, e, name, size, 1)
			s := torchtest.Scope(t, e)
			settle(t, s, n, rounds)
			want := forward(t, s, n, false)
			values, err := n.Values(s)
			if err != nil {
				t.Fatal(err)
			}
			for _, half := range []bool{false, true} {
				m, err := n.Export(values, ExportOptions{Size: InputSide, Std: 1, Half: half})
				if err != nil {
					t.Fatal(err)
				}
				agree(t, inferred(t, written(t, m), pixels(), int64(n.Dim)), want, map[bool]float64{false: 0.999999, true: 0.9999}[half])
			}
		})
	}
}

// So is each form of the graph. These two have all operators that there are.
func TestFormsAgree(t *testing.T) {
	e := torchtest.Open(t)
	for _, name := range []string{"ghostfacenetv1-2", "metaformer-0"} {
		t.Run(name, func(t *testing.T) { formsAgree(t, e, name) })
	}
}

func formsAgree(t *testing.T, e *torch.Engine, name string) {
	n := drawn(t, e, name, 1)
	s := torchtest.Scope(t, e)
	settle(t, s, n, 50) // or activations grow beyond half precision
	want := forward(t, s, n, false)
	values, err := n.Values(s)
	if err != nil {
		t.Fatal(err)
	}
	for opset := int64(firstOpset); opset <= lastOpset; opset++ {
		for form := range 8 {
			if form > 0 && form < 7 && opset != DefaultOpset && opset != 18 {
				continue // all of them before and after the operators changed
			}
			o := ExportOptions{Size: InputSide, Mean: 0, Std: 1, Opset: opset, NormaliseInside: form&1 != 0, UnitLength: form&2 != 0, Half: form&4 != 0}
			m, err := n.Export(values, o)
			if err != nil {
				t.Fatal(err)
			}
			got := embedded(t, m)
			limit := 0.999999
			if o.Half {
				limit = 0.999 // as rounding of random weights allows in so small a network
			}
			agree(t, got, want, limit)
			for r := range testRows {
				length := math.Sqrt(dot(got[r*testDim:][:testDim], got[r*testDim:][:testDim]))
				if o.UnitLength != (math.Abs(length-1) < 1e-6) {
					t.Errorf("opset %d, form %d: row %d has length %g", opset, form, r, length)
				}
			}
		}
	}
	for _, opset := range []int64{firstOpset - 1, lastOpset + 1} {
		if _, err := n.Export(values, ExportOptions{Size: InputSide, Std: 1, Opset: opset}); err == nil {
			t.Errorf("opset %d: no error", opset)
		}
	}
}

// A graph that takes pixels normalises them as the one behind the normalisation expects.
func TestInputNormInside(t *testing.T) {
	e := torchtest.Open(t)
	n := drawn(t, e, "mobilefacenet", 1)
	s := torchtest.Scope(t, e)
	values, err := n.Values(s)
	if err != nil {
		t.Fatal(err)
	}
	m, err := n.Export(values, ExportOptions{Size: InputSide, Mean: 127.5, Std: 127.5, NormaliseInside: true})
	if err != nil {
		t.Fatal(err)
	}
	raw := pixels()
	for i := range raw {
		raw[i] = raw[i]*127.5 + 127.5
	}
	agree(t, inferred(t, written(t, m), raw, testDim), forward(t, s, n, false), 0.999999)
}

// A weight that float16 cannot hold is named.
func TestHalfRefusesWhatItCannotHold(t *testing.T) {
	n, err := New("mobilefacenet", Config{Dim: testDim, Width: 0.125})
	if err != nil {
		t.Fatal(err)
	}
	v := n.Initial(1)
	for _, p := range n.Params() {
		if p.Name == "stage1.block2.project.norm.bias" {
			v[p][3] = 70000
		}
	}
	if _, err := n.Export(v, ExportOptions{Size: InputSide, Std: 1, Half: true}); err == nil || !strings.Contains(err.Error(), "stage1.block2.project.bias") {
		t.Errorf("%v", err)
	}
}

const (
	testRows = 3
	testDim  = 32
)

// small is the size of the networks that most tests take.
var small = Config{Dim: testDim, Width: 0.125}

// drawn is a small network whose norms and slopes have other values than they begin with.
func drawn(t testing.TB, e *torch.Engine, name string, seed uint64) *Network {
	t.Helper()
	return drawnOf(t, e, name, small, seed)
}

func drawnOf(t testing.TB, e *torch.Engine, name string, size Config, seed uint64) *Network {
	t.Helper()
	n, err := New(name, size)
	if err != nil {
		t.Fatal(err)
	}
	if err := n.Materialise(e, "cpu", seed); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(n.Close)
	drawNorms(torchtest.Scope(t, e), n, rand.New(rand.NewPCG(seed, 2)))
	return n
}

// pixels are the input of forward.
func pixels() []float32 {
	rng := rand.New(rand.NewPCG(1, 2))
	v := make([]float32, testRows*3*InputSide*InputSide)
	for i := range v {
		v[i] = float32(2*rng.Float64() - 1)
	}
	return v
}

func forward(t testing.TB, s *torch.Scope, n *Network, training bool) (y []float32) {
	t.Helper()
	s.Engine().NoGrad(func() {
		y = s.Floats(n.Forward(s, torch.FromData(s, "cpu", pixels(), testRows, 3, InputSide, InputSide), torch.Float32, training))
	})
	if s.Err() != nil {
		t.Fatal(s.Err())
	}
	return y
}

// settle makes the running statistics those of the crops that forward takes.
func settle(t testing.TB, s *torch.Scope, n *Network, rounds int) {
	t.Helper()
	for range rounds {
		forward(t, s, n, true)
		s.Close()
	}
}

// agree wants the rows of two matrices to have at least a cosine.
func agree(t testing.TB, got, want []float32, limit float64) {
	t.Helper()
	dim := len(want) / testRows
	if len(got) != testRows*dim || len(want) != len(got) || dim == 0 {
		t.Fatalf("%d and %d values", len(got), len(want))
	}
	for r := range testRows {
		if c := cosine(got[r*dim:][:dim], want[r*dim:][:dim]); !(c >= limit) {
			t.Errorf("row %d: cosine %.8f", r, c)
		}
	}
}

// drawNorms gives all norms and slopes other values than they begin with.
func drawNorms(s *torch.Scope, n *Network, rng *rand.Rand) {
	s.Engine().NoGrad(func() {
		for _, p := range n.Params() {
			if len(p.Shape) > 1 {
				continue
			}
			v := make([]float32, p.Elements())
			for i := range v {
				v[i] = float32(0.5 + rng.Float64())
			}
			s.Copy(p.Tensor(), torch.FromData(s, "cpu", v, p.Shape...))
		}
	})
}

func cosine(a, b []float32) float64 { return dot(a, b) / math.Sqrt(dot(a, a)*dot(b, b)) }

func dot(a, b []float32) float64 {
	sum := 0.0
	for i := range a {
		sum += float64(a[i]) * float64(b[i])
	}
	return sum
}

// embedded runs a model on the input of forward.
func embedded(t testing.TB, m *onnx.Model) []float32 {
	t.Helper()
	return inferred(t, written(t, m), pixels(), testDim)
}

func written(t testing.TB, m *onnx.Model) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "student.onnx")
	if err := os.WriteFile(path, m.Marshal(), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

// inferred runs a model file once.
func inferred(t testing.TB, path string, pixels []float32, dim int64) []float32 {
	t.Helper()
	m, err := ort.Open(t.Context(), path, ort.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	in, err := ort.NewTensor(testRows, 3, InputSide, InputSide)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	out, err := ort.NewTensor(testRows, dim)
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	copy(in.Data(), pixels)
	if err := m.Run([]*ort.Tensor{in}, []*ort.Tensor{out}); err != nil {
		t.Fatal(err)
	}
	return append([]float32(nil), out.Data()...)
}
