package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"facepipe/eval/cost"
	"facepipe/ingest/detect/detecttest"
	"facepipe/internal/embed"
	"facepipe/internal/onnx"
	"facepipe/testdata"
)

// fileOf writes a file into a new folder.
func fileOf(t *testing.T, name string, data []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	writeFile(t, path, string(data))
	return path
}

// declared is a model of one input and some outputs, which are all the same average of it.
func declared(t *testing.T, input []int64, outputs ...[]int64) string {
	t.Helper()
	g := onnx.Graph{Name: "declared", Inputs: []onnx.ValueInfo{{Name: "data", Type: onnx.Float32, Dims: onnx.Fixed(input...)}}}
	for i, dims := range outputs {
		name := string(rune('a' + i))
		g.Nodes = append(g.Nodes, onnx.Node{Name: name, OpType: "GlobalAveragePool", Inputs: []string{"data"}, Outputs: []string{name}})
		g.Outputs = append(g.Outputs, onnx.ValueInfo{Name: name, Type: onnx.Float32, Dims: onnx.Fixed(dims...)})
	}
	m := onnx.Model{IRVersion: 7, OpsetVersion: 13, Graph: g}
	return fileOf(t, "declared.onnx", m.Marshal())
}

// withoutLandmarks is a detector of boxes alone.
func withoutLandmarks(t *testing.T) string {
	t.Helper()
	m, err := onnx.Unmarshal(detecttest.Model(detecttest.Options{Kind: "scrfd"}))
	if err != nil {
		t.Fatal(err)
	}
	m.Graph.Outputs = m.Graph.Outputs[:6]
	return fileOf(t, "scrfd_500m.onnx", m.Marshal())
}

// examined is what doctor says of one file in JSON.
func examined(t *testing.T, code int, args ...string) map[string]any {
	t.Helper()
	models := expect(t, code, append([]string{"doctor", "--json", "--model"}, args...)...).object(t)["models"].([]any)
	if len(models) != 1 {
		t.Fatalf("%d models", len(models))
	}
	return models[0].(map[string]any)
}

func TestDoctorKnowsModels(t *testing.T) {
	dropout := tinyModel(t, func(g *onnx.Graph) {
		g.Nodes[1].Outputs[0] = "flat"
		g.Nodes = append(g.Nodes,
			onnx.Node{Name: "noise", OpType: "RandomNormalLike", Inputs: []string{"flat"}, Outputs: []string{"noise"}},
			onnx.Node{Name: "sum", OpType: "Add", Inputs: []string{"flat", "noise"}, Outputs: []string{"embedding"}})
	})
	yunet := detecttest.Model(detecttest.Options{Kind: "yunet", Batched: true, W: 640, H: 640})
	for name, c := range map[string]struct {
		file string
		kind string
		say  string // in the commands, or in the reason
	}{
		"student":            {fileOf(t, "teacher.onnx", testdata.Teacher), kindStudent, "pipe eval --model "},
		"teacher":            {tinyTeacher(t), kindEmbedder, "pipe precompute-teacher faces.ds --teacher "},
		"a name with blanks": {fileOf(t, "w600k r50.onnx", testdata.Teacher), kindStudent, "w600k r50.onnx' --dataset"},
		"scrfd":              {fileOf(t, "det.onnx", detecttest.Model(detecttest.Options{Kind: "scrfd"})), kindDetector, "--detector scrfd="},
		"yunet":              {fileOf(t, "yunet.onnx", yunet), kindDetector, "--detector yunet="},

		"a Git LFS pointer": {fileOf(t, "a.onnx", []byte("version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9\n")), kindNone, "git lfs pull"},
		"a web page":        {fileOf(t, "a.onnx", []byte("<!DOCTYPE html><html>")), kindNone, "a web page: download the model itself"},
		"a zip":             {fileOf(t, "buffalo_l.zip", []byte("PK\x03\x04 det_10g.onnx")), kindNone, "unpack it"},
		"PyTorch":           {fileOf(t, "a.pt", []byte("PK\x03\x04 archive/data.pkl")), kindNone, "torch.onnx.export"},
		"ort":               {fileOf(t, "a.ort", []byte("\x18\x00\x00\x00ORTM0123")), kindNone, ".ort"},
		"nothing":           {fileOf(t, "a.onnx", nil), kindNone, "an empty file"},
		"half a model":      {fileOf(t, "a.onnx", testdata.Teacher[:1000]), kindNone, "cut short"},
		"a folder":          {filepath.Dir(tinyTeacher(t)), kindNone, "name a model in it: "},
		"an empty folder":   {t.TempDir(), kindNone, "no .onnx file is in it"},
		"no file":           {filepath.Join(t.TempDir(), "none.onnx"), kindNone, "no such file"},

		"106 landmarks":     {declared(t, []int64{1, 3, 192, 192}, []int64{1, 212}), kindOther, "106 landmarks"},
		"gender and age":    {declared(t, []int64{1, 3, 96, 96}, []int64{1, 3}), kindOther, "gender and age"},
		"another size":      {declared(t, []int64{1, 3, 160, 160}, []int64{1, 3, 1, 1}), kindEmbedder, "pipe precompute-teacher faces.ds --teacher "},
		"RetinaFace":        {declared(t, []int64{1, 3, 112, 112}, []int64{1, 896, 4}, []int64{1, 896, 2}, []int64{1, 896, 10}), kindOther, "it looks like a detector"},
		"without landmarks": {withoutLandmarks(t), kindOther, "a level has no landmarks, without which a face cannot be aligned; it looks like a detector: pipe takes SCRFD with landmarks"},
		"dropout":           {dropout, kindOther, "evaluation mode"},
	} {
		t.Run(name, func(t *testing.T) {
			usable := c.kind == kindEmbedder || c.kind == kindStudent || c.kind == kindDetector
			code := map[bool]int{true: exitDone, false: exitFailed}[usable]
			m := examined(t, code, c.file)
			said, _ := m["reason"].(string)
			if usable {
				said = m["commands"].([]any)[0].(string)
			}
			if m["kind"] != c.kind || m["usable"] != usable || !strings.Contains(said, c.say) || strings.HasPrefix(said, "open model") || !usable && strings.Contains(said, c.file+":") {
				t.Errorf("it is %v, usable %v: %q; want %s and %q", m["kind"], m["usable"], said, c.kind, c.say)
			}
			o := expect(t, code, "doctor", "--model", c.file)
			if !strings.Contains(o.stdout, c.file) || usable != strings.Contains(o.stdout, "\n  usable         yes") || usable != (o.stderr == "") {
				t.Errorf("the page is\n%s\nand stderr %q", o.stdout, o.stderr)
			}
		})
	}
}

// Another run of pipe has the memory of a model measured so.
func TestPeakMemory(t *testing.T) {
	text, err := json.Marshal(map[string]any{"Path": fileOf(t, "teacher.onnx", testdata.Teacher), "Sizes": []int{1, 4}})
	if err != nil {
		t.Fatal(err)
	}
	m := expect(t, exitDone, "peak-memory", string(text)).object(t)
	if peaks := m["peaks"].([]any); len(peaks) != 2 || m["own_process"] != true || number(t, m, "base_bytes") <= 0 {
		t.Errorf("%v", m)
	}
	expect(t, exitFailed, "peak-memory", "{}")
	if page := expect(t, exitDone, "--help").stdout; strings.Contains(page, "peak-memory") {
		t.Error("the help shows what people do not run")
	}
}

// What is said of an embedder is what precompute-teacher would find.
func TestDoctorExaminesAnEmbedder(t *testing.T) {
	student := fileOf(t, "teacher.onnx", testdata.Teacher)
	m := examined(t, exitDone, student, "--threads", "1")
	file, e := m["model"].(map[string]any), m["embedder"].(map[string]any)
	if number(t, file, "bytes") != float64(len(testdata.Teacher)) || len(file["digest"].(string)) != 64 || number(t, file, "parameters") != 283744 ||
		file["producer"] != "pipe 1" || number(t, file, "opset") != 13 {
		t.Errorf("the file is %v", file)
	}
	if number(t, e, "dim") != 128 || number(t, e, "batch") != 8 || e["preprocess_guessed"] != false || e["provider"] != "cpu" ||
		!strings.Contains(e["preprocess_reason"].(string), "metadata") || len(e["timings"].([]any)) != 2 {
		t.Errorf("the embedder is %v", e)
	}
	if work := e["multiplications"].(map[string]any); number(t, work, "macs") != 59102464 || number(t, work, "attention") != 0 {
		t.Errorf("it multiplies %v", work)
	}
	if number(t, e["training"].(map[string]any), "steps") != 900 {
		t.Errorf("its training is %v", e["training"])
	}
	page := expect(t, exitDone, "doctor", "--model", student).stdout
	for _, want := range []string{"a student of pipe", "input          input float32 [N 3 112 112]", "128 numbers", "in batches of 8, on cpu", "900 steps with arcface"} {
		if !strings.Contains(page, want) {
			t.Errorf("the page lacks %q:\n%s", want, page)
		}
	}
}

// Flags that say how a model runs count, and go into the commands.
func TestDoctorUnderFlags(t *testing.T) {
	model := tinyTeacher(t)
	m := examined(t, exitDone, model, "--preprocess", "raw", "--batch", "3")
	e := m["embedder"].(map[string]any)
	if number(t, e, "batch") != 3 || e["preprocess_reason"] != "chosen: raw" {
		t.Errorf("the embedder is %v", e)
	}
	for _, command := range m["commands"].([]any) {
		if !strings.HasSuffix(command.(string), " --preprocess raw") {
			t.Errorf("the command is %s", command)
		}
	}
	for _, args := range [][]string{{model}, {"--preprocess", "raw"}, {"--batch", "2"}, {"--output", "x"}, {"--model", model, "--engine", "x.so"}, {"--model", ""}, {"--model", model, "--preprocess", "grey"}} {
		expect(t, exitUsage, append([]string{"doctor"}, args...)...)
	}
	o := expect(t, exitFailed, "doctor", "--model", model, "--onnxruntime", "/does/not/exist.so")
	if !strings.Contains(o.stdout, "[N 3 112 112]") || !strings.Contains(o.stdout, "/does/not/exist.so") {
		t.Errorf("without a runtime it says\n%s", o.stdout)
	}
}

// Crops that depend on their batch run one by one, and that is said once.
func TestDoctorSaysThatRowsMix(t *testing.T) {
	model := tinyModel(t, func(g *onnx.Graph) {
		g.Nodes[1].Outputs[0] = "flat"
		g.Nodes = append(g.Nodes,
			onnx.Node{Name: "mean", OpType: "ReduceMean", Inputs: []string{"flat"}, Outputs: []string{"mean"}, Attributes: []onnx.Attribute{onnx.Ints("axes", 0)}},
			onnx.Node{Name: "sum", OpType: "Add", Inputs: []string{"flat", "mean"}, Outputs: []string{"embedding"}})
	})
	e := examined(t, exitDone, model)["embedder"].(map[string]any)
	if number(t, e, "batch") != 1 || e["depends_on_batch"] == nil || len(e["timings"].([]any)) != 1 {
		t.Errorf("the embedder is %v", e)
	}
	if page := expect(t, exitDone, "doctor", "--model", model).stdout; strings.Count(page, "depends on the other crops") != 1 || !strings.Contains(page, "evaluation mode") {
		t.Errorf("the page is\n%s", page)
	}
}

// Of several files each is examined, whatever is wrong with another.
func TestDoctorExaminesAll(t *testing.T) {
	bad, good := fileOf(t, "bad.onnx", nil), tinyTeacher(t)
	o := expect(t, exitFailed, "doctor", "--json", "--model", bad, "--model", good)
	models := o.object(t)["models"].([]any)
	if len(models) != 2 || models[0].(map[string]any)["usable"] != false || models[1].(map[string]any)["usable"] != true {
		t.Errorf("models are %v", models)
	}
	if !strings.Contains(o.stderr, bad) || strings.Contains(o.stderr, good) {
		t.Errorf("stderr is %s", o.stderr)
	}
}

// Published models are what they are called.
func TestRealDoctor(t *testing.T) {
	_, model := realData(t)
	for name, want := range map[string]struct {
		kind string
		dim  float64
		std  float64
	}{
		"w600k_mbf": {kindEmbedder, 512, 127.5}, "mbf_y1": {kindEmbedder, 128, 1},
		"scrfd_2.5g_bnkps": {kind: kindDetector}, "yunet_n_dynamic": {kind: kindDetector},
	} {
		m := examined(t, exitDone, model(name))
		if m["kind"] != want.kind {
			t.Errorf("%s is %v", name, m["kind"])
		}
		if e, ok := m["embedder"].(map[string]any); ok {
			std := e["preprocess"].(map[string]any)["std"].([]any)[0]
			if number(t, e, "dim") != want.dim || std != want.std || number(t, e, "batch") != 8 {
				t.Errorf("%s: %v", name, e)
			}
			continue
		}
		family, _, _ := strings.Cut(name, "_")
		d := m["detector"].(map[string]any)
		if d["family"] != family || number(t, d, "ms_per_photograph") <= 0 {
			t.Errorf("%s: %v", name, d)
		}
	}
	if info, err := os.Stat(model("w600k_mbf")); err != nil || number(t, examined(t, exitDone, model("w600k_mbf"))["model"].(map[string]any), "bytes") != float64(info.Size()) {
		t.Errorf("size: %v", err)
	}
}

// Of a model that takes another size it is said what is done to crops, and what that costs.
func TestDoctorSaysThatCropsAreResampled(t *testing.T) {
	contract := fileOf(t, "facenet.json", []byte(`{"std": 128, "mean": 127.5}`))
	for side, cost := range map[int64]string{160: "ingest --crop-size 160", 96: "costs next to nothing"} {
		model := declared(t, []int64{1, 3, side, side}, []int64{1, 3, 1, 1})
		for _, spec := range []string{"auto", "raw", contract} {
			e := examined(t, exitDone, model, "--preprocess", spec)["embedder"].(map[string]any)
			p, notes := e["preprocess"].(map[string]any), fmt.Sprint(e["notes"])
			if number(t, p, "width") != float64(side) || p["resample"] != "triangle" || !strings.Contains(notes, cost) {
				t.Errorf("%d under %s: %v, notes %s", side, spec, p, notes)
			}
		}
		if page := expect(t, exitDone, "doctor", "--model", model).stdout; !strings.Contains(page, fmt.Sprintf("the model takes %dx%[1]d, the crops are 112x112", side)) {
			t.Errorf("the page is\n%s", page)
		}
	}
}

// Of several embeddings the one that is named is examined, however many outputs there are.
func TestDoctorTakesTheNamedOutput(t *testing.T) {
	row := []int64{1, 3, 1, 1}
	for _, model := range []string{declared(t, []int64{1, 3, 112, 112}, row, row), declared(t, []int64{1, 3, 112, 112}, row, row, row, row, row, row)} {
		examined(t, exitFailed, model)
		m := examined(t, exitDone, model, "--output", "b")
		if e := m["embedder"].(map[string]any); e["output"] != "b" || !strings.Contains(fmt.Sprint(e["notes"]), "output b is the embedding") {
			t.Errorf("the embedder is %v", e)
		}
		for _, command := range m["commands"].([]any) {
			if !strings.HasSuffix(command.(string), " --output b") {
				t.Errorf("the command is %s", command)
			}
		}
		if reason := fmt.Sprint(examined(t, exitFailed, model, "--output", "z")["reason"]); !strings.Contains(reason, `it has no output "z"`) {
			t.Errorf("the reason is %s", reason)
		}
	}
	if reason := fmt.Sprint(examined(t, exitFailed, declared(t, []int64{1, 3, 112, 112}, row, row))["reason"]); !strings.Contains(reason, "name it with --output") {
		t.Errorf("the reason is %s", reason)
	}
}

// How far a contract can be relied on is said, and what others do about it.
func TestDoctorSaysHowFarAContractHolds(t *testing.T) {
	centred := tinyModel(t, func(g *onnx.Graph) {
		g.Initializers = append(g.Initializers, onnx.FloatTensor("grey", []float32{127.5}, 1))
		g.Nodes[0].Inputs[0] = "centred"
		g.Nodes = append([]onnx.Node{{Name: "centre", OpType: "Sub", Inputs: []string{"input", "grey"}, Outputs: []string{"centred"}}}, g.Nodes...)
	})
	for _, c := range []struct {
		origin, say string
		args        []string
	}{
		{"assumed", "(a guess: precompute-teacher and eval try the usual ones on your faces and take what is measured)", []string{tinyTeacher(t)}},
		{"found", "(by the graph, with RGB as a guess:", []string{centred}},
		{"stated", "(by the publisher:", []string{fileOf(t, "teacher.onnx", testdata.Teacher)}},
		{"chosen", "(by you:", []string{centred, "--preprocess", "raw"}},
	} {
		e := examined(t, exitDone, c.args...)["embedder"].(map[string]any)
		if e["preprocess_origin"] != c.origin || e["preprocess_guessed"] != (c.origin == "assumed") {
			t.Errorf("%s: %v", c.origin, e)
		}
		if page := expect(t, exitDone, append([]string{"doctor", "--model"}, c.args...)...).stdout; !strings.Contains(page, c.say) {
			t.Errorf("%s: the page is\n%s", c.origin, page)
		}
	}
}

func TestDoctorsPageOfModels(t *testing.T) {
	value := func(name string) embed.Value {
		return embed.Value{Name: name, Type: "float32", Shape: []string{"1", "?"}}
	}
	file := &embed.File{Digest: "d1", Bytes: 2048, Opset: 11, IR: 6, Inputs: []embed.Value{value("x")}, Parameters: 3_400_000,
		Outputs: []embed.Value{value("a"), value("b"), value("c"), value("d"), value("e")}, Says: map[string]string{"licence": "MIT"}}
	contract := embed.ArcFace()
	var page strings.Builder
	printModels(&page, modelsSummary{Models: []modelState{
		{File: "w.onnx", Kind: kindEmbedder, Usable: true, Commands: []string{"pipe eval"}, Embedder: &embedderState{Preprocess: contract, PreprocessReason: "auto: so",
			Guessed: true, Dim: 512, Batch: 8, Provider: "cpu", Multiplications: &cost.Multiplications{MACs: 440444928, Attention: 9000000, Unknown: []string{"custom.Embed"}}, Timings: []embed.Timing{{Batch: 1, Milliseconds: 2.5}, {Batch: 8, Milliseconds: 1.25}}, Notes: []string{"cast"}}},
		{File: "det.onnx", Kind: kindDetector, Usable: true, Model: file, Detector: &detectorState{Family: "scrfd", Name: "scrfd, input 640x640", Milliseconds: 41}, Commands: []string{"pipe ingest"}},
		{File: "a.zip", Kind: kindNone, Reason: "a zip archive"}}})
	const want = `w.onnx
  kind           face embedder: a teacher, or a model to evaluate
  contract       RGB NCHW 112x112, (x - [127.5 127.5 127.5]) / [127.5 127.5 127.5];
                 auto: so
                 (a guess: precompute-teacher and eval try the usual ones on your faces and take what is measured)
  embedding      512 numbers
  multiplies     0.440 billion, and 0.009 of attention, without those within custom.Embed, which are not known
  rows           independent of each other, tried in batches of 8
  time a crop    2.5 ms alone, 1.25 ms in batches of 8, on cpu
  note           cast
  usable         yes, for instance
    pipe eval

det.onnx
  kind           face detector, scrfd
  file           2.0 KiB, SHA-256 d1
  made by        unknown, opset 11, IR 6
  input          x float32 [1 ?]
  output         a float32 [1 ?]
                 b float32 [1 ?]
                 c float32 [1 ?]
                 and 2 more
  parameters     3.40 million
  licence        MIT
  runs           scrfd, input 640x640
  time           41 ms for a photograph of 640x480 without a face, on one core
  usable         yes, for instance
    pipe ingest

a.zip
  kind           no ONNX model
  usable         no: a zip archive
`
	if page.String() != want {
		t.Errorf("the page is\n%s", page.String())
	}
}

// Whether the engine's kernels are in use on a CUDA device, and why not, is said where there is
// a device.
func TestDoctorSaysWhichKernels(t *testing.T) {
	state := engineState{Usable: true, Torch: "2.15.0", Library: "/e.so", SIMD: "avx2", BFloat16: "own", Collectives: "gloo nccl"}
	for name, c := range map[string]struct {
		cuda, kernels bool
		reason, want  string
	}{
		"no device": {false, false, "", "  cuda           no\n  gloo"},
		"in use":    {true, true, "", "  cuda           usable\n  kernels        in use\n  gloo"},
		"not":       {true, false, "the engine was built without nvcc", "  cuda           usable\n  kernels        no: the engine was built without nvcc\n  gloo"},
	} {
		var page strings.Builder
		e := state
		e.CUDA, e.Kernels, e.KernelsReason = c.cuda, c.kernels, c.reason
		if printEngine(&page, e); !strings.Contains(page.String(), c.want) {
			t.Errorf("%s: the page is\n%s", name, page.String())
		}
	}
}
