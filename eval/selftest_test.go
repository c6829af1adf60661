package eval

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"facepipe/eval/internal/facestest"
	"facepipe/eval/protocol"
	"facepipe/eval/report"
	"facepipe/internal/embed"
	"facepipe/internal/imgcodec"
	"facepipe/internal/onnx"
	"facepipe/internal/selfcheck"
	"facepipe/internal/synthface"
	"facepipe/testdata"
)

// faceOptions are options for generated faces, two of each of some people.
func faceOptions(t *testing.T, people int) Options {
	t.Helper()
	g := synthface.New(5)
	var photos []photo
	for person := range people {
		for picture := range 2 {
			img, _ := g.Aligned(person, picture, synthface.DefaultHard)
			photos = append(photos, photo{fmt.Sprintf("P%02d", person), fmt.Sprint(picture, ".png"), imgcodec.EncodePNG(img)})
		}
	}
	o := DefaultOptions()
	o.Flip = false
	o.Tests = []Test{{Protocol: protocol.Pairs}}
	o.Dataset, o.Tests[0].List = allPairs(t, photos)
	o.Out = filepath.Join(t.TempDir(), "report")
	return o
}

// teacher writes the repository's teacher, of RGB from -1 to 1. metadata is the contract that it
// states, nil for none.
func teacher(t *testing.T, name string, metadata *embed.Preprocess, edit func(*onnx.Graph)) string {
	t.Helper()
	m, err := onnx.Unmarshal(testdata.Teacher)
	if err != nil {
		t.Fatal(err)
	}
	m.Metadata = nil
	if metadata != nil {
		text, err := json.Marshal(metadata)
		if err != nil {
			t.Fatal(err)
		}
		m.Metadata = []onnx.Property{{Key: embed.PreprocessKey, Value: string(text)}}
	}
	if edit != nil {
		edit(&m.Graph)
	}
	return facestest.WriteFile(t, name, string(m.Marshal()))
}

// What the self-test finds is printed and reported, and decides where the file does not tell. A
// model that contradicts its file has no figures, and does not keep the others from having some.
func TestSelfTestDecides(t *testing.T) {
	raw := embed.Raw()
	o := faceOptions(t, 14)
	folded := teacher(t, "folded.onnx", nil, func(g *onnx.Graph) { fold(t, g, &g.Nodes[0], 1/127.5, 127.5) })
	wrong := teacher(t, "wrong.onnx", &raw, nil)
	plain := teacher(t, "plain.onnx", nil, nil)
	o.Models = []string{wrong, folded, plain}
	var said bytes.Buffer
	o.Progress = &said
	r, err := Run(context.Background(), o)
	if !errors.Is(err, selfcheck.ErrContradiction) || !strings.Contains(err.Error(), wrong) || !strings.Contains(err.Error(), "by the file (stated in the model's metadata)") {
		t.Errorf("error %v", err)
	}
	if len(r.Failed) != 1 || r.Failed[0].Model != wrong || !strings.Contains(r.Failed[0].Error, "under RGB /127.5 than under RGB raw") || len(r.Models) != 2 {
		t.Fatalf("failed %+v, %d models", r.Failed, len(r.Models))
	}
	const note = "the file does not tell the preprocessing: the measured one is taken, RGB NCHW 112x112, (x - [0 0 0]) / [1 1 1]"
	m := r.Models[0]
	if m.Preprocess != raw || !strings.HasPrefix(m.PreprocessReason, "auto: measured: of 14 pairs of faces") || strings.Join(m.Notes, "") != note || m.SelfTest.Contracts[m.SelfTest.Best].Preprocess != raw {
		t.Errorf("%v because %q, notes %q, self-test %+v", m.Preprocess, m.PreprocessReason, m.Notes, m.SelfTest)
	}
	if !strings.Contains(said.String(), "note: "+folded+": "+note+"\n") {
		t.Errorf("said %s", &said)
	}
	if p := r.Models[1]; p.Preprocess != embed.ArcFace() || p.SelfTest.Best != 0 || len(p.Notes) != 0 || p.AUC-m.AUC > 0.02 || m.AUC-p.AUC > 0.02 {
		t.Errorf("plain: %v, notes %q, AUC %.4f; folded %.4f", p.Preprocess, p.Notes, p.AUC, m.AUC)
	}
	text, err := os.ReadFile(filepath.Join(o.Out, "report.md"))
	for _, want := range []string{"  * preprocessing: RGB NCHW 112x112, (x - [0 0 0]) / [1 1 1] (auto: measured: ", "  * self-test: of 5 preprocessings on 14 pairs of faces the best is RGB raw, AUC ",
		"  * **note**: `" + note + "`\n", "* `" + wrong + "` **failed**: `the preprocessing is in doubt: "} {
		if err != nil || !strings.Contains(string(text), want) {
			t.Errorf("report.md (%v) lacks %q:\n%s", err, want, text)
		}
	}
}

// What is chosen is kept, with a note; without a self-test nobody is asked.
func TestSelfTestDoesNotDecide(t *testing.T) {
	raw := embed.Raw()
	o := faceOptions(t, 14)
	o.Out = ""
	one := func(model string) report.Model {
		t.Helper()
		o.Models = []string{model}
		return run(t, o).Models[0]
	}
	o.Preprocess = "raw"
	if m := one(teacher(t, "plain.onnx", nil, nil)); m.Preprocess != raw || len(m.Notes) != 1 || !strings.HasSuffix(m.Notes[0], ": is --preprocess right?") {
		t.Errorf("chosen: %v, notes %q", m.Preprocess, m.Notes)
	}
	o.Preprocess = ""
	constant := teacher(t, "constant.onnx", nil, func(g *onnx.Graph) {
		last := &g.Nodes[len(g.Nodes)-1]
		g.Nodes = append(g.Nodes, onnx.Node{OpType: "Mul", Inputs: []string{"varied", "zero"}, Outputs: []string{"nothing"}}, onnx.Node{OpType: "Add", Inputs: []string{"nothing", "one"}, Outputs: last.Outputs})
		last.Outputs = []string{"varied"}
		g.Initializers = append(g.Initializers, onnx.FloatTensor("zero", []float32{0}, 1), onnx.FloatTensor("one", []float32{1}, 1))
	})
	if m := one(constant); len(m.Notes) != 1 || !strings.Contains(m.Notes[0], selfcheck.ErrWeak.Error()) {
		t.Errorf("constant: notes %q", m.Notes)
	}
	o.NoSelfTest = true
	for name, model := range map[string]string{
		"wrong": teacher(t, "wrong.onnx", &raw, nil), "constant": constant,
		"folded": teacher(t, "folded.onnx", nil, func(g *onnx.Graph) { fold(t, g, &g.Nodes[0], 1/127.5, 127.5) }),
	} {
		if m := one(model); m.SelfTest != nil || len(m.Notes) != 0 || (m.Preprocess == raw) != (name == "wrong") {
			t.Errorf("%s without a self-test: %v, notes %q, %+v", name, m.Preprocess, m.Notes, m.SelfTest)
		}
	}
}

// Of a model that makes nothing of single crops it is said which export it wants.
func TestModelOfBatchStatistics(t *testing.T) {
	o := setUp(t)
	o.Models = append(o.Models, linearModel(t, "statistics.onnx", 1, func(m *onnx.Model) {
		m.Graph.Nodes[1].Outputs[0] = "rows"
		m.Graph.Nodes = append(m.Graph.Nodes,
			onnx.Node{OpType: "ReduceMean", Inputs: []string{"rows"}, Outputs: []string{"mean"}, Attributes: []onnx.Attribute{onnx.Ints("axes", 0)}},
			onnx.Node{OpType: "Sub", Inputs: []string{"rows", "mean"}, Outputs: []string{"embedding"}})
	}))
	r, err := Run(context.Background(), o)
	if err == nil || len(r.Models) != 1 || len(r.Failed) != 1 || !strings.Contains(r.Failed[0].Error, "export it in evaluation mode") || r.Failed[0].UnusablePairs != 60 {
		t.Errorf("%v, failed %+v", err, r.Failed)
	}
}
