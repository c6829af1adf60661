package teacher

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"facepipe/internal/embed"
	"facepipe/internal/imgcodec"
	"facepipe/internal/onnx"
	"facepipe/internal/selfcheck"
	"facepipe/internal/synthface"
	"facepipe/internal/worker"
	"facepipe/store"
	"facepipe/store/cache"
	"facepipe/store/plan"
	"facepipe/store/storetest"
	"facepipe/testdata"
)

// The published models are given their own preprocessing, and a wrong one is caught. Where the
// graph cannot tell, as its scaling is folded into the first layer, it is measured.
func TestRealSelfTest(t *testing.T) {
	root := os.Getenv("PIPE_REAL_DATA")
	if root == "" {
		t.Skip("PIPE_REAL_DATA names no folder")
	}
	ds := realFaces(t, root)
	for _, c := range []struct {
		model, preprocess, best string
	}{
		{"w600k_mbf", "auto", "RGB /127.5"},
		{"w600k_mbf", "raw", "RGB /127.5"},
		{"w600k_mbf", bgr(t, 127.5, 127.5), "RGB /127.5"},
		{"mbf_y1", "auto", "RGB raw"},
		{"mbf_y1", "arcface", "RGB raw"},
		{"mbf_y1", bgr(t, 0, 1), "RGB raw"},
	} {
		model, err := embed.Open(t.Context(), filepath.Join(root, "models", c.model+".onnx"), embed.Options{Preprocess: c.preprocess})
		if err != nil {
			t.Fatal(err)
		}
		r, err := selfTest(t.Context(), ds, model, nil)
		if err != nil {
			t.Fatal(err)
		}
		warning, err := r.Settle(model)
		model.Close()
		if best := r.Contracts[r.Best].Name; err != nil || best != c.best || r.Mirrored || r.Weak() != nil || (c.preprocess == "auto") != (warning == "") || !strings.Contains(warning, best) && warning != "" {
			t.Errorf("%s under %s: best is %s, %q, %v (chosen %+v)", c.model, c.preprocess, best, warning, err, r.Contracts[0])
		}
	}
}

// bgr is a preprocessing file with the channels the other way round.
func bgr(t *testing.T, mean, std float32) string {
	t.Helper()
	p := embed.ArcFace()
	p.ChannelOrder = "BGR"
	for c := range 3 {
		p.Mean[c], p.Std[c] = mean, std
	}
	data, err := json.Marshal(p)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "bgr.json")
	if err := os.WriteFile(path, data, 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

// realFaces are four aligned crops each of the people in glint24.
func realFaces(t *testing.T, root string) *store.Dataset {
	t.Helper()
	people, err := filepath.Glob(filepath.Join(root, "glint24", "*"))
	if err != nil || len(people) < 20 {
		t.Fatalf("%d people, %v", len(people), err)
	}
	var faces []labelled
	for _, person := range people {
		files, err := filepath.Glob(filepath.Join(person, "*.png"))
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files[:min(4, len(files))] {
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			faces = append(faces, labelled{filepath.Base(person), data})
		}
	}
	return labelledDataset(t, faces)
}

// labelled is an encoded crop with the person that it shows.
type labelled struct {
	person string
	png    []byte
}

func labelledDataset(t *testing.T, faces []labelled) *store.Dataset {
	return shardedDataset(t, 0, faces)
}

// shardedDataset has so many crops a shard, the default if 0.
func shardedDataset(t *testing.T, rows int, faces []labelled) *store.Dataset {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "faces.ds")
	contract := store.Contract{CropSize: 112, Template: "arcface-112", Warp: "none", Decoder: "std"}
	var crops []store.Crop
	for i, f := range faces {
		img, format, err := imgcodec.Decode(f.png, imgcodec.Limits{})
		if err != nil {
			t.Fatal(err)
		}
		crops = append(crops, store.Crop{
			ID: store.CropID(contract, img.Pix), Key: fmt.Sprintf("%04d", i), Identity: f.person, Encoding: format, Image: f.png,
		})
	}
	storetest.Write(t, dir, contract, rows, store.SourceInfo{Kind: "folder", Path: "faces", Detector: "none"}, crops)
	ds, err := store.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ds.Close() })
	return ds
}

// generatedFaces are a number of pictures each of people, nameless if they are not to be
// told apart.
func generatedFaces(t *testing.T, people, pictures int, nameless bool) *store.Dataset {
	t.Helper()
	return labelledDataset(t, drawnFaces(people, pictures, nameless))
}

func drawnFaces(people, pictures int, nameless bool) []labelled {
	g := synthface.New(5)
	var faces []labelled
	for person := range people {
		for picture := range pictures {
			img, _ := g.Aligned(person, picture, synthface.DefaultHard)
			f := labelled{png: imgcodec.EncodePNG(img)}
			if !nameless {
				f.person = fmt.Sprint(person)
			}
			faces = append(faces, f)
		}
	}
	return faces
}

// Nobody is two people, in however many shards they are: pairs that are called different
// would show one.
func TestTestFacesOfSeveralShards(t *testing.T) {
	faces := drawnFaces(16, 8, false)
	rand.New(rand.NewPCG(3, 3)).Shuffle(len(faces), func(i, j int) { faces[i], faces[j] = faces[j], faces[i] })
	drawn, err := testFaces(shardedDataset(t, 32, faces))
	if err != nil || len(drawn) != 32 {
		t.Fatalf("%d faces of 16 people, %v", len(drawn), err)
	}
	pairs := map[int32]int{}
	for i := 0; i < len(drawn); i += 2 {
		pairs[drawn[i].person]++
		if drawn[i].person != drawn[i+1].person || drawn[i].at == drawn[i+1].at {
			t.Errorf("faces %d and %d are no pair", i, i+1)
		}
	}
	if len(pairs) != 16 {
		t.Errorf("pairs of %d people: %v", len(pairs), pairs)
	}
}

// Where there are too few people with two crops, mirror images are the other picture.
func TestTestFaces(t *testing.T) {
	for name, c := range map[string]struct {
		ds       *store.Dataset
		faces    int
		mirrored bool
	}{
		"people":          {generatedFaces(t, 14, 3, false), 28, false},
		"one picture":     {generatedFaces(t, 14, 1, false), 14, true},
		"few people":      {generatedFaces(t, 5, 4, false), 5, true},
		"nameless":        {generatedFaces(t, 8, 2, true), 16, true},
		"many":            {generatedFaces(t, 60, 2, false), 96, false},
		"nobody":          {generatedFaces(t, 0, 0, false), 0, false},
		"one face":        {generatedFaces(t, 1, 1, false), 1, true},
		"two of a person": {generatedFaces(t, 1, 2, false), 1, true},
	} {
		faces, err := testFaces(c.ds)
		if err != nil || len(faces) != c.faces || len(faces) > 0 && (faces[0].person < 0) != c.mirrored {
			t.Errorf("%s: %d faces, %v", name, len(faces), err)
		}
		for i := 0; !c.mirrored && i < len(faces); i += 2 {
			if faces[i].person != faces[i+1].person || faces[i].at == faces[i+1].at {
				t.Errorf("%s: faces %d and %d are no pair", name, i, i+1)
			}
		}
	}
}

// A cache keeps the contract that it was begun with, whatever a measurement says later.
func TestCachedContractCounts(t *testing.T) {
	ds := generatedFaces(t, 4, 2, false)
	model := tinyModel(t, nil)
	o := Options{Dataset: ds.Dir(), Model: model, Name: "t", Preprocess: "raw", NoSelfTest: true, MaxRejectRate: 1}
	first, err := Precompute(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	o.Preprocess, o.NoSelfTest = "", false
	again, err := Precompute(t.Context(), o)
	if err != nil || again.Fingerprint != first.Fingerprint || again.Preprocess != embed.Raw() || again.Reused != 8 {
		t.Errorf("%+v, %v", again, err)
	}
	o.Preprocess = "arcface"
	if _, err := Precompute(t.Context(), o); !errors.Is(err, store.ErrFingerprint) {
		t.Errorf("another contract: %v", err)
	}
}

// A teacher that tells nobody apart is refused before its name is taken, unless it is wanted.
func TestWeakTeacher(t *testing.T) {
	ds := generatedFaces(t, 14, 2, false)
	constant := tinyModel(t, func(m *onnx.Model) { // every crop is black to it
		m.Graph.Initializers = append(m.Graph.Initializers, onnx.FloatTensor("zero", []float32{0}, 1), onnx.FloatTensor("one", []float32{1}, 1))
		m.Graph.Nodes = append([]onnx.Node{{OpType: "Mul", Inputs: []string{"input", "zero"}, Outputs: []string{"black"}},
			{OpType: "Add", Inputs: []string{"black", "one"}, Outputs: []string{"grey"}}}, m.Graph.Nodes...)
		m.Graph.Nodes[2].Inputs[0] = "grey"
	})
	o := Options{Dataset: ds.Dir(), Model: constant, Name: "t", MaxRejectRate: 1}
	if _, err := Precompute(t.Context(), o); !errors.Is(err, selfcheck.ErrWeak) || !strings.Contains(err.Error(), "--allow-weak-teacher") {
		t.Errorf("a constant: %v", err)
	}
	if _, err := cache.Open(ds, "t"); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("its cache: %v", err)
	}
	o.AllowWeakTeacher = true
	if s, err := Precompute(t.Context(), o); err != nil || len(s.Warnings) != 1 {
		t.Errorf("allowed: %+v, %v", s.Warnings, err)
	}
}

// Where every crop looks like the others as its batch's statistics are taken away, another
// preprocessing is no remedy.
func TestWeakForBatchStatistics(t *testing.T) {
	model := tinyModel(t, func(m *onnx.Model) {
		g := &m.Graph
		g.Nodes[1].Outputs[0] = "flat"
		g.Initializers = append(g.Initializers, onnx.FloatTensor("shift", []float32{1, 2, 3}, 3))
		g.Nodes = append(g.Nodes,
			onnx.Node{OpType: "ReduceMean", Inputs: []string{"flat"}, Outputs: []string{"mean"}, Attributes: []onnx.Attribute{onnx.Ints("axes", 0)}},
			onnx.Node{OpType: "Sub", Inputs: []string{"flat", "mean"}, Outputs: []string{"centred"}},
			onnx.Node{OpType: "Add", Inputs: []string{"centred", "shift"}, Outputs: []string{"embedding"}})
	})
	_, err := Precompute(t.Context(), Options{Dataset: generatedFaces(t, 14, 2, false).Dir(), Model: model, Name: "t"})
	if !errors.Is(err, selfcheck.ErrWeak) || !strings.Contains(err.Error(), "export it in evaluation mode") || strings.Contains(err.Error(), "--preprocess") {
		t.Errorf("got %v", err)
	}
}

// A plan has the contract that was measured where nothing tells it, and workers take that.
func TestPlanOfAMeasuredContract(t *testing.T) {
	ds, model, dir := generatedFaces(t, 14, 2, false), foldedTeacher(t), filepath.Join(t.TempDir(), "job")
	o := Options{Dataset: ds.Dir(), Model: model, Name: "t", DType: cache.FP32}
	guessed, err := embed.Open(t.Context(), model, embed.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer guessed.Close()
	if _, err := MakePlan(t.Context(), o, dir); err != nil {
		t.Fatal(err)
	}
	p, _, err := plan.Read(dir)
	if err != nil {
		t.Fatal(err)
	}
	var planned embed.Preprocess
	if err := json.Unmarshal(p.Teacher.Preprocess, &planned); err != nil {
		t.Fatal(err)
	}
	if guessed.Origin() != embed.Assumed || guessed.Preprocess() != embed.ArcFace() || planned != embed.Raw() || !strings.Contains(p.Teacher.PreprocessReason, "auto: measured") {
		t.Errorf("planned %v because %q, assumed %v", planned, p.Teacher.PreprocessReason, guessed.Preprocess())
	}
	s, err := Work(t.Context(), dir, worker.Worker{Count: 1}, Options{})
	if err != nil || s.Preprocess != embed.Raw() || s.Fingerprint != p.Teacher.Fingerprint || s.SelfTest != nil {
		t.Errorf("the worker took %v, %v", s.Preprocess, err)
	}
	if _, err := MergePlan(t.Context(), dir, MergeOptions{}); err != nil {
		t.Fatal(err)
	}
	// The embeddings are those under the measured contract, which one process finds, too.
	if r, err := Replay(t.Context(), ReplayOptions{Dataset: ds.Dir(), Teacher: "t", Model: model, N: 28}); err != nil || !r.OK || r.Compared != 28 {
		t.Errorf("replay: %+v, %v", r, err)
	}
	o.Name = "alone"
	if alone, err := Precompute(t.Context(), o); err != nil || alone.Preprocess != embed.Raw() || alone.Fingerprint != p.Teacher.Fingerprint {
		t.Errorf("one process takes %v, %v", alone.Preprocess, err)
	}
}

// foldedTeacher is the repository's teacher with its contract inside the first convolution, where
// nothing tells of it.
func foldedTeacher(t *testing.T) string {
	t.Helper()
	m, err := onnx.Unmarshal(testdata.Teacher)
	if err != nil {
		t.Fatal(err)
	}
	m.Metadata = nil
	tensors := m.Graph.Initializers
	weights, err := tensors[0].Floats()
	if err != nil {
		t.Fatal(err)
	}
	bias, err := tensors[1].Floats()
	if err != nil || len(weights)%len(bias) != 0 {
		t.Fatalf("%d weights, %d biases, %v", len(weights), len(bias), err)
	}
	for i := range weights {
		bias[i*len(bias)/len(weights)] -= weights[i] // at 127.5
		weights[i] /= 127.5
	}
	tensors[0].Data, tensors[1].Data = onnx.FloatTensor("", weights).Data, onnx.FloatTensor("", bias).Data
	path := filepath.Join(t.TempDir(), "folded.onnx")
	if err := os.WriteFile(path, m.Marshal(), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

// tinyModel averages channels.
func tinyModel(t *testing.T, edit func(*onnx.Model)) string {
	t.Helper()
	m := &onnx.Model{IRVersion: 7, OpsetVersion: 13, Graph: onnx.Graph{
		Nodes: []onnx.Node{
			{OpType: "GlobalAveragePool", Inputs: []string{"input"}, Outputs: []string{"pooled"}},
			{OpType: "Flatten", Inputs: []string{"pooled"}, Outputs: []string{"embedding"}},
		},
		Inputs:  []onnx.ValueInfo{{Name: "input", Type: onnx.Float32, Dims: append([]onnx.Dim{onnx.Variable("N")}, onnx.Fixed(3, 112, 112)...)}},
		Outputs: []onnx.ValueInfo{{Name: "embedding", Type: onnx.Float32, Dims: []onnx.Dim{onnx.Variable("N"), {Size: 3}}}},
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
