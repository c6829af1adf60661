package embed

import (
	"math"
	"strings"
	"testing"

	"facepipe/internal/onnx"
	"facepipe/internal/vec"
)

// unitWith makes tiny give its embedding with length 1, and beside it an output of a name and
// shape that some nodes make of length, the length that the embedding had.
func unitWith(name string, nodes ...onnx.Node) func(*onnx.Model) {
	return func(m *onnx.Model) {
		after(onnx.Node{Name: "length", OpType: "ReduceL2", Inputs: []string{"rows"}, Outputs: []string{"length"}, Attributes: []onnx.Attribute{onnx.Ints("axes", 1)}},
			onnx.Node{Name: "unit", OpType: "Div", Inputs: []string{"rows", "length"}, Outputs: []string{"embedding"}})(m)
		m.Graph.Nodes = append(m.Graph.Nodes, nodes...)
		m.Graph.Outputs = append(m.Graph.Outputs, onnx.ValueInfo{Name: name, Type: onnx.Float32})
	}
}

func node(op, from, to string, attributes ...onnx.Attribute) onnx.Node {
	return onnx.Node{Name: to, OpType: op, Inputs: []string{from}, Outputs: []string{to}, Attributes: attributes}
}

// The norm that a model gives beside an embedding of unit length makes the raw one of it.
func TestNormOutput(t *testing.T) {
	flat := func(m *onnx.Model) {
		unitWith("feature_norm", onnx.Node{Name: "s", OpType: "Squeeze", Inputs: []string{"length", "one"}, Outputs: []string{"feature_norm"}})(m)
		m.Graph.Initializers = append(m.Graph.Initializers, onnx.IntTensor("one", []int64{1}, 1))
	}
	half := func(m *onnx.Model) {
		unitWith("Norm", cast("length", "Norm", onnx.Float16))(m)
		m.Graph.Outputs[1].Type = onnx.Float16
	}
	for name, edit := range map[string]func(*onnx.Model){"feature_norm": flat, "Norm": half, "length": unitWith("length"),
		"31": unitWith("31", node("Identity", "length", "31"))} {
		path := tiny(t, edit)
		for _, batch := range []int{1, 3, AutoBatch} {
			m := open(t, path, Options{Preprocess: "raw", Batch: batch})
			if notes := strings.Join(m.Notes(), "; "); m.Outputs().Norm != name || !strings.Contains(notes, "of unit length, and "+name+" the length that it had") {
				t.Errorf("%s: %+v, notes %q", name, m.Outputs(), notes)
			}
			pixels, got := crops(4), make([]float32, 16)
			if err := m.Embed(4, pixels, false, got); err != nil {
				t.Fatal(err)
			}
			for i := range 4 {
				for k, want := range channelMeans(pixels[i*112*112*3:(i+1)*112*112*3], Raw()) {
					if math.Abs(float64(got[4*i+k])-want) > 1e-3*want {
						t.Errorf("%s, batch %d: crop %d value %d is %g, want %g", name, batch, i, k, got[4*i+k], want)
					}
				}
			}
		}
		contract := Raw()
		as, without := open(t, path, Options{Contract: &contract, Norm: name}), open(t, path, Options{Contract: &contract})
		if as.Outputs().Norm != name || without.Outputs() != (Outputs{}) || as.Fingerprint(false, "fp16", Rounding{}) == without.Fingerprint(false, "fp16", Rounding{}) {
			t.Errorf("%s: by the contract of a cache %+v and %+v", name, as.Outputs(), without.Outputs())
		}
		e := make([]float32, 4)
		if err := without.Embed(1, crops(1), false, e); err != nil || math.Abs(vec.Norm(e)-1) > 1e-5 {
			t.Errorf("%s: without the norm %v, %v", name, e, err)
		}
		expectError(t, path, Options{Contract: &contract, Norm: "embedding"}, ErrShape, "no output \"embedding\" of a norm")
	}
}

// What is no norm is not multiplied by, and a name that claims it is contradicted.
func TestOutputsThatAreNoNorm(t *testing.T) {
	raw := func(name string, nodes ...onnx.Node) func(*onnx.Model) {
		return func(m *onnx.Model) {
			m.Graph.Nodes = append(m.Graph.Nodes, nodes...)
			m.Graph.Outputs = append(m.Graph.Outputs, onnx.ValueInfo{Name: name, Type: onnx.Float32})
		}
	}
	sum := node("ReduceL1", "embedding", "norm", onnx.Ints("axes", 1))
	two := func(m *onnx.Model) {
		unitWith("age", node("Identity", "length", "age"))(m)
		raw("score", node("Identity", "length", "score"))(m)
	}
	for name, c := range map[string]struct {
		edit func(*onnx.Model)
		note string
	}{
		"a probability":    {unitWith("p", node("Sigmoid", "length", "p")), "output embedding is the embedding, p is left out"},
		"negative":         {unitWith("norm", node("Neg", "length", "norm")), "output norm is not the embedding's norm: it is -"},
		"of a raw one":     {raw("norm", node("ReduceL2", "embedding", "norm", onnx.Ints("axes", 1))), "output norm is the embedding's length, which is kept anyway"},
		"contradiction":    {raw("norm", sum), "output norm is not the embedding's norm: it is "},
		"several":          {two, "output embedding is the embedding, age, score is left out"},
		"another's length": {raw("q", node("ReduceL1", "embedding", "q", onnx.Ints("axes", 1))), "output embedding is the embedding, q is left out"},
	} {
		m := open(t, tiny(t, c.edit), Options{Preprocess: "raw"})
		if notes := strings.Join(m.Notes(), "; "); m.Outputs() != (Outputs{}) || !strings.Contains(notes, c.note) {
			t.Errorf("%s: %+v, notes %q", name, m.Outputs(), notes)
		}
	}
}
