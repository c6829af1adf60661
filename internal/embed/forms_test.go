package embed

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"facepipe/internal/onnx"
)

// Exporters declare the batch that they traced for the output, and keep the input's free.
func TestOutputDeclaredWithAnotherBatch(t *testing.T) {
	for name, dims := range map[string][]onnx.Dim{"one": onnx.Fixed(1, 4), "sixteen": onnx.Fixed(16, 4)} {
		path := tiny(t, func(m *onnx.Model) { m.Graph.Outputs[0].Dims = dims })
		for _, batch := range []int{0, 1, 5, AutoBatch} {
			m := open(t, path, Options{Batch: batch})
			if want := max(batch, 1); batch > 0 && m.Batch() != want || m.Dim() != 4 || len(m.Notes()) > 0 && batch != AutoBatch {
				t.Errorf("%s: asked for a batch of %d: %d, dim %d, notes %q", name, batch, m.Batch(), m.Dim(), m.Notes())
			}
			expectMeans(t, m, crops(7))
		}
	}
}

// reshaped makes the output one of a shape, where 0 is the batch.
func reshaped(shape ...int64) func(*onnx.Model) {
	return func(m *onnx.Model) {
		g := &m.Graph
		g.Nodes[2].Outputs[0] = "rows"
		g.Initializers = append(g.Initializers, onnx.IntTensor("form", shape, int64(len(shape))))
		g.Nodes = append(g.Nodes, onnx.Node{Name: "form", OpType: "Reshape", Inputs: []string{"rows", "form"}, Outputs: []string{"embedding"}})
		g.Outputs[0].Dims = slices.Repeat([]onnx.Dim{onnx.Variable("")}, len(shape))
	}
}

// Ones may stand anywhere in the shape of an embedding.
func TestFormsOfAnEmbedding(t *testing.T) {
	for _, shape := range [][]int64{{0, 4}, {0, 1, 4}, {0, 4, 1, 1}, {0, 1, 1, 4}} {
		m := open(t, tiny(t, reshaped(shape...)), Options{Batch: 3})
		if m.Batch() != 3 || m.Dim() != 4 {
			t.Errorf("%v: batch %d, dim %d", shape, m.Batch(), m.Dim())
		}
		expectMeans(t, m, crops(4))
	}
	single := func(m *onnx.Model) {
		reshaped(4)(m)
		m.Graph.Inputs[0].Dims[0].Size = 1
	}
	expectMeans(t, open(t, tiny(t, single), Options{}), crops(2))
	expectError(t, tiny(t, reshaped(0, 2, 2)), Options{}, ErrShape, "shape [8 2 2]")
}

// AdaFace gives an embedding and its norm.
func TestSeveralOutputs(t *testing.T) {
	norm := func(m *onnx.Model) {
		g := &m.Graph
		g.Nodes = append(g.Nodes, onnx.Node{Name: "norm", OpType: "ReduceL2", Inputs: []string{"embedding"}, Outputs: []string{"norm"},
			Attributes: []onnx.Attribute{onnx.Ints("axes", 1)}})
		g.Outputs = append([]onnx.ValueInfo{{Name: "norm", Type: onnx.Float32, Dims: []onnx.Dim{onnx.Variable("N"), {Size: 1}}}}, g.Outputs...)
	}
	m := open(t, tiny(t, norm), Options{Batch: 3})
	if notes := strings.Join(m.Notes(), "; "); m.Dim() != 4 || !strings.Contains(notes, "output embedding is the embedding, norm is left out") {
		t.Errorf("dim %d, notes %q", m.Dim(), notes)
	}
	expectMeans(t, m, crops(4))
}

// Of several outputs with an embedding's shape one has to be named, and what is named is part of
// what the embeddings are; to name what would be taken anyway is not.
func TestNamedOutput(t *testing.T) {
	several := func(m *onnx.Model) {
		m.Graph.Outputs = append(m.Graph.Outputs, onnx.ValueInfo{Name: "flat", Type: onnx.Float32, Dims: []onnx.Dim{onnx.Variable("N"), {Size: 3}}},
			onnx.ValueInfo{Name: "pooled", Type: onnx.Float32})
		m.Graph.Outputs[0].Type = onnx.Float64
		after(onnx.Node{Name: "wide", OpType: "Cast", Inputs: []string{"rows"}, Outputs: []string{"embedding"}, Attributes: []onnx.Attribute{onnx.Int("to", int64(onnx.Float64))}})(m)
	}
	const shapes = "output embedding has shape [8 4], output flat has shape [8 3], output pooled has shape [8 3 1 1]"
	expectError(t, tiny(t, several), Options{}, ErrShape, shapes+" for a batch of 8, want exactly one with 8 rows of an embedding each: name it with --output")
	expectError(t, tiny(t, several), Options{Output: "feature"}, ErrShape, `it has no output "feature": `+shapes)
	path, prints := tiny(t, several), map[string]bool{}
	for name, dim := range map[string]int{"embedding": 4, "flat": 3, "pooled": 3} {
		m := open(t, path, Options{Output: name})
		if m.Dim() != dim || m.Outputs().Embedding != name {
			t.Errorf("%s: dim %d, %+v", name, m.Dim(), m.Outputs())
		}
		prints[m.Fingerprint(false, "fp16", false)] = true
	}
	if len(prints) != 3 {
		t.Error("two outputs have one fingerprint")
	}
	path = tiny(t, nil)
	if a, b := open(t, path, Options{Output: "embedding"}), open(t, path, Options{}); a.Outputs() != (Outputs{}) ||
		a.Fingerprint(false, "fp16", false) != b.Fingerprint(false, "fp16", false) {
		t.Errorf("the only output's name changes the fingerprint: %+v", a.Outputs())
	}
}

// Another precision is cast, whatever else the model gives beside the embedding.
func TestOtherPrecisions(t *testing.T) {
	for _, precision := range []onnx.ElemType{onnx.Float16, onnx.Float64} {
		path := tiny(t, func(m *onnx.Model) {
			g := &m.Graph
			cast := func(from, to string, t onnx.ElemType) onnx.Node {
				return onnx.Node{Name: to, OpType: "Cast", Inputs: []string{from}, Outputs: []string{to}, Attributes: []onnx.Attribute{onnx.Int("to", int64(t))}}
			}
			g.Nodes[0].Inputs[0], g.Nodes[2].Outputs[0] = "image", "rows"
			g.Nodes = append([]onnx.Node{cast("input", "image", onnx.Float32)}, append(g.Nodes,
				cast("rows", "embedding", precision), cast("rows", "class", onnx.Int64))...)
			g.Inputs[0].Type, g.Outputs[0].Type = precision, precision
			g.Outputs = append(g.Outputs, onnx.ValueInfo{Name: "class", Type: onnx.Int64, Dims: g.Outputs[0].Dims})
		})
		m := open(t, path, Options{Batch: 3})
		if notes := strings.Join(m.Notes(), "; "); !strings.Contains(notes, "input is "+precision.String()) {
			t.Errorf("%v: notes %q", precision, notes)
		}
		expectMeans(t, m, crops(4))
	}
}

// The weights beside a model are found even if its output is not as it declares.
func TestOutputDeclaredWithAnotherBatchAndExternalWeights(t *testing.T) {
	path := tiny(t, func(m *onnx.Model) {
		w := &m.Graph.Initializers[0]
		w.Data, w.External = nil, []onnx.Property{{Key: "location", Value: "tiny.data"}}
		m.Graph.Outputs[0].Dims[0].Size = 1
	})
	weights := onnx.FloatTensor("", []float32{1, 0, 0, 1, 0, 1, 0, 1, 0, 0, 1, 1}).Data
	if err := os.WriteFile(filepath.Join(filepath.Dir(path), "tiny.data"), weights, 0o644); err != nil {
		t.Fatal(err)
	}
	expectMeans(t, open(t, path, Options{Batch: 3}), crops(4))
}
