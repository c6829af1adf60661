package net

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

// Trained parameters and multiplications at full size. Those of the residual networks are
// what torch counts of insightface's, less the 512 weights of the last norm, which it
// does not train.
func TestSizes(t *testing.T) {
	for _, c := range []struct {
		name       string
		parameters int
		macs       int64
	}{
		{"mobilefacenet", 1200512, 221161984},
		{"mbf-0.45g", 3410368, 440444928},
		{"ir18", 24025600 - 512, 2609954816},
		{"ir34", 34139328 - 512, 4459642880},
		{"ir50", 43590848 - 512, 6309330944},
		{"ir100", 65156160 - 512, 12089606144},
	} {
		n, err := New(c.name, Config{})
		if err != nil {
			t.Fatal(err)
		}
		if n.Parameters() != c.parameters || n.MACs() != c.macs {
			t.Errorf("%s: %d parameters and %d multiplications, want %d and %d", c.name, n.Parameters(), n.MACs(), c.parameters, c.macs)
		}
	}
	if len(Architectures()) != 6 {
		t.Errorf("%v are not all tested", Architectures())
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
	m, err := n.Export(s, ExportOptions{Size: cropSide, Mean: 127.5, Std: 127.5, Producer: "test", Version: "1"})
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
			const rows = 3
			n, err := New(name, Config{Dim: 32, Width: 0.125})
			if err != nil {
				t.Fatal(err)
			}
			if err := n.Materialise(e, "cpu", 1); err != nil {
				t.Fatal(err)
			}
			defer n.Close()
			s := torchtest.Scope(t, e)
			rng := rand.New(rand.NewPCG(1, 2))
			drawNorms(s, n, rng)
			pixels := make([]float32, rows*3*cropSide*cropSide)
			for i := range pixels {
				pixels[i] = float32(2*rng.Float64() - 1)
			}
			var want []float32
			e.NoGrad(func() {
				want = s.Floats(n.Forward(s, torch.FromData(s, "cpu", pixels, rows, 3, cropSide, cropSide), torch.Float32, false))
			})
			path := filepath.Join(t.TempDir(), "student.onnx")
			if err := os.WriteFile(path, exported(t, s, n).Marshal(), 0o644); err != nil {
				t.Fatal(err)
			}
			got := embedded(t, path, pixels, rows)
			if s.Err() != nil || len(got) != len(want) || len(want) != rows*32 {
				t.Fatalf("%v: %d values, want %d", s.Err(), len(got), len(want))
			}
			for r := range rows {
				if c := cosine(got[r*32:(r+1)*32], want[r*32:(r+1)*32]); !(c > 0.999999) {
					t.Errorf("row %d: cosine %.8f", r, c)
				}
			}
		})
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
			s.Copy(p.tensor, torch.FromData(s, "cpu", v, p.Shape...))
		}
	})
}

func cosine(a, b []float32) float64 {
	var ab, aa, bb float64
	for i := range a {
		ab += float64(a[i]) * float64(b[i])
		aa += float64(a[i]) * float64(a[i])
		bb += float64(b[i]) * float64(b[i])
	}
	return ab / math.Sqrt(aa*bb)
}

// embedded runs a model on pixels.
func embedded(t *testing.T, path string, pixels []float32, rows int64) []float32 {
	t.Helper()
	m, err := ort.Open(path, ort.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	in, err := ort.NewTensor(rows, 3, cropSide, cropSide)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	out, err := ort.NewTensor(rows, 32)
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
