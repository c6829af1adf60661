package embed

import (
	"encoding/json"
	"os"
	"strings"
	"testing"

	"facepipe/internal/onnx"
)

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
		"numbers through a cast": {func(m *onnx.Model) {
			g := &m.Graph
			g.Initializers = append(g.Initializers, onnx.FloatTensor("c", []float32{2}, 1))
			// Old exporters list weights among the inputs, even before the image.
			g.Inputs = append([]onnx.ValueInfo{{Name: "c", Type: onnx.Float32, Dims: onnx.Fixed(1)}}, g.Inputs...)
			g.Nodes = append([]onnx.Node{
				{Name: "a", OpType: "Identity", Inputs: []string{"input"}, Outputs: []string{"same"}},
				{Name: "b", OpType: "Mul", Inputs: []string{"c", "same"}, Outputs: []string{"scaled"}},
				{Name: "c", OpType: "Add", Inputs: []string{"scaled", "c"}, Outputs: []string{"shifted"}},
			}, g.Nodes...)
			g.Nodes[3].Inputs[0] = "shifted"
		}, 1, "RGB", "normalises inside"},
		// x - |x| is part of how some exporters spell PReLU.
		"activation of Sub and Mul": {func(m *onnx.Model) {
			g := &m.Graph
			g.Initializers = append(g.Initializers, onnx.FloatTensor("c", []float32{0.5}, 1))
			g.Nodes = []onnx.Node{g.Nodes[0],
				{Name: "act/abs", OpType: "Abs", Inputs: []string{"pooled"}, Outputs: []string{"abs"}},
				{Name: "act/sub", OpType: "Sub", Inputs: []string{"pooled", "abs"}, Outputs: []string{"sub"}},
				{Name: "act/mul", OpType: "Mul", Inputs: []string{"sub", "c"}, Outputs: []string{"mul"}},
				g.Nodes[1], g.Nodes[2]}
			g.Nodes[4].Inputs[0] = "mul"
		}, 127.5, "RGB", "does not normalise"},
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

func TestUnusableMetadata(t *testing.T) {
	for _, text := range []string{`{"std":"x"}`, `{"channel_order":"RGB"}`, `{"std":[1,1,1]} trailing`} {
		path := tiny(t, func(m *onnx.Model) { m.Metadata = []onnx.Property{{Key: PreprocessKey, Value: text}} })
		expectError(t, path, Options{}, ErrPreprocess, path)
		// What the user says counts, whatever the model says.
		m, err := Open(path, Options{Preprocess: "raw"})
		if err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		m.Close()
	}
}

func FuzzParsePreprocess(f *testing.F) {
	text, _ := json.Marshal(ArcFace())
	f.Add(text)
	f.Fuzz(func(t *testing.T, data []byte) {
		if p, err := parsePreprocess(data); err == nil && p.Validate() == nil {
			newFiller(Preprocess{ChannelOrder: p.ChannelOrder, Layout: p.Layout, Std: p.Std, Height: 2, Width: 2}, 0)
		}
	})
}

// Whatever a model file says, a contract that is found can be carried out.
func FuzzResolveModel(f *testing.F) {
	for _, edit := range []func(*onnx.Model){nil, func(m *onnx.Model) {
		m.Metadata = []onnx.Property{{Key: PreprocessKey, Value: `{"std":[1,1,1],"height":96,"layout":"NHWC"}`}}
	}} {
		data, err := os.ReadFile(tiny(f, edit))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := onnx.Unmarshal(data)
		if err != nil {
			return
		}
		p, reason, err := ResolvePreprocess("auto", m)
		if err == nil && (p.Validate() != nil || reason == "") {
			t.Errorf("auto gave %v because %q", p, reason)
		}
		m.ExternalFiles()
	})
}

// One number stands for all channels.
func TestOneNumberForAllChannels(t *testing.T) {
	want := ArcFace()
	got, _, err := ResolvePreprocess(preprocessFile(t, `{"mean": 127.5, "std": 127.5}`), nil)
	if err != nil || got != want {
		t.Errorf("got %v, %v, want %v", got, err, want)
	}
}
