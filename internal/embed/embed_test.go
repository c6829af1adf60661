package embed

import (
	"context"
	"encoding/json"
	"errors"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"facepipe/internal/onnx"
	"facepipe/internal/ort"
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

func TestEmbedUnderEveryContract(t *testing.T) {
	bgr := Preprocess{ChannelOrder: "BGR", Mean: [3]float32{10, 20, 30}, Std: [3]float32{2, 3, 4}, Height: 112, Width: 112, Layout: "NCHW"}
	file := filepath.Join(t.TempDir(), "bgr.json")
	text, err := json.Marshal(bgr)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, text, 0o644); err != nil {
		t.Fatal(err)
	}
	pixels := crops(5)
	for spec, want := range map[string]Preprocess{"arcface": ArcFace(), "raw": Raw(), "auto": ArcFace(), file: bgr} {
		m, err := Open(tiny(t, nil), Options{Preprocess: spec, Batch: 2})
		if err != nil {
			t.Fatal(err)
		}
		if m.Preprocess() != want || m.Dim() != 4 || m.Batch() != 2 {
			t.Errorf("%s: %v, dim %d, batch %d", spec, m.Preprocess(), m.Dim(), m.Batch())
		}
		got := make([]float32, 5*4) // the last batch is padded
		if err := m.Embed(5, pixels, false, got); err != nil {
			t.Fatal(err)
		}
		for i := range 5 {
			means := channelMeans(pixels[i*112*112*3:(i+1)*112*112*3], want)
			for k, v := range means {
				if math.Abs(float64(got[4*i+k])-v) > 1e-2 {
					t.Errorf("%s: crop %d value %d is %g, want %g", spec, i, k, got[4*i+k], v)
				}
			}
		}
		m.Close()
	}
}

func TestAutomaticRules(t *testing.T) {
	inside := func(m *onnx.Model) { m.Graph.Nodes[0].Name, m.Graph.Nodes[1].Name = "_minusscalar0", "_mulscalar0" }
	stated := func(m *onnx.Model) {
		p := Raw()
		p.ChannelOrder = "BGR"
		text, _ := json.Marshal(p)
		m.Metadata = []onnx.Property{{Key: PreprocessKey, Value: string(text)}}
		inside(m)
	}
	for name, c := range map[string]struct {
		edit   func(*onnx.Model)
		std    float32
		order  string
		reason string
	}{
		"plain":      {nil, 127.5, "RGB", "does not normalise"},
		"normalises": {inside, 1, "RGB", "normalises inside"},
		"metadata":   {stated, 1, "BGR", "metadata"},
		"scoped names": {func(m *onnx.Model) {
			g := &m.Graph
			g.Initializers = append(g.Initializers, onnx.FloatTensor("c", []float32{2}, 1))
			g.Nodes = append([]onnx.Node{
				{Name: "/Sub", OpType: "Sub", Inputs: []string{"input", "c"}, Outputs: []string{"s"}},
				{Name: "/Div", OpType: "Div", Inputs: []string{"s", "c"}, Outputs: []string{"d"}},
			}, g.Nodes...)
			g.Nodes[2].Inputs[0] = "d"
		}, 1, "RGB", "normalises inside"},
		"only one of them": {func(m *onnx.Model) { m.Graph.Nodes[0].Name = "Sub_1" }, 127.5, "RGB", "does not normalise"},
	} {
		m, err := Open(tiny(t, c.edit), Options{})
		if err != nil {
			t.Fatal(err)
		}
		if p := m.Preprocess(); p.Std[0] != c.std || p.ChannelOrder != c.order || !strings.Contains(m.Reason(), c.reason) {
			t.Errorf("%s: %v because %q", name, p, m.Reason())
		}
		m.Close()
	}
}

func TestFlipMirrorsTheCrop(t *testing.T) {
	f := newFiller(Raw())
	pixels := crops(1)
	plain, flipped := make([]float32, f.size), make([]float32, f.size)
	f.fill(plain, pixels, false)
	f.fill(flipped, pixels, true)
	for y := range 112 {
		for x := range 112 {
			for c := range 3 {
				if plain[c*f.area+y*112+x] != flipped[c*f.area+y*112+111-x] {
					t.Fatalf("channel %d at %d,%d is not mirrored", c, x, y)
				}
				if plain[c*f.area+y*112+x] != float32(pixels[3*(y*112+x)+c]) {
					t.Fatalf("channel %d at %d,%d is not the pixel", c, x, y)
				}
			}
		}
	}
}

func TestStreamGivesWhatEmbedGives(t *testing.T) {
	m, err := Open(tiny(t, nil), Options{Batch: 4})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	const n = 11
	pixels := crops(n)
	size := 112 * 112 * 3
	want := map[bool][]float32{}
	for _, flip := range []bool{false, true} {
		want[flip] = make([]float32, n*4)
		if err := m.Embed(n, pixels, flip, want[flip]); err != nil {
			t.Fatal(err)
		}
	}
	next := 0
	_, err = m.Stream(t.Context(), n, func(i int, rgb []byte) error {
		copy(rgb, pixels[i*size:(i+1)*size])
		return nil
	}, func(i int, rows [][]float32) error {
		if i != next {
			t.Fatalf("row %d came when %d was due", i, next)
		}
		next++
		for k, flip := range []bool{false, true} {
			for d, v := range rows[k] {
				if v != want[flip][4*i+d] {
					t.Errorf("row %d flip %v: %g, want %g", i, flip, v, want[flip][4*i+d])
				}
			}
		}
		return nil
	}, StreamOptions{Flips: []bool{false, true}, Workers: 3})
	if err != nil || next != n {
		t.Errorf("%d rows, %v", next, err)
	}
}

func TestStreamEndsWithTheFirstError(t *testing.T) {
	m, err := Open(tiny(t, nil), Options{Batch: 4})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	boom := errors.New("boom")
	ok := func(int, []byte) error { return nil }
	ctx, cancel := context.WithCancel(t.Context())
	for name, run := range map[string]func() error{
		"load": func() error {
			_, err := m.Stream(t.Context(), 100, func(i int, _ []byte) error {
				if i == 9 {
					return boom
				}
				return nil
			}, func(int, [][]float32) error { return nil }, StreamOptions{Flips: []bool{false}})
			if err == nil || !strings.Contains(err.Error(), "crop 9") {
				t.Errorf("load: %v", err)
			}
			return err
		},
		"emit": func() error {
			_, err := m.Stream(t.Context(), 100, ok, func(int, [][]float32) error { return boom }, StreamOptions{Flips: []bool{false}})
			return err
		},
		"cancel": func() error {
			_, err := m.Stream(ctx, 100000, ok, func(int, [][]float32) error { cancel(); return nil }, StreamOptions{Flips: []bool{false}})
			if errors.Is(err, context.Canceled) {
				return boom
			}
			return err
		},
	} {
		if err := run(); !errors.Is(err, boom) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestFixedBatchOfOne(t *testing.T) {
	m, err := Open(tiny(t, func(m *onnx.Model) { m.Graph.Inputs[0].Dims[0] = onnx.Dim{Size: 1} }), Options{Batch: 8})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	if m.Batch() != 1 {
		t.Errorf("batch %d", m.Batch())
	}
	if err := m.Embed(3, crops(3), false, make([]float32, 12)); err != nil {
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
	for name, c := range map[string]struct {
		path string
		want error
	}{
		"text":        {text, onnx.ErrFormat},
		"truncated":   {cut, onnx.ErrFormat},
		"missing":     {filepath.Join(t.TempDir(), "no.onnx"), os.ErrNotExist},
		"wrong size":  {tiny(t, func(m *onnx.Model) { m.Graph.Inputs[0].Dims[2].Size = 96 }), ErrShape},
		"wrong layer": {tiny(t, func(m *onnx.Model) { m.Graph.Nodes[0].OpType = "NoSuchOperator" }), ort.ErrModel},
		"two outputs": {tiny(t, func(m *onnx.Model) {
			m.Graph.Outputs = append(m.Graph.Outputs, onnx.ValueInfo{Name: "flat", Type: onnx.Float32, Dims: []onnx.Dim{onnx.Variable("N"), {Size: 3}}})
		}), ErrShape},
		"image output": {tiny(t, func(m *onnx.Model) {
			m.Graph.Outputs[0] = onnx.ValueInfo{Name: "pooled", Type: onnx.Float32, Dims: append([]onnx.Dim{onnx.Variable("N")}, onnx.Fixed(3, 1, 1)...)}
		}), nil},
	} {
		m, err := Open(c.path, Options{})
		if name == "image output" {
			// N×3×1×1 holds one vector a row: that is an embedding all the same.
			if err != nil || m.Dim() != 3 {
				t.Errorf("%s: %v", name, err)
			}
			continue
		}
		if !errors.Is(err, c.want) || !strings.Contains(err.Error(), filepath.Base(c.path)) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, bad := range []string{"magic", `{"channel_order":"XYZ"}`, `{"unknown":1}`, `{"std":[0,1,1]}`} {
		spec := bad
		if bad[0] == '{' {
			spec = filepath.Join(t.TempDir(), "p.json")
			if err := os.WriteFile(spec, []byte(bad), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := Open(tiny(t, nil), Options{Preprocess: spec}); !errors.Is(err, ErrPreprocess) {
			t.Errorf("preprocess %s: %v", bad, err)
		}
	}
}

func TestFingerprintCoversEverything(t *testing.T) {
	open := func(edit func(*onnx.Model), spec string) *Model {
		m, err := Open(tiny(t, edit), Options{Preprocess: spec})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(m.Close)
		return m
	}
	base := open(nil, "arcface")
	seen := map[string]string{base.Fingerprint(false, "fp16"): "base"}
	for name, f := range map[string]string{
		"flip":       base.Fingerprint(true, "fp16"),
		"dtype":      base.Fingerprint(false, "fp32"),
		"preprocess": open(nil, "raw").Fingerprint(false, "fp16"),
		"model":      open(func(m *onnx.Model) { m.Producer = "other" }, "arcface").Fingerprint(false, "fp16"),
	} {
		if other, taken := seen[f]; taken || len(f) != 64 {
			t.Errorf("%s has the fingerprint of %s: %s", name, other, f)
		}
		seen[f] = name
	}
	if again := open(nil, "arcface").Fingerprint(false, "fp16"); seen[again] != "base" {
		t.Error("the fingerprint depends on where the file lies")
	}
}

func FuzzParsePreprocess(f *testing.F) {
	text, _ := json.Marshal(ArcFace())
	f.Add(text)
	f.Fuzz(func(t *testing.T, data []byte) {
		if p, err := parsePreprocess(data); err == nil && p.Validate() == nil {
			newFiller(Preprocess{ChannelOrder: p.ChannelOrder, Layout: p.Layout, Std: p.Std, Height: 2, Width: 2})
		}
	})
}

func BenchmarkFill(b *testing.B) {
	f := newFiller(ArcFace())
	pixels, dst := crops(1), make([]float32, f.size)
	for b.Loop() {
		f.fill(dst, pixels, false)
	}
}

// The models that the project's measurements rest on are read as they should be.
func TestRealModels(t *testing.T) {
	dir := os.Getenv("PIPE_REAL_DATA")
	if dir == "" {
		t.Skip("PIPE_REAL_DATA is not set")
	}
	for name, c := range map[string]struct {
		dim  int
		want Preprocess
	}{"w600k_mbf": {512, ArcFace()}, "mbf_y1": {128, Raw()}} {
		m, err := Open(filepath.Join(dir, "models", name+".onnx"), Options{})
		if err != nil {
			t.Fatal(err)
		}
		if m.Dim() != c.dim || m.Preprocess() != c.want {
			t.Errorf("%s: dim %d, %v (%s)", name, m.Dim(), m.Preprocess(), m.Reason())
		}
		m.Close()
	}
}
