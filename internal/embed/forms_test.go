package embed

import (
	"math"
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
		prints[m.Fingerprint(false, "fp16", Rounding{})] = true
	}
	if len(prints) != 3 {
		t.Error("two outputs have one fingerprint")
	}
	path = tiny(t, nil)
	if a, b := open(t, path, Options{Output: "embedding"}), open(t, path, Options{}); a.Outputs() != (Outputs{}) ||
		a.Fingerprint(false, "fp16", Rounding{}) != b.Fingerprint(false, "fp16", Rounding{}) {
		t.Errorf("the only output's name changes the fingerprint: %+v", a.Outputs())
	}
}

// Another precision is cast, whatever else the model gives beside the embedding.
func TestOtherPrecisions(t *testing.T) {
	for _, precision := range []onnx.ElemType{onnx.Float16, onnx.Float64, onnx.BFloat16} {
		path := tiny(t, func(m *onnx.Model) {
			g := &m.Graph
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

// cast is a node that casts a value.
func cast(from, to string, t onnx.ElemType) onnx.Node {
	return onnx.Node{Name: to, OpType: "Cast", Inputs: []string{from}, Outputs: []string{to}, Attributes: []onnx.Attribute{onnx.Int("to", int64(t))}}
}

// taking makes the model's input one of a type.
func taking(t onnx.ElemType) func(*onnx.Model) {
	return func(m *onnx.Model) {
		g := &m.Graph
		g.Inputs[0].Type, g.Nodes[0].Inputs[0] = t, "image"
		g.Nodes = append([]onnx.Node{cast("input", "image", onnx.Float32)}, g.Nodes...)
	}
}

// An input of integers takes pixels, whatever else a contract would make of them is refused.
func TestIntegerInputs(t *testing.T) {
	for _, c := range []struct {
		input onnx.ElemType
		mean  float32
	}{{onnx.Uint8, 0}, {onnx.Int8, 128}, {onnx.Int32, 0}, {onnx.Int64, 0}} {
		path := tiny(t, taking(c.input))
		m := open(t, path, Options{Batch: 3})
		if p := m.Preprocess(); p.Mean[1] != c.mean || p.Std[1] != 1 || !strings.Contains(m.Reason(), "input is "+c.input.String()+", so it takes pixels as they are") {
			t.Errorf("%v: %v because %q", c.input, p, m.Reason())
		}
		expectMeans(t, m, crops(4))
		expectError(t, path, Options{Preprocess: "arcface"}, ErrPreprocess, "input input is "+c.input.String()+" and cannot hold")
		bgr := m.Preprocess()
		bgr.ChannelOrder = "BGR"
		expectMeans(t, open(t, path, Options{Preprocess: preprocessFile(t, bgr)}), crops(4))
	}
	expectError(t, tiny(t, taking(onnx.Int8)), Options{Preprocess: "raw"}, ErrPreprocess, "integers from -128 to 127")
	half := Raw()
	half.Mean[2] = 0.5
	expectError(t, tiny(t, taking(onnx.Int32)), Options{Contract: &half}, ErrPreprocess, "is int32")
	stated := func(m *onnx.Model) {
		taking(onnx.Uint8)(m)
		m.Metadata = []onnx.Property{{Key: PreprocessKey, Value: `{"std":1,"channel_order":"BGR"}`}}
	}
	if p := open(t, tiny(t, stated), Options{}).Preprocess(); p.ChannelOrder != "BGR" {
		t.Errorf("what the metadata states became %v", p)
	}
}

// A quantized output counts by what it stands for; other integers are no embedding.
func TestIntegerOutputs(t *testing.T) {
	for _, form := range []string{"", "Flatten"} {
		for e, zero := range map[onnx.ElemType]byte{onnx.Uint8: 40, onnx.Int8: 216} { // 216 is -40
			m := open(t, tiny(t, func(m *onnx.Model) {
				g := &m.Graph
				g.Initializers = append(g.Initializers, onnx.FloatTensor("scale", []float32{4}), onnx.Tensor{Name: "zero", Type: e, Data: []byte{zero}})
				after(onnx.Node{Name: "q", OpType: "QuantizeLinear", Inputs: []string{"rows", "scale", "zero"}, Outputs: []string{"embedding"}})(m)
				if form != "" {
					g.Nodes[3].Outputs[0] = "quantized"
					g.Nodes = append(g.Nodes, onnx.Node{Name: "form", OpType: form, Inputs: []string{"quantized"}, Outputs: []string{"embedding"}})
				}
				g.Outputs[0].Type = e
			}), Options{Preprocess: "raw"})
			pixels, got := crops(1), make([]float32, 4)
			if err := m.Embed(1, pixels, false, got); err != nil {
				t.Fatal(err)
			}
			for k, want := range channelMeans(pixels, Raw()) {
				if want = min(want, 4*(255-40)); e == onnx.Int8 {
					want = min(want, 4*(127+40))
				}
				if got[k] != 4*float32(math.RoundToEven(want/4)) {
					t.Errorf("%v %s: value %d is %g, want about %g", e, form, k, got[k], want)
				}
			}
		}
	}
	expectError(t, tiny(t, func(m *onnx.Model) {
		after(cast("rows", "embedding", onnx.Int8))(m)
		m.Graph.Outputs[0].Type = onnx.Int8
	}), Options{}, ErrShape, "its output embedding is int8, which is no embedding unless")
}

// A shape that can only be interleaved is taken so; one that may be either is not.
func TestLayoutByShape(t *testing.T) {
	nhwc := func(dims ...onnx.Dim) func(*onnx.Model) {
		return func(m *onnx.Model) {
			g := &m.Graph
			g.Inputs[0].Dims, g.Nodes[0].Inputs[0] = dims, "planes"
			g.Nodes = append([]onnx.Node{{Name: "planes", OpType: "Transpose", Inputs: []string{"input"}, Outputs: []string{"planes"},
				Attributes: []onnx.Attribute{onnx.Ints("perm", 0, 3, 1, 2)}}}, g.Nodes...)
		}
	}
	any, three, side := onnx.Variable(""), onnx.Dim{Size: 3}, onnx.Dim{Size: 112}
	for _, path := range []string{tiny(t, nhwc(any, side, side, three)), tiny(t, nhwc(any, any, any, three)), tiny(t, nhwc(any, side, side, any)), tiny(t, nhwc(onnx.Dim{Size: 2}, side, side, three))} {
		for _, spec := range []string{"auto", "arcface", "raw"} {
			m := open(t, path, Options{Preprocess: spec})
			if m.Preprocess().Layout != "NHWC" || !strings.Contains(m.Reason(), "NHWC, as the input's shape tells") {
				t.Errorf("%v because %q", m.Preprocess(), m.Reason())
			}
			expectMeans(t, m, crops(2))
		}
		expectError(t, path, Options{Preprocess: preprocessFile(t, Raw())}, ErrShape, "[-1 3 112 112]")
	}
	for _, dims := range [][]onnx.Dim{{any, any, any, any}, {any, three, any, any}, {any, three, side, side}} {
		m := open(t, tiny(t, func(m *onnx.Model) { m.Graph.Inputs[0].Dims = dims }), Options{})
		if m.Preprocess().Layout != "NCHW" || strings.Contains(m.Reason(), "NHWC") {
			t.Errorf("%v: %v because %q", dims, m.Preprocess(), m.Reason())
		}
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

// What a preprocessing file or the metadata leave out of the size and the layout, the input
// decides; what they say counts.
func TestFilesWithoutSizeOrLayout(t *testing.T) {
	interleaved := func(m *onnx.Model) {
		g := &m.Graph
		g.Inputs[0].Dims, g.Nodes[0].Inputs[0] = append([]onnx.Dim{onnx.Variable("")}, onnx.Fixed(160, 96, 3)...), "planes"
		g.Nodes = append([]onnx.Node{{Name: "planes", OpType: "Transpose", Inputs: []string{"input"}, Outputs: []string{"planes"},
			Attributes: []onnx.Attribute{onnx.Ints("perm", 0, 3, 1, 2)}}}, g.Nodes...)
	}
	for text, refused := range map[string]error{
		`{"std":1,"channel_order":"BGR"}`:                          nil,
		`{"std":1,"channel_order":"BGR","height":null}`:            nil,
		`{"std":1,"channel_order":"BGR","height":160}`:             nil,
		`{"std":1,"channel_order":"BGR","width":96}`:               nil,
		`{"std":1,"channel_order":"BGR","layout":"NHWC"}`:          nil,
		`{"std":1,"channel_order":"BGR","height":112}`:             ErrShape,
		`{"std":1,"channel_order":"BGR","width":112}`:              ErrShape,
		`{"std":1,"channel_order":"BGR","layout":"NCHW"}`:          ErrShape,
		`{"std":1,"channel_order":"BGR","height":0}`:               ErrPreprocess,
		`{"std":1,"channel_order":"BGR","width":-1}`:               ErrPreprocess,
		`{"std":1,"channel_order":"BGR","layout":""}`:              ErrPreprocess,
		`{"channel_order":"BGR"}`:                                  ErrPreprocess,
		`{"std":1,"channel_order":"BGR","height":160,"width":160}`: ErrShape,
	} {
		stated := tiny(t, func(m *onnx.Model) {
			interleaved(m)
			m.Metadata = []onnx.Property{{Key: PreprocessKey, Value: text}}
		})
		for path, o := range map[string]Options{stated: {Crop: 112}, tiny(t, interleaved): {Crop: 112, Preprocess: preprocessFile(t, text)}} {
			if refused != nil {
				expectError(t, path, o, refused, "")
				continue
			}
			m := open(t, path, o)
			if p := m.Preprocess(); p.ChannelOrder != "BGR" || p.Height != 160 || p.Width != 96 || p.Layout != "NHWC" || p.Resample == "" || !strings.Contains(m.Reason(), "as the input's shape tells") {
				t.Errorf("%s: %v because %q", text, p, m.Reason())
			}
		}
	}
	any := tiny(t, func(m *onnx.Model) {
		m.Graph.Inputs[0].Dims = []onnx.Dim{onnx.Variable(""), {Size: 3}, onnx.Variable(""), onnx.Variable("")}
	})
	if p := open(t, any, Options{Preprocess: preprocessFile(t, `{"std":1}`)}).Preprocess(); p != Raw() {
		t.Errorf("of any size: %v", p)
	}
	if p := open(t, any, Options{Preprocess: preprocessFile(t, `{"std":1,"height":64,"width":48}`)}).Preprocess(); p.Height != 64 || p.Width != 48 {
		t.Errorf("of any size, told one: %v", p)
	}
}

// A contract is taken if the input's type can hold what it makes.
func TestTakes(t *testing.T) {
	for input, want := range map[onnx.ElemType][]bool{onnx.Float32: {true, true, true}, onnx.Uint8: {false, true, false}, onnx.Int8: {false, false, false}, onnx.Int32: {false, true, false}} {
		m := open(t, tiny(t, taking(input)), Options{})
		for i, p := range []Preprocess{ArcFace(), Raw(), Centred()} {
			if err := m.Takes(p); (err == nil) != want[i] {
				t.Errorf("%v: %v: %v", input, p, err)
			}
		}
		if err := m.Takes(m.Preprocess()); err != nil {
			t.Errorf("%v: its own: %v", input, err)
		}
	}
}
