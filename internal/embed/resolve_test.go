package embed

import (
	"encoding/json"
	"os"
	"strings"
	"testing"

	"facepipe/internal/alloctest"
	"facepipe/internal/onnx"
)

// with puts nodes between the image and the first layer, each with its output's name and
// constants by their names.
func with(nodes []onnx.Node, constants ...onnx.Tensor) func(*onnx.Model) {
	return func(m *onnx.Model) {
		g := &m.Graph
		g.Initializers = append(g.Initializers, constants...)
		g.Nodes = append(nodes, g.Nodes...)
		g.Nodes[len(nodes)].Inputs[0] = nodes[len(nodes)-1].Outputs[0]
	}
}

func graphNode(op, out string, in ...string) onnx.Node {
	return onnx.Node{OpType: op, Inputs: in, Outputs: []string{out}}
}

func number32(name string, v ...float32) onnx.Tensor {
	return onnx.FloatTensor(name, v, int64(len(v)), 1, 1)
}

// shifted is Sub and Div by constants.
func shifted(mean, std float32) func(*onnx.Model) {
	return with([]onnx.Node{graphNode("Sub", "s", "input", "m"), graphNode("Div", "d", "s", "v")}, number32("m", mean), number32("v", std))
}

func byteTensor(name string, t onnx.ElemType, v byte) onnx.Tensor {
	return onnx.Tensor{Name: name, Type: t, Data: []byte{v}}
}

func TestAutomaticRules(t *testing.T) {
	stated := func(m *onnx.Model) {
		p := Raw()
		p.ChannelOrder = "BGR"
		text, _ := json.Marshal(p)
		shifted(127.5, 127.5)(m)
		m.Metadata = []onnx.Property{{Key: PreprocessKey, Value: string(text)}}
	}
	quantized := func(scale float32, zero onnx.Tensor, between ...onnx.Node) func(*onnx.Model) {
		nodes := append([]onnx.Node{graphNode("QuantizeLinear", "q", "input", "scale", zero.Name), graphNode("DequantizeLinear", "dq", "q", "scale", zero.Name)}, between...)
		return with(nodes, onnx.FloatTensor("scale", []float32{scale}), zero, number32("m", 127.5), number32("k", 1./128))
	}
	unsigned, signed := byteTensor("zero", onnx.Uint8, 0), byteTensor("zero", onnx.Int8, 0x80)
	bgr := Raw()
	bgr.ChannelOrder = "BGR"
	computed := onnx.FloatTensor("variance", []float32{127.5 * 127.5}, 1)
	for name, c := range map[string]struct {
		edit   func(*onnx.Model)
		want   Preprocess
		origin Origin
		reason string
	}{
		"plain":                 {nil, ArcFace(), Assumed, "does not normalise"},
		"metadata":              {stated, bgr, Stated, "metadata"},
		"sub, div":              {shifted(127.5, 127.5), Raw(), Found, "begins with (x - 127.5) / 127.5, so it normalises inside and takes 0 to 255"},
		"scaling folded":        {with([]onnx.Node{graphNode("Sub", "s", "input", "m")}, number32("m", 127.5)), Raw(), Found, "(x - 127.5) / 1"},
		"added":                 {with([]onnx.Node{graphNode("Add", "s", "m", "input")}, number32("m", -127.5)), Raw(), Found, "(x - 127.5) / 1"},
		"divides by 255":        {with([]onnx.Node{graphNode("Div", "d", "input", "v")}, number32("v", 255)), Raw(), Found, "(x - 0) / 255"},
		"multiplies":            {with([]onnx.Node{graphNode("Mul", "d", "v", "input")}, number32("v", 1./128)), Raw(), Found, "(x - 0) / 128"},
		"mul, sub":              {with([]onnx.Node{graphNode("Mul", "s", "input", "k"), graphNode("Sub", "d", "s", "one")}, number32("k", 2./255), number32("one", 1)), Raw(), Found, "(x - 127.5) / 127.5"},
		"0 to 1":                {shifted(0.5, 0.5), Unit(), Found, "takes 0 to 1"},
		"photographs' means":    {with([]onnx.Node{graphNode("Sub", "s", "input", "m"), graphNode("Div", "d", "s", "v")}, number32("m", 0.485, 0.456, 0.406), number32("v", 0.229, 0.224, 0.225)), Unit(), Found, "takes 0 to 1"},
		"the same of 0 to 255":  {with([]onnx.Node{graphNode("Sub", "s", "input", "m"), graphNode("Div", "d", "s", "v")}, number32("m", 123.675, 116.28, 103.53), number32("v", 58.4, 57.1, 57.4)), Raw(), Found, "takes 0 to 255"},
		"multiplies by 255":     {with([]onnx.Node{graphNode("Mul", "s", "input", "k")}, number32("k", 255)), Unit(), Found, "takes 0 to 1"},
		"undoes arcface":        {with([]onnx.Node{graphNode("Mul", "s", "input", "k"), graphNode("Add", "d", "s", "k")}, number32("k", 127.5)), ArcFace(), Found, "takes -1 to 1"},
		"from a constant minus": {with([]onnx.Node{graphNode("Sub", "s", "m", "input"), graphNode("Neg", "n", "s")}, number32("m", 127.5)), Raw(), Found, "takes 0 to 255"},
		"by one":                {with([]onnx.Node{graphNode("Mul", "s", "input", "k")}, number32("k", 1)), ArcFace(), Assumed, "does not normalise"},
		"fits nothing":          {shifted(2, 2), Raw(), Assumed, "fits no usual input"},
		"unknown numbers": {with([]onnx.Node{graphNode("ReduceMean", "mean", "w"), graphNode("Sub", "s", "input", "mean"), graphNode("Div", "d", "s", "mean")}),
			Raw(), Assumed, "fits no usual input"},
		"batch normalisation of 0 to 255": {with([]onnx.Node{graphNode("BatchNormalization", "bn", "input", "gamma", "beta", "mean", "variance")},
			onnx.FloatTensor("gamma", []float32{1, 1, 1}, 3), onnx.FloatTensor("beta", []float32{0, 0, 0}, 3),
			onnx.FloatTensor("mean", []float32{140, 112, 98}, 3), onnx.FloatTensor("variance", []float32{4000, 3500, 3400}, 3)), Raw(), Found, "takes 0 to 255"},
		"batch normalisation of -1 to 1": {with([]onnx.Node{graphNode("BatchNormalization", "bn", "input", "gamma", "beta", "mean", "variance")},
			onnx.FloatTensor("gamma", []float32{1, 1, 1}, 3), onnx.FloatTensor("beta", []float32{0, 0, 0}, 3),
			onnx.FloatTensor("mean", []float32{0.1, -0.12, -0.23}, 3), onnx.FloatTensor("variance", []float32{0.25, 0.2, 0.2}, 3)), ArcFace(), Found, "takes -1 to 1"},
		"computed constants": {with([]onnx.Node{{OpType: "Constant", Outputs: []string{"mean"}, Attributes: []onnx.Attribute{{Name: "value", Kind: onnx.KindTensor, Tensor: &onnx.Tensor{Type: onnx.Float64, Data: []byte{0, 0, 0, 0, 0, 0xe0, 0x5f, 0x40}}}}},
			graphNode("Cast", "mean32", "mean"), graphNode("Unsqueeze", "mean3", "mean32"), graphNode("Sqrt", "deviation", "variance"), graphNode("Sub", "s", "input", "mean3"), graphNode("Div", "d", "s", "deviation")}, computed),
			Raw(), Found, "(x - 127.5) / 127.5"},
		"constants of float16": {func(m *onnx.Model) {
			half, err := onnx.HalfTensor("m", []float32{127.5}, 1)
			if err != nil {
				t.Fatal(err)
			}
			with([]onnx.Node{graphNode("Cast", "c", "input"), graphNode("Sub", "s", "c", "m")}, half)(m)
		}, Raw(), Found, "(x - 127.5) / 1"},
		// Old exporters list weights among the inputs, even before the image.
		"weights are inputs": {func(m *onnx.Model) {
			with([]onnx.Node{graphNode("Identity", "same", "input"), graphNode("Sub", "s", "same", "m")}, number32("m", 128))(m)
			m.Graph.Inputs = append([]onnx.ValueInfo{{Name: "m", Type: onnx.Float32, Dims: onnx.Fixed(1, 1, 1)}}, m.Graph.Inputs...)
		}, Raw(), Found, "(x - 128) / 1"},
		"behind a quantizer": {quantized(1, unsigned, graphNode("Sub", "s", "dq", "m"), graphNode("QuantizeLinear", "q2", "s", "k", "zero"), graphNode("DequantizeLinear", "dq2", "q2", "k", "zero"), graphNode("Mul", "d", "dq2", "k")),
			Raw(), Found, "(x - 127.5) / 128"},
		"quantizer of 0 to 255": {quantized(1, unsigned), Raw(), Found, "quantizes its input from 0 to 255"},
		"signed quantizer":      {quantized(1, signed), Raw(), Found, "quantizes its input from 0 to 255"},
		"quantizer of 0 to 1":   {quantized(1./255, unsigned), Unit(), Found, "quantizes its input from 0 to 1"},
		"quantizer of -1 to 1":  {quantized(2./255, byteTensor("zero", onnx.Uint8, 128)), ArcFace(), Found, "from -1 to 0.996"},
		"centred quantizer":     {quantized(1, byteTensor("zero", onnx.Int8, 0)), Centred(), Found, "from -128 to 127"},
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
		}, ArcFace(), Assumed, "does not normalise"},
		// Names lie.
		"only names": {func(m *onnx.Model) { m.Graph.Nodes[0].Name, m.Graph.Nodes[1].Name = "_minusscalar0", "_mulscalar0" }, ArcFace(), Assumed, "does not normalise"},
	} {
		m := &onnx.Model{}
		tiny(t, func(built *onnx.Model) {
			if c.edit != nil {
				c.edit(built)
			}
			m = built
		})
		read, err := onnx.Unmarshal(m.Marshal())
		if err != nil {
			t.Fatal(err)
		}
		if r, err := ResolvePreprocess("auto", read); err != nil || r.Preprocess != c.want || r.Origin != c.origin || !strings.Contains(r.Reason, c.reason) {
			t.Errorf("%s: %v, %v because %q, %v; want %v", name, r.Preprocess, r.Origin, r.Reason, err, c.want)
		}
	}
}

func TestUnusableMetadata(t *testing.T) {
	for _, text := range []string{`{"std":"x"}`, `{"channel_order":"RGB"}`, `{"std":[1,1,1]} trailing`} {
		path := tiny(t, func(m *onnx.Model) { m.Metadata = []onnx.Property{{Key: PreprocessKey, Value: text}} })
		expectError(t, path, Options{}, ErrPreprocess, path)
		// What the user says counts, whatever the model says.
		m, err := Open(t.Context(), path, Options{Preprocess: "raw"})
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
		if p, _, err := parsePreprocess(data); err == nil && p.Validate() == nil {
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
		var r Resolved
		alloctest.AtMost(t, 1<<20+200*len(data), func() { r, err = ResolvePreprocess("auto", m) })
		if err == nil && (r.Validate() != nil || r.Reason == "") {
			t.Errorf("auto gave %v because %q", r.Preprocess, r.Reason)
		}
		m.ExternalFiles()
	})
}

// One number stands for all channels.
func TestOneNumberForAllChannels(t *testing.T) {
	want := ArcFace()
	got, err := ResolvePreprocess(preprocessFile(t, `{"mean": 127.5, "std": 127.5}`), nil)
	if err != nil || got.Preprocess != want {
		t.Errorf("got %v, %v, want %v", got, err, want)
	}
}
