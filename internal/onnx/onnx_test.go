package onnx

import (
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"facepipe/internal/alloctest"
)

func sample() *Model {
	return &Model{
		IRVersion: 8, Producer: "pipe", Version: "1", OpsetVersion: 17,
		Metadata: []Property{{"pipe.preprocess", `{"a":1}`}, {"other", "x"}},
		Graph: Graph{
			Name: "net",
			Nodes: []Node{
				{Name: "conv", OpType: "Conv", Inputs: []string{"input", "w", ""}, Outputs: []string{"y"},
					Attributes: []Attribute{Ints("strides", 2, 2), Int("group", 1)}},
				{OpType: "LeakyRelu", Inputs: []string{"y"}, Outputs: []string{"z"}, Attributes: []Attribute{Float("alpha", 0.25), Text("of", "x")}, Domain: "com.microsoft"},
			},
			Inputs:       []ValueInfo{{"input", Float32, append([]Dim{Variable("N")}, Fixed(3, 112, 112)...)}},
			Outputs:      []ValueInfo{{"z", Float32, []Dim{Variable("N"), {Size: 4}}}},
			Initializers: []Tensor{FloatTensor("w", []float32{1, -2.5}, 2), IntTensor("shape", []int64{-1, 4}, 2)},
		},
	}
}

func TestRoundTrip(t *testing.T) {
	got, err := Unmarshal(sample().Marshal())
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got, sample()) {
		t.Errorf("got %+v\nwant %+v", got, sample())
	}
	if v := got.Property("pipe.preprocess"); v != `{"a":1}` {
		t.Errorf("metadata %q", v)
	}
	if w, err := got.Graph.Initializers[0].Floats(); err != nil || w[1] != -2.5 {
		t.Errorf("weights %v, %v", w, err)
	}
	if _, err := got.Graph.Initializers[1].Floats(); err == nil {
		t.Error("integers were read as floats")
	}
}

// Older exporters write the elements as lists instead of raw bytes.
func TestTypedElementLists(t *testing.T) {
	var packed, single message
	packed.int(2, int64(Float32))
	packed.bytes(4, FloatTensor("", []float32{1, 2}).Data)
	single.int(2, int64(Int64))
	single.int(7, -3)
	single.int(7, 4)
	var a, b Tensor
	if err := errors.Join(a.read(packed), b.read(single)); err != nil {
		t.Fatal(err)
	}
	if v, err := a.Floats(); err != nil || v[0] != 1 || v[1] != 2 {
		t.Errorf("float_data gave %v, %v", v, err)
	}
	if want := IntTensor("", []int64{-3, 4}).Data; !reflect.DeepEqual(b.Data, want) {
		t.Errorf("int64_data gave %v", b.Data)
	}
}

// Elements that come in several pieces must not be gathered inside the input.
func TestInputIsNotWrittenTo(t *testing.T) {
	var m message
	m.int(2, int64(Float32))
	m.bytes(9, FloatTensor("", []float32{1, 2}).Data)
	m.bytes(4, FloatTensor("", []float32{3}).Data)
	m.string(8, "the name of the tensor")
	before := slices.Clone(m)
	var tensor Tensor
	if err := tensor.read(m); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(m, before) || tensor.Name != "the name of the tensor" {
		t.Errorf("reading changed the input; the name is %q", tensor.Name)
	}
	if v, err := tensor.Floats(); err != nil || !slices.Equal(v, []float32{1, 2, 3}) {
		t.Errorf("values %v, %v", v, err)
	}
}

func TestExternalFiles(t *testing.T) {
	in := func(file string) []Property { return []Property{{"location", file}, {"offset", "0"}, {"length", "16"}} }
	m := sample()
	m.Graph.Initializers = append(m.Graph.Initializers,
		Tensor{Name: "b", Type: Float32, Dims: []int64{4}, External: in("w.data")},
		Tensor{Name: "c", Type: Float32, Dims: []int64{4}, External: in("more/w.data")},
		Tensor{Name: "d", Type: Float32, Dims: []int64{4}, External: in("w.data")})
	got, err := Unmarshal(m.Marshal())
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got.Graph, m.Graph) {
		t.Errorf("got %+v\nwant %+v", got, m)
	}
	if got, want := got.ExternalFiles(), []string{"more/w.data", "w.data"}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if got := sample().ExternalFiles(); len(got) > 0 {
		t.Errorf("a model in one file has external files %v", got)
	}
}

func TestRefusesWhatIsNoModel(t *testing.T) {
	for name, data := range map[string][]byte{
		"empty": nil, "text": []byte("this is no model"), "zeros": make([]byte, 64),
		"no graph": (&Model{IRVersion: 8}).Marshal(),
	} {
		if _, err := Unmarshal(data); !errors.Is(err, ErrFormat) {
			t.Errorf("%s: %v", name, err)
		}
	}
	path := filepath.Join(t.TempDir(), "x.onnx")
	if err := os.WriteFile(path, []byte("no"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := ReadFile(path); !errors.Is(err, ErrFormat) {
		t.Errorf("file: %v", err)
	}
}

// A cut file is refused or at least never read beyond its end.
func TestTruncatedAtEveryByte(t *testing.T) {
	data := sample().Marshal()
	for n := range data {
		if m, err := Unmarshal(data[:n]); err == nil && reflect.DeepEqual(m, sample()) {
			t.Fatalf("%d of %d bytes gave the whole model", n, len(data))
		}
	}
}

// tensorless is a model with an attribute that says that it is a tensor, and has none.
var tensorless = []byte{0x3a, 7, 0x0a, 5, 0x2a, 3, 0xa0, 0x01, 4}

func TestAttributeWithoutItsTensor(t *testing.T) {
	if _, err := Unmarshal(tensorless); err == nil || !strings.Contains(err.Error(), "has none") {
		t.Error(err)
	}
}

func FuzzUnmarshal(f *testing.F) {
	f.Add(sample().Marshal())
	f.Add(tensorless)
	f.Add([]byte{0x3a, 0xff, 0xff, 0xff, 0xff, 0x0f})
	f.Fuzz(func(t *testing.T, data []byte) {
		var m *Model
		var err error
		alloctest.AtMost(t, 1<<20+200*len(data), func() { m, err = Unmarshal(data) })
		if err == nil {
			if _, err := Unmarshal(m.Marshal()); err != nil {
				t.Errorf("what was read cannot be written: %v", err)
			}
		}
	})
}

// Only inputs and outputs change: weights among the inputs and all nodes stay.
func TestRewrite(t *testing.T) {
	m := sample()
	m.Graph.Inputs[0].Type, m.Graph.Outputs[0].Type = Float16, Float64
	m.Graph.Inputs = append(m.Graph.Inputs, ValueInfo{"w", Float32, Fixed(2)})
	m.Graph.Outputs = append(m.Graph.Outputs, ValueInfo{"index", Int64, Fixed(1)})
	data, err := Form{}.Rewrite(m.Marshal())
	if err != nil {
		t.Fatal(err)
	}
	got, err := Unmarshal(data)
	if err != nil {
		t.Fatal(err)
	}
	want := sample()
	cast := func(from, to string, e ElemType) Node {
		return Node{Name: to + ".cast", OpType: "Cast", Inputs: []string{from}, Outputs: []string{to}, Attributes: []Attribute{Int("to", int64(e))}}
	}
	want.Graph.Nodes = slices.Concat([]Node{cast("input.float32", "input", Float16)}, want.Graph.Nodes, []Node{cast("z", "z.float32", Float32)})
	want.Graph.Inputs = []ValueInfo{{"input.float32", Float32, m.Graph.Inputs[0].Dims}, {"w", Float32, Fixed(2)}}
	want.Graph.Outputs = []ValueInfo{{Name: "z.float32", Type: Float32}}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v\nwant %+v", got, want)
	}
	m.Graph.Outputs[0].Type = Float16
	halves := Form{Halves: true}
	if data, err = halves.Rewrite(m.Marshal()); err != nil {
		t.Fatal(err)
	}
	if got, err = Unmarshal(data); err != nil || !reflect.DeepEqual(got.Graph.Nodes, sample().Graph.Nodes) || !halves.Has(&got.Graph) || (Form{}).Has(&got.Graph) ||
		got.Graph.Inputs[0].Name != "input" || got.Graph.Outputs[0].Name != "z" {
		t.Errorf("halves stay: %+v, %v", got, err)
	}
	if _, err := (Form{}).Rewrite([]byte("no model")); !errors.Is(err, ErrFormat) {
		t.Error(err)
	}
}

// Pixels stand for an image where a model has one and is not too old.
func TestPixels(t *testing.T) {
	model := func(edit func(*Model)) *Model {
		m := sample()
		m.OpsetVersion, m.Graph.Inputs[0].Dims = 13, []Dim{Variable("N"), {Size: 3}, {Size: 4}, {Size: 5}}
		edit(m)
		return m
	}
	for name, c := range map[string]struct {
		m    *Model
		want bool
	}{
		"an image":       {model(func(*Model) {}), true},
		"of half":        {model(func(m *Model) { m.Graph.Inputs[0].Type = Float16 }), true},
		"of text":        {model(func(m *Model) { m.Graph.Inputs[0].Type = 8 }), false},
		"of three sides": {model(func(m *Model) { m.Graph.Inputs[0].Dims = Fixed(3, 4, 5) }), false},
		"two inputs":     {model(func(m *Model) { m.Graph.Inputs = append(m.Graph.Inputs, ValueInfo{Name: "other"}) }), false},
		"opset 6":        {model(func(m *Model) { m.OpsetVersion = 6 }), false},
		"no opset":       {model(func(m *Model) { m.OpsetVersion = 0 }), false},
	} {
		if got := c.m.TakesPixels(); got != c.want {
			t.Errorf("%s: %v", name, got)
		}
	}
	m := model(func(m *Model) { m.Graph.Inputs[0].Type = Float16 })
	data, err := Form{Pixels: &Pixels{Height: 4, Width: 5, Planar: true}}.Rewrite(m.Marshal())
	if err != nil {
		t.Fatal(err)
	}
	got, err := Unmarshal(data)
	if err != nil {
		t.Fatal(err)
	}
	var chain []string
	for _, n := range got.Graph.Nodes[:5] {
		chain = append(chain, n.OpType)
	}
	images := got.Graph.Images()
	if !slices.Equal(chain, []string{"Cast", "Sub", "Div", "Transpose", "Cast"}) || got.Graph.Nodes[4].Outputs[0] != "input" || len(images) != 3 ||
		!reflect.DeepEqual(images[0], ValueInfo{"input.pixels", Uint8, []Dim{Variable("N"), {Size: 4}, {Size: 5}, {Size: 3}}}) {
		t.Errorf("nodes %v, inputs %+v", chain, images)
	}
}

// What people take for a model says what it is.
func TestOtherKinds(t *testing.T) {
	for text, want := range map[string]string{
		"":                                       "empty",
		"version https://git-lfs.github.com":     "git lfs pull",
		"\n<!DOCTYPE html><html>":                "web page",
		"PK\x03\x04\x00\x00archive/data.pkl\xff": "PyTorch",
		"PK\x03\x04\x00\x00model.onnx":           "zip archive",
		"\x80\x02\x8a\nl\xfc":                    "pickle",
		"\x18\x00\x00\xffORTM":                   ".ort",
		"\x1c\x00\x00\x00TFL3":                   "TensorFlow Lite",
		"\x89HDF\r\n":                            "HDF5",
		"\x1f\x8b\x08":                           "compressed",
		"not a model at all":                     "not an ONNX model",
	} {
		if _, err := Unmarshal([]byte(text)); !errors.Is(err, ErrFormat) || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", text, err)
		}
	}
	if _, err := Unmarshal(sample().Marshal()); err != nil {
		t.Error(err)
	}
}

// What is no model says what it is, and what to do.
func TestKinds(t *testing.T) {
	tar := strings.Repeat("\x00", 257) + "ustar"
	for data, want := range map[string]string{
		"": "an empty file",
		"version https://git-lfs.github.com/spec/v1\noid sha256:0":                   "Git LFS",
		"\n <!DOCTYPE html><html>":                                                   "a web page",
		"\xef\xbb\xbf<HTML lang=en>":                                                 "a web page",
		"<?xml version=\"1.0\"?>\n<!DOCTYPE html>":                                   "a web page",
		"<?xml version=\"1.0\"?>\n<net name=\"w600k\" version=\"11\"><layers>":       "OpenVINO",
		"<net name=\"mbf\" version=\"5\">":                                           "OpenVINO",
		"<?xml version=\"1.0\"?><opencv_storage>":                                    "OpenCV",
		"<?xml version=\"1.0\"?>\n<Error><Code>AccessDenied</Code>":                  "a server's message",
		"<?xml version=\"1.0\"?><annotation>":                                        "an XML text",
		"PK\x03\x04 archive/data.pkl":                                                "a PyTorch file",
		"PK\x03\x04 metadata.json config.json model.weights.h5":                      "a Keras model",
		"PK\x03\x04 det_10g.onnx":                                                    "a zip archive",
		"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.":                                   "a pickle",
		"\x18\x00\x00\x00ORTM0123":                                                   ".ort",
		"\x1c\x00\x00\x00TFL3\x14":                                                   "TensorFlow Lite",
		"\x89HDF\r\n\x1a\n":                                                          "HDF5",
		"\x0a\x1f\x0a\x05input\x12\x0bPlaceholder*":                                  "a frozen graph of TensorFlow",
		"\x0a\x1f\x0a\x05w/kern\x12\x05Const*":                                       "a frozen graph of TensorFlow",
		"\x08\x01\x12\x90\x40\x0a\x80\x10\x12\x60\x0a\x05Const":                      "a saved model of TensorFlow",
		"\x58\x00\x00\x00\x00\x00\x00\x00{\"w\":{\"dtype\":\"F32\",\"data_offsets\"": "safetensors",
		"\x12\x01\x00\x00\x00\x00\x00\x00\x00\x00":                                   "MXNet's weights",
		"{\n  \"nodes\": [\n    {\n      \"op\": \"null\", \"name\": \"data\"":       "MXNet's description",
		"{\"message\": \"Not Found\"}":                                               "a JSON text",
		"ftrt\x00\x00":                                                               "TensorRT",
		"RKNN\x00\x00":                                                               "Rockchip",
		"7767517\n102 102\nInput data":                                               "ncnn",
		"\x1f\x8b\x08":                                                               "a compressed file",
		"7z\xbc\xaf\x27\x1c":                                                         "an archive",
		tar:                                                                          "an archive",
	} {
		_, err := Unmarshal([]byte(data))
		if !errors.Is(err, ErrFormat) || !strings.Contains(err.Error(), "not an ONNX model but ") || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %s", data[:min(len(data), 40)], err, want)
		}
	}
	for _, data := range []string{"this is no model", "\x08\x07\x12\x07pytorch", "\x0a\x0b"} {
		if _, err := Unmarshal([]byte(data)); !errors.Is(err, ErrFormat) || strings.Contains(err.Error(), " but ") {
			t.Errorf("%q: %v", data, err)
		}
	}
}

// A branch that multiplies is said, one that does not is none of anyone's business; what a body
// takes from outside is needed.
func TestBodies(t *testing.T) {
	branch := func(op string) []byte {
		var w message
		g := Graph{Nodes: []Node{{OpType: op, Inputs: []string{"before", "w"}, Outputs: []string{"out"}}}, Outputs: []ValueInfo{{Name: "out"}}}
		g.write(&w)
		return w
	}
	deep := branch("Relu")
	for range 9 {
		var n, g message
		n.string(4, "If")
		n.nested(5, func(w *message) { w.bytes(6, deep) })
		g.bytes(1, n)
		deep = g
	}
	for _, c := range []struct {
		body []byte
		want []string
		err  bool
	}{{body: branch("Conv"), want: []string{"If with Conv"}}, {body: branch("Squeeze")}, {body: deep, err: true}, {body: []byte{0x0a, 0x7f}, err: true}} {
		g := sample().Graph
		g.Nodes = []Node{
			{OpType: "Relu", Inputs: []string{"input"}, Outputs: []string{"before"}},
			{OpType: "If", Inputs: []string{"condition"}, Outputs: []string{"z"}, Attributes: []Attribute{{Name: "then_branch", graphs: [][]byte{c.body}}}},
		}
		f, err := g.flow()
		if (err != nil) != c.err {
			t.Fatalf("%v: %v", c.want, err)
		}
		if err != nil {
			continue
		}
		p := &Probe{unknown: map[string]bool{}}
		if !f.needed[0] || !f.fed(f.reads[1]) {
			t.Errorf("%v: needed %v, read %v", c.want, f.needed, f.reads[1])
		}
		p.add(&g.Nodes[1], f, f.bodies[1])
		if got, err := p.Count(nil, 1); err != nil || !slices.Equal(got.Unknown, c.want) {
			t.Errorf("%v, %v, want %v", got.Unknown, err, c.want)
		}
	}
}
