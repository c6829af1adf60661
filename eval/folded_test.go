package eval

import (
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"facepipe/eval/internal/facestest"
	"facepipe/eval/protocol"
	"facepipe/internal/embed"
	"facepipe/internal/imgcodec"
	"facepipe/internal/onnx"
	"facepipe/store"
	"facepipe/store/storetest"
)

// head is how mbf_y1 begins: Sub by 127.5, Mul by 1/128, and a convolution.
type head struct{ sub, mul, conv *onnx.Node }

func headOf(t *testing.T, g *onnx.Graph) head {
	t.Helper()
	var operators []string
	for _, n := range g.Nodes[:5] {
		operators = append(operators, n.OpType)
	}
	if got := strings.Join(operators, " "); got != "Constant Sub Constant Mul Conv" {
		t.Fatalf("the model begins with %s", got)
	}
	return head{&g.Nodes[1], &g.Nodes[3], &g.Nodes[4]}
}

// fold makes of a convolution one of (x - shift)·scale.
func fold(t *testing.T, g *onnx.Graph, conv *onnx.Node, scale, shift float64) {
	t.Helper()
	weights, bias := floats(t, g, conv.Inputs[1]), floats(t, g, conv.Inputs[2])
	for i := range weights {
		weights[i] *= float32(scale)
		bias[i*len(bias)/len(weights)] -= float32(shift * float64(weights[i]))
	}
	for i := range g.Initializers {
		switch tensor := &g.Initializers[i]; tensor.Name {
		case conv.Inputs[1]:
			tensor.Data = onnx.FloatTensor("", weights).Data
		case conv.Inputs[2]:
			tensor.Data = onnx.FloatTensor("", bias).Data
		}
	}
}

func floats(t *testing.T, g *onnx.Graph, name string) []float32 {
	t.Helper()
	for _, tensor := range g.Initializers {
		if tensor.Name == name {
			values, err := tensor.Floats()
			if err != nil {
				t.Fatal(err)
			}
			return values
		}
	}
	t.Fatalf("no weights %s", name)
	return nil
}

// foldings are what optimizers and quantizers make of that beginning. All take 0 to 255.
var foldings = []struct {
	name   string
	reason string  // of the contract
	within float64 // figures agree: where the shift is folded, the convolution's borders are another colour
	edit   func(*testing.T, *onnx.Graph)
}{
	{"whole", "begins with (x - 127.5) / 128", 0, func(*testing.T, *onnx.Graph) {}},
	{"scale folded", "begins with (x - 127.5) / 1,", 0.0005, func(t *testing.T, g *onnx.Graph) {
		h := headOf(t, g)
		fold(t, g, h.conv, 1./128, 0)
		h.conv.Inputs[0] = h.sub.Outputs[0]
		g.Nodes = append(g.Nodes[:2], g.Nodes[4:]...)
	}},
	{"all folded", "auto: measured", 0.003, func(t *testing.T, g *onnx.Graph) {
		h := headOf(t, g)
		fold(t, g, h.conv, 1./128, 127.5)
		h.conv.Inputs[0] = g.Inputs[0].Name
		g.Nodes = g.Nodes[4:]
	}},
	{"divides by 255", "begins with (x - 0) / 255", 0.003, func(t *testing.T, g *onnx.Graph) {
		h := headOf(t, g)
		fold(t, g, h.conv, 255./128, 0.5)
		*h.mul = onnx.Node{Name: "unit", OpType: "Div", Inputs: []string{g.Inputs[0].Name, "range"}, Outputs: h.mul.Outputs}
		g.Initializers = append(g.Initializers, onnx.FloatTensor("range", []float32{255}))
		g.Nodes = g.Nodes[3:]
	}},
	{"behind a quantizer", "begins with (x - 127.5) / 128", 0.0005, func(t *testing.T, g *onnx.Graph) {
		headOf(t, g).sub.Inputs[0] = "pixels"
		g.Initializers = append(g.Initializers, onnx.FloatTensor("step", []float32{1}), onnx.Tensor{Name: "zero", Type: onnx.Uint8, Data: []byte{0}})
		g.Nodes = append([]onnx.Node{
			{Name: "quantize", OpType: "QuantizeLinear", Inputs: []string{g.Inputs[0].Name, "step", "zero"}, Outputs: []string{"bytes"}},
			{Name: "dequantize", OpType: "DequantizeLinear", Inputs: []string{"bytes", "step", "zero"}, Outputs: []string{"pixels"}}}, g.Nodes...)
	}},
}

// However an exporter has left the normalisation of a model, auto finds what it takes, by the
// graph or by measuring, and the figures are those of the model as it was published.
func TestRealFoldedNormalisation(t *testing.T) {
	root := os.Getenv("PIPE_REAL_DATA")
	if root == "" {
		t.Skip("PIPE_REAL_DATA names no folder")
	}
	o := DefaultOptions()
	o.Flip = false
	o.Tests = []Test{{Protocol: protocol.Pairs}}
	o.Dataset, o.Tests[0].List = realPairs(t, root, 14, 4)
	for _, f := range foldings {
		m, err := onnx.ReadFile(filepath.Join(root, "models", "mbf_y1.onnx"))
		if err != nil {
			t.Fatal(err)
		}
		f.edit(t, &m.Graph)
		o.Models = append(o.Models, facestest.WriteFile(t, f.name+".onnx", string(m.Marshal())))
	}
	models := run(t, o).Models
	whole := models[0]
	for i, m := range models {
		f := foldings[i]
		if m.Preprocess != embed.Raw() || !strings.Contains(m.PreprocessReason, f.reason) || m.SelfTest.Contracts[m.SelfTest.Best].Name != "RGB raw" {
			t.Errorf("%s: %v because %q, self-test %v", f.name, m.Preprocess, m.PreprocessReason, m.SelfTest)
		}
		if math.Abs(m.Accuracy-whole.Accuracy) > f.within || math.Abs(m.AUC-whole.AUC) > f.within || m.AUC < 0.97 {
			t.Errorf("%s: accuracy %.5f, AUC %.5f; want %.5f and %.5f", f.name, m.Accuracy, m.AUC, whole.Accuracy, whole.AUC)
		}
		t.Logf("%s: accuracy %.5f, AUC %.5f", f.name, m.Accuracy, m.AUC)
	}
}

// realPairs are a dataset of aligned crops of some people, and a list of all pairs of them.
func realPairs(t *testing.T, root string, people, shots int) (dataset, list string) {
	t.Helper()
	folders, err := filepath.Glob(filepath.Join(root, "glint24", "*"))
	if err != nil || len(folders) < people {
		t.Fatalf("%d people, %v", len(folders), err)
	}
	var photos []photo
	for _, folder := range folders[:people] {
		files, err := filepath.Glob(filepath.Join(folder, "*.png"))
		if err != nil || len(files) < shots {
			t.Fatalf("%s: %d crops, %v", folder, len(files), err)
		}
		for _, file := range files[:shots] {
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			photos = append(photos, photo{filepath.Base(folder), filepath.Base(file), data})
		}
	}
	return allPairs(t, photos)
}

// photo is an encoded crop of a person.
type photo struct {
	person, name string
	data         []byte
}

// allPairs writes crops of 112×112 into a dataset, and a list of all their pairs.
func allPairs(t *testing.T, photos []photo) (dataset, list string) {
	t.Helper()
	contract := store.Contract{CropSize: 112, Template: "arcface-112", Warp: "none", Decoder: "std"}
	var crops []store.Crop
	var pairs strings.Builder
	for _, p := range photos {
		img, format, err := imgcodec.Decode(p.data, imgcodec.Limits{})
		if err != nil {
			t.Fatal(err)
		}
		c := store.Crop{ID: store.CropID(contract, img.Pix), Key: p.person + "/" + p.name, Identity: p.person, Encoding: format, Image: p.data}
		for _, other := range crops {
			fmt.Fprintf(&pairs, "%s %s %d\n", other.Key, c.Key, map[bool]int{true: 1}[c.Identity == other.Identity])
		}
		crops = append(crops, c)
	}
	dataset = filepath.Join(t.TempDir(), "faces.ds")
	storetest.Write(t, dataset, contract, 0, store.SourceInfo{Kind: "folder", Path: "faces", Detector: "none"}, crops)
	return dataset, facestest.WriteFile(t, "pairs.txt", pairs.String())
}
