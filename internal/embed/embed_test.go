package embed

import (
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"facepipe/internal/onnx"
	"facepipe/internal/ort"
	"facepipe/internal/regular"
)

// tiny writes an embedder that averages each channel over the crop and multiplies
// by a 3×4 matrix. edit may spoil it.
func tiny(t testing.TB, edit func(*onnx.Model)) string {
	t.Helper()
	m := &onnx.Model{IRVersion: 7, OpsetVersion: 13, Graph: onnx.Graph{
		Name: "tiny",
		Nodes: []onnx.Node{
			{Name: "pool", OpType: "GlobalAveragePool", Inputs: []string{"input"}, Outputs: []string{"pooled"}},
			{Name: "flat", OpType: "Flatten", Inputs: []string{"pooled"}, Outputs: []string{"flat"}},
			{Name: "fc", OpType: "MatMul", Inputs: []string{"flat", "w"}, Outputs: []string{"embedding"}},
		},
		Inputs:       []onnx.ValueInfo{{Name: "input", Type: onnx.Float32, Dims: append([]onnx.Dim{onnx.Variable("N")}, onnx.Fixed(3, 112, 112)...)}},
		Outputs:      []onnx.ValueInfo{{Name: "embedding", Type: onnx.Float32, Dims: []onnx.Dim{onnx.Variable("N"), {Size: 4}}}},
		Initializers: []onnx.Tensor{onnx.FloatTensor("w", []float32{1, 0, 0, 1, 0, 1, 0, 1, 0, 0, 1, 1}, 3, 4)},
	}}
	if edit != nil {
		edit(m)
	}
	path := filepath.Join(t.TempDir(), "tiny.onnx")
	if err := os.WriteFile(path, m.Marshal(), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

// open opens a model that must open, and closes it in the end.
func open(t testing.TB, path string, o Options) *Model {
	t.Helper()
	m, err := Open(t.Context(), path, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(m.Close)
	return m
}

// A file that became another model while the runtime read it gives embeddings under the wrong
// digest: the model is not handed out.
func TestReplacedModel(t *testing.T) {
	path := tiny(t, nil)
	m := open(t, path, Options{})
	if err := m.unchanged(); err != nil {
		t.Error(err)
	}
	if err := os.Rename(tiny(t, func(m *onnx.Model) { m.Producer = "other" }), path); err != nil {
		t.Fatal(err)
	}
	if err := m.unchanged(); !errors.Is(err, ErrReplaced) || !strings.Contains(err.Error(), path) {
		t.Errorf("a model that was replaced: %v", err)
	}
}

// expectError opens a model that must not open, with an error of a kind (any, if nil)
// that says some words.
func expectError(t *testing.T, path string, o Options, want error, say string) {
	t.Helper()
	m, err := Open(t.Context(), path, o)
	if err == nil {
		m.Close()
	}
	if err == nil || want != nil && !errors.Is(err, want) || !strings.Contains(err.Error(), say) {
		t.Errorf("got %v, want %v with %q", err, want, say)
	}
}

func crops(n int) []byte {
	rng := rand.New(rand.NewPCG(1, 1))
	pixels := make([]byte, n*112*112*3)
	for i := range pixels {
		pixels[i] = byte(rng.IntN(256))
	}
	return pixels
}

// channelMeans is what tiny computes, by hand.
func channelMeans(rgb []byte, p Preprocess) [4]float64 {
	var sum [3]float64
	for i, v := range rgb {
		sum[i%3] += float64(v)
	}
	var out [4]float64
	for c := range 3 {
		place := c
		if p.ChannelOrder == "BGR" {
			place = 2 - c
		}
		v := (sum[c]/(112*112) - float64(p.Mean[place])) / float64(p.Std[place])
		out[place] = v
		out[3] += v
	}
	return out
}

// preprocessFile writes a contract, given as a value or as JSON.
func preprocessFile(t *testing.T, contract any) string {
	t.Helper()
	text, isText := contract.(string)
	if !isText {
		data, err := json.Marshal(contract)
		if err != nil {
			t.Fatal(err)
		}
		text = string(data)
	}
	path := filepath.Join(t.TempDir(), "preprocess.json")
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestEmbedUnderEveryContract(t *testing.T) {
	bgr := Preprocess{ChannelOrder: "BGR", Mean: [3]float32{10, 20, 30}, Std: [3]float32{2, 3, 4}, Height: 112, Width: 112, Layout: "NCHW"}
	pixels := crops(5)
	for spec, want := range map[string]Preprocess{"arcface": ArcFace(), "raw": Raw(), "auto": ArcFace(), preprocessFile(t, bgr): bgr} {
		m := open(t, tiny(t, nil), Options{Preprocess: spec, Batch: 2})
		if m.Preprocess() != want || m.Dim() != 4 || m.Batch() != 2 {
			t.Errorf("%s: %v, dim %d, batch %d", spec, m.Preprocess(), m.Dim(), m.Batch())
		}
		expectMeans(t, m, pixels)
	}
}

// expectMeans embeds crops with a tiny model, in a batch that is padded, and compares.
func expectMeans(t *testing.T, m *Model, pixels []byte) {
	t.Helper()
	size := 112 * 112 * 3
	n := len(pixels) / size
	got := make([]float32, n*4)
	if err := m.Embed(n, pixels, false, got); err != nil {
		t.Fatal(err)
	}
	for i := range n {
		for k, v := range channelMeans(pixels[i*size:(i+1)*size], m.Preprocess()) {
			if math.Abs(float64(got[4*i+k])-v) > 1e-2 {
				t.Errorf("%v: crop %d value %d is %g, want %g", m.Preprocess(), i, k, got[4*i+k], v)
			}
		}
	}
}

func TestInterleavedLayout(t *testing.T) {
	nhwc := Raw()
	nhwc.Layout = "NHWC"
	path := tiny(t, func(m *onnx.Model) {
		g := &m.Graph
		g.Inputs[0].Dims = append([]onnx.Dim{onnx.Variable("N")}, onnx.Fixed(112, 112, 3)...)
		g.Nodes = append([]onnx.Node{{Name: "planes", OpType: "Transpose", Inputs: []string{"input"}, Outputs: []string{"planes"},
			Attributes: []onnx.Attribute{onnx.Ints("perm", 0, 3, 1, 2)}}}, g.Nodes...)
		g.Nodes[1].Inputs[0] = "planes"
	})
	expectMeans(t, open(t, path, Options{Preprocess: preprocessFile(t, nhwc)}), crops(2))
	expectError(t, path, Options{Preprocess: preprocessFile(t, Raw())}, ErrShape, "a preprocessing file may name another size or layout")
}

func TestBatchSizes(t *testing.T) {
	reshape := func(rows int64) func(*onnx.Model) {
		return func(m *onnx.Model) {
			g := &m.Graph
			g.Initializers = append(g.Initializers, onnx.IntTensor("shape", []int64{rows, 3}, 2))
			g.Nodes[1] = onnx.Node{Name: "flat", OpType: "Reshape", Inputs: []string{"pooled", "shape"}, Outputs: []string{"flat"}}
		}
	}
	fixed := func(n int64) func(*onnx.Model) {
		return func(m *onnx.Model) { m.Graph.Inputs[0].Dims[0] = onnx.Dim{Size: n} }
	}
	for name, c := range map[string]struct {
		edit       func(*onnx.Model)
		ask, batch int
	}{
		"default":                           {nil, 0, cpuBatch},
		"asked for":                         {nil, 5, 5},
		"fixed at one":                      {fixed(1), 8, 1},
		"fixed at three":                    {fixed(3), 8, 3},
		"declared any, traced with one":     {reshape(1), 8, 1},
		"declared any, reshapes any":        {reshape(-1), 8, 8},
		"declared any, traced with sixteen": {reshape(16), 16, 16},
		"measured, fixed at three":          {fixed(3), AutoBatch, 3},
		"measured, traced with one":         {reshape(1), AutoBatch, 1},
	} {
		m := open(t, tiny(t, c.edit), Options{Batch: c.ask})
		if m.Batch() != c.batch {
			t.Errorf("%s: batch %d, want %d", name, m.Batch(), c.batch)
		}
		if notes := strings.Join(m.Notes(), "; "); name == "declared any, traced with one" && !strings.Contains(notes, "a batch of 1 is taken, as one of 8 fails") {
			t.Errorf("%s: notes %q", name, notes)
		}
		expectMeans(t, m, crops(4))
	}
	expectError(t, tiny(t, fixed(1e9)), Options{}, nil, "1000000000 crops")
	expectError(t, tiny(t, nil), Options{Batch: 1e9}, nil, "1000000000 crops")
	expectError(t, tiny(t, nil), Options{Batch: -2}, nil, "-2 crops")
	expectError(t, tiny(t, reshape(16)), Options{Batch: 8}, ErrShape, "Reshape")
}

// A value that is no number is the consumer's to judge: it must arrive.
func TestPassesOnWhatIsNoNumber(t *testing.T) {
	m := open(t, tiny(t, func(m *onnx.Model) {
		inf := float32(math.Inf(1))
		// Row-major 3×4; 0·Inf is NaN.
		m.Graph.Initializers[0] = onnx.FloatTensor("w", []float32{1, inf, 0, inf, 0, 0, 0, -inf, 0, 0, 0, 0}, 3, 4)
	}), Options{Preprocess: "raw"})
	size := 112 * 112 * 3
	pixels := make([]byte, 2*size)
	for i := range size {
		pixels[i] = 128
	}
	check := func(i int, e []float32) {
		nan := func(v float32) bool { return v != v }
		first := i == 0 // the second crop is black
		if e[0] != float32(map[bool]int{true: 128}[first]) || nan(e[1]) == first || !nan(e[3]) {
			t.Errorf("crop %d: %v", i, e)
		}
	}
	dst := make([]float32, 8)
	if err := m.Embed(2, pixels, false, dst); err != nil {
		t.Fatal(err)
	}
	check(0, dst[:4])
	check(1, dst[4:])
	_, err := m.Stream(t.Context(), 2, func(i int, rgb []byte) error {
		copy(rgb, pixels[i*size:])
		return nil
	}, func(i int, rows [][]float32) error {
		check(i, rows[0])
		return nil
	}, StreamOptions{Flips: []bool{false}})
	if err != nil {
		t.Error(err)
	}
}

func TestRefusesWhatIsNoEmbedder(t *testing.T) {
	text := filepath.Join(t.TempDir(), "text.onnx")
	if err := os.WriteFile(text, []byte("not a model at all"), 0o644); err != nil {
		t.Fatal(err)
	}
	cut := tiny(t, nil)
	data, err := os.ReadFile(cut)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(cut, data[:len(data)/2], 0o644); err != nil {
		t.Fatal(err)
	}
	output := func(name string, dims ...onnx.Dim) onnx.ValueInfo {
		return onnx.ValueInfo{Name: name, Type: onnx.Float32, Dims: append([]onnx.Dim{onnx.Variable("N")}, dims...)}
	}
	for name, c := range map[string]struct {
		path string
		want error
	}{
		"text":        {text, onnx.ErrFormat},
		"truncated":   {cut, onnx.ErrFormat},
		"missing":     {filepath.Join(t.TempDir(), "no.onnx"), os.ErrNotExist},
		"a folder":    {t.TempDir(), regular.ErrIrregular},
		"no image":    {tiny(t, func(m *onnx.Model) { m.Graph.Inputs[0].Dims = m.Graph.Inputs[0].Dims[:2] }), ErrShape},
		"wrong layer": {tiny(t, func(m *onnx.Model) { m.Graph.Nodes[0].OpType = "NoSuchOperator" }), ort.ErrModel},
		"two inputs": {tiny(t, func(m *onnx.Model) {
			m.Graph.Inputs = append(m.Graph.Inputs, onnx.ValueInfo{Name: "more", Type: onnx.Float32, Dims: onnx.Fixed(1)})
		}), ErrShape},
		"two outputs": {tiny(t, func(m *onnx.Model) {
			m.Graph.Outputs = append(m.Graph.Outputs, output("flat", onnx.Fixed(3)...))
		}), ErrShape},
		"maps instead of rows": {tiny(t, func(m *onnx.Model) {
			m.Graph.Nodes = []onnx.Node{{Name: "relu", OpType: "Relu", Inputs: []string{"input"}, Outputs: []string{"maps"}}}
			m.Graph.Outputs[0] = output("maps", onnx.Fixed(3, 112, 112)...)
		}), ErrShape},
		"one row for all": {tiny(t, func(m *onnx.Model) {
			m.Graph.Nodes = append(m.Graph.Nodes, onnx.Node{Name: "mean", OpType: "ReduceMean", Inputs: []string{"embedding"}, Outputs: []string{"all"},
				Attributes: []onnx.Attribute{onnx.Ints("axes", 0), onnx.Int("keepdims", 0)}})
			m.Graph.Outputs[0] = onnx.ValueInfo{Name: "all", Type: onnx.Float32, Dims: onnx.Fixed(4)}
		}), ErrShape},
	} {
		t.Run(name, func(t *testing.T) { expectError(t, c.path, Options{}, c.want, c.path) })
	}
}

// N×3×1×1 holds one vector a row: that is an embedding all the same.
func TestOutputWithTrailingOnes(t *testing.T) {
	m := open(t, tiny(t, func(m *onnx.Model) {
		m.Graph.Outputs[0] = onnx.ValueInfo{Name: "pooled", Type: onnx.Float32, Dims: append([]onnx.Dim{onnx.Variable("N")}, onnx.Fixed(3, 1, 1)...)}
	}), Options{})
	if m.Dim() != 3 {
		t.Errorf("dim %d", m.Dim())
	}
}

func TestImpossiblePreprocessing(t *testing.T) {
	path := tiny(t, nil)
	expectError(t, path, Options{Preprocess: "magic"}, ErrPreprocess, "none of auto, arcface, raw, nor a file")
	for text, say := range map[string]string{
		`{"std":[1,1,1],"channel_order":"XYZ"}`: "XYZ",
		`{"std":[1,1,1],"layout":"CHW"}`:        "CHW",
		`{"std":[1,1,1],"unknown":1}`:           "unknown",
		`{"std":[0,1,1]}`:                       "std",
		`{"mean":[1,1,1]}`:                      "std",
		`{"std":[1,1,1],"height":0}`:            "112x0",
		`{"std":[1,1,1],"width":1000000000}`:    "1000000000x112",
		`{"std":[1,1,1]`:                        "unexpected EOF",
		`{"std":[1,1,1]} {}`:                    "more than one",
		`{"std":[1,1]}`:                         "neither one number nor one for each of 3 channels",
		`{"std":1,"mean":"grey"}`:               "grey",
	} {
		expectError(t, path, Options{Preprocess: preprocessFile(t, text)}, ErrPreprocess, say)
	}
	expectError(t, path, Options{Contract: &Preprocess{}}, ErrPreprocess, "channel_order")
}

func TestFingerprintCoversEverything(t *testing.T) {
	base := open(t, tiny(t, nil), Options{Preprocess: "arcface"})
	seen := map[string]string{base.Fingerprint(false, "fp16", Rounding{}): "base"}
	for name, f := range map[string]string{
		"flip":       base.Fingerprint(true, "fp16", Rounding{}),
		"dtype":      base.Fingerprint(false, "fp32", Rounding{}),
		"half":       base.Fingerprint(false, "fp16", Rounding{Half: true}),
		"tf32":       base.Fingerprint(false, "fp16", Rounding{TF32: true}),
		"preprocess": open(t, tiny(t, nil), Options{Preprocess: "raw"}).Fingerprint(false, "fp16", Rounding{}),
		"model":      open(t, tiny(t, func(m *onnx.Model) { m.Producer = "other" }), Options{}).Fingerprint(false, "fp16", Rounding{}),
	} {
		if other, taken := seen[f]; taken || len(f) != 64 {
			t.Errorf("%s has the fingerprint of %s: %s", name, other, f)
		}
		seen[f] = name
	}
	if again := open(t, tiny(t, nil), Options{}).Fingerprint(false, "fp16", Rounding{}); seen[again] != "base" {
		t.Error("the fingerprint depends on where the file lies or on how arcface was chosen")
	}
}

// What a model with one output and crops of its size needs nothing of leaves fingerprints as they
// always were.
func TestFingerprintNeverChanges(t *testing.T) {
	const text = `{"Format":"facepipe teacher v1","Model":"d","Preprocess":{"channel_order":"RGB","mean":[127.5,127.5,127.5],"std":[127.5,127.5,127.5],` +
		`"height":112,"width":112,"layout":"NCHW"},"Flip":true,"DType":"fp16"}`
	if got, want := Fingerprint("d", ArcFace(), Outputs{}, true, "fp16", Rounding{}), fmt.Sprintf("%x", sha256.Sum256([]byte(text))); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestDigestIsTheFiles(t *testing.T) {
	path := tiny(t, nil)
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := open(t, path, Options{}).Digest(), fmt.Sprintf("%x", sha256.Sum256(data)); got != want {
		t.Errorf("digest %s, want %s", got, want)
	}
}

// Weights that lie in a file of their own are part of what the model is.
func TestDigestCoversExternalWeights(t *testing.T) {
	path := tiny(t, func(m *onnx.Model) {
		w := &m.Graph.Initializers[0]
		w.Data, w.External = nil, []onnx.Property{{Key: "location", Value: "tiny.onnx.data"}, {Key: "length", Value: "48"}}
	})
	weights := filepath.Join(filepath.Dir(path), "tiny.onnx.data")
	expectError(t, path, Options{}, ErrWeights, weights)

	digests := map[string]bool{}
	for _, scale := range []float32{1, 2} {
		values := []float32{1, 0, 0, 1, 0, 1, 0, 1, 0, 0, 1, 1}
		for i := range values {
			values[i] *= scale
		}
		if err := os.WriteFile(weights, onnx.FloatTensor("", values).Data, 0o644); err != nil {
			t.Fatal(err)
		}
		m := open(t, path, Options{Preprocess: "raw"})
		digests[m.Digest()] = true
		pixels, got := make([]byte, 112*112*3), make([]float32, 4)
		for i := range pixels {
			pixels[i] = 100
		}
		if err := m.Embed(1, pixels, false, got); err != nil || got[0] != 100*scale || got[3] != 300*scale {
			t.Errorf("weights times %g gave %v, %v", scale, got, err)
		}
	}
	if len(digests) != 2 {
		t.Error("other weights have the same digest")
	}
	outside := tiny(t, func(m *onnx.Model) {
		w := &m.Graph.Initializers[0]
		w.Data, w.External = nil, []onnx.Property{{Key: "location", Value: "../../w.data"}}
	})
	expectError(t, outside, Options{}, ErrWeights, "../../w.data")
}
