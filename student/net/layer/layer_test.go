package layer

import (
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"facepipe/internal/onnx"
	"facepipe/internal/ort"
	"facepipe/student/torch"
	"facepipe/student/torch/torchtest"
)

// activations with what each makes of a number, where it begins.
var activations = map[Activation]func(float64) float64{
	Linear: func(x float64) float64 { return x },
	PReLU:  func(x float64) float64 { return max(0, x) + slopeInit*min(0, x) },
	ReLU:   func(x float64) float64 { return max(0, x) },
	SiLU:   func(x float64) float64 { return x / (1 + math.Exp(-x)) },
	GELU:   func(x float64) float64 { return x * 0.5 * math.Erfc(-x/math.Sqrt2) },
}

const rows, channels, side = 2, 8, 6

// Each activation is what its formula says: fused with the norm in training, outside it, and
// in the graph.
func TestActivations(t *testing.T) {
	e := torchtest.Open(t)
	pixels := make([]float32, rows*channels*side*side)
	rng := rand.New(rand.NewPCG(1, 2))
	for i := range pixels {
		pixels[i] = float32(rng.NormFloat64())
	}
	// outputs of a layer with an activation: in training, then outside it and in the graph.
	outputs := func(a Activation) [3][]float32 {
		s := torchtest.Scope(t, e)
		l := Conv3(channels, channels, 1, a)
		var params []*Param
		l.Register("", func(p *Param) { params = append(params, p) })
		if err := Materialise(s, "cpu", 1, params); err != nil {
			t.Fatal(err)
		}
		var y [3][]float32
		e.NoGrad(func() {
			for i, training := range []bool{true, false} {
				x := torch.FromData(s, "cpu", pixels, rows, channels, side, side)
				y[i] = s.Floats(l.Forward(&Pass{Scope: s, Training: training, DType: torch.Float32}, x))
			}
		})
		g := &Graph{Values: Values{}, Opset: 13}
		for _, p := range params {
			g.Values[p] = s.Floats(p.Tensor())
		}
		if s.Err() != nil {
			t.Fatal(s.Err())
		}
		g.Outputs = []onnx.ValueInfo{{Name: l.Export(g, "", "x"), Type: onnx.Float32, Dims: onnx.Fixed(rows, channels, side, side)}}
		g.Inputs = []onnx.ValueInfo{{Name: "x", Type: onnx.Float32, Dims: onnx.Fixed(rows, channels, side, side)}}
		y[2] = inferred(t, g, pixels)
		return y
	}
	raw := outputs(Linear)
	for a, f := range activations {
		for i, got := range outputs(a) {
			for k, v := range got {
				if want := f(float64(raw[i][k])); math.Abs(float64(v)-want) > 1e-5 {
					t.Fatalf("activation %d, form %d: %g of %g, want %g", a, i, v, raw[i][k], want)
				}
			}
		}
	}
	for k, v := range raw[2] {
		if math.Abs(float64(v-raw[1][k])) > 1e-4 {
			t.Fatalf("the graph gives %g, the engine %g", v, raw[1][k])
		}
	}
}

// inferred is what ONNX Runtime makes of pixels.
func inferred(t *testing.T, g *Graph, pixels []float32) []float32 {
	t.Helper()
	path := filepath.Join(t.TempDir(), "layer.onnx")
	if err := os.WriteFile(path, (&onnx.Model{IRVersion: 7, OpsetVersion: g.Opset, Graph: g.Graph}).Marshal(), 0o644); err != nil {
		t.Fatal(err)
	}
	m, err := ort.Open(t.Context(), path, ort.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	var tensors [2]*ort.Tensor
	for i := range tensors {
		if tensors[i], err = ort.NewTensor(rows, channels, side, side); err != nil {
			t.Fatal(err)
		}
		defer tensors[i].Close()
	}
	copy(tensors[0].Data(), pixels)
	if err := m.Run(tensors[:1], tensors[1:]); err != nil {
		t.Fatal(err)
	}
	return append([]float32(nil), tensors[1].Data()...)
}

// Keras' "same", as TensorFlow documents it: zeros before and after a row.
func TestPadAsKeras(t *testing.T) {
	for _, c := range []struct{ side, kernel, stride, before, after int }{
		{112, 3, 1, 1, 1}, {112, 5, 1, 2, 2}, {112, 3, 2, 0, 1}, {28, 5, 2, 1, 2}, {7, 5, 2, 2, 2}, {7, 3, 2, 1, 1}, {7, 7, 1, 3, 3}, {8, 1, 2, 0, 0},
	} {
		l := (&ConvNorm{Kernel: c.kernel, Stride: c.stride}).PadAsKeras(c.side)
		if l.Padding != c.before || l.Padding+l.Far != c.after {
			t.Errorf("%+v: %d before, %d after", c, l.Padding, l.Padding+l.Far)
		}
		if out, _ := (&ConvNorm{In: 1, Out: 1, Groups: 1, Kernel: c.kernel, Stride: c.stride, Padding: l.Padding, Far: l.Far}).Cost(Shape{1, c.side, c.side}); out.Height != (c.side+c.stride-1)/c.stride {
			t.Errorf("%+v: %d places", c, out.Height)
		}
	}
}
