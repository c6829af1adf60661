package eval

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"facepipe/eval/faces"
	"facepipe/eval/internal/facestest"
	"facepipe/eval/protocol"
	"facepipe/eval/report"
	"facepipe/internal/onnx"
	"facepipe/internal/ort"
	"facepipe/store"
	"facepipe/store/storetest"
)

// setUp is a dataset, a list, and options that measure one model.
func setUp(t *testing.T) Options {
	t.Helper()
	o := DefaultOptions()
	o.Dataset, o.Tests = facestest.Faces(t), []Test{{Protocol: protocol.Pairs, List: facestest.WriteFile(t, "pairs.txt", facestest.LFWList())}}
	o.Models = []string{linearModel(t, "linear.onnx", 1, nil)}
	o.Out = filepath.Join(t.TempDir(), "deep", "report")
	o.Runtime.Threads = 1
	return o
}

func run(t *testing.T, o Options) report.Report {
	t.Helper()
	r, err := Run(context.Background(), o)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// TestFiguresByHand computes every embedding from the pixels, in another way.
func TestFiguresByHand(t *testing.T) {
	o := setUp(t)
	w := weights(1)
	ds := storetest.Open(t, o.Dataset)
	loaded, err := o.Tests[0].Protocol.Load(t.Context(), faces.Of(ds), o.Tests[0].List, protocol.Options{})
	if err != nil {
		t.Fatal(err)
	}
	pairs := loaded.(protocol.Verification)
	for _, flip := range []bool{false, true} {
		o.Flip = flip
		embeddings := make([][]float32, len(pairs.Faces()))
		for i, name := range pairs.Pool(embeddings).Names {
			person, number := int(name[1]-'0')*10+int(name[2]-'0'), int(name[len(name)-1]-'0')
			rgb := facestest.Crop("", person, number).Image
			e := byHand(w, rgb, false)
			for k, v := range byHand(w, rgb, true) {
				if flip {
					e[k] += v
				}
			}
			for _, v := range e {
				embeddings[i] = append(embeddings[i], float32(v))
			}
		}
		result, err := pairs.Evaluate(t.Context(), protocol.Rows(embeddings), protocol.Settings{FAR: o.FAR})
		if err != nil {
			t.Fatal(err)
		}
		want := result.Verification
		r := run(t, o)
		got := r.Models[0]
		if got.Accuracy != want.Accuracy || math.Abs(got.AUC-want.AUC) > 1e-9 || math.Abs(got.EER-want.EER) > 1e-9 || got.Threshold != want.Threshold {
			t.Errorf("flip %v: accuracy %v, AUC %v, EER %v at %v; want %v, %v, %v at %v", flip,
				got.Accuracy, got.AUC, got.EER, got.Threshold, want.Accuracy, want.AUC, want.EER, want.Threshold)
		}
		if len(got.Curve) != len(want.Curve) {
			t.Fatalf("flip %v: a curve of %d points, want %d", flip, len(got.Curve), len(want.Curve))
		}
		for i, p := range got.Curve {
			if math.Abs(p.Distance-want.Curve[i].Distance) > 1e-4 {
				t.Fatalf("flip %v: distance %d is %v, want %v", flip, i, p.Distance, want.Curve[i].Distance)
			}
		}
		if r.Flip != flip {
			t.Errorf("report says flip %v", r.Flip)
		}
	}
}

func TestReportFiles(t *testing.T) {
	o := setUp(t)
	o.Models = append(o.Models, linearModel(t, "other.onnx", 2, nil))
	want := run(t, o)
	text, err := os.ReadFile(filepath.Join(o.Out, "report.json"))
	if err != nil {
		t.Fatal(err)
	}
	var got report.Report
	if err := json.Unmarshal(text, &got); err != nil {
		t.Fatal(err)
	}
	again, err := json.Marshal(got)
	if err != nil {
		t.Fatal(err)
	}
	written, err := json.Marshal(want)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(again, written) {
		t.Errorf("report.json holds\n%s\nwant\n%s", again, written)
	}
	for i, path := range o.Models {
		if m := want.Models[i]; m.Model != path || m.Pairs != 60 || m.Dim != dim || !(m.ImagesPerSecond > 0) || len(m.Digest) != 64 {
			t.Errorf("model %d: %+v", i, m)
		}
	}
	for name, part := range map[string]string{"report.md": "| `linear.onnx` |", "roc.svg": "<svg"} {
		text, err := os.ReadFile(filepath.Join(o.Out, name))
		if err != nil || !strings.Contains(string(text), part) || !strings.Contains(string(text), "other.onnx") {
			t.Errorf("%s (%v): %s", name, err, text)
		}
	}
	left, err := filepath.Glob(filepath.Join(o.Out, ".*"))
	if err != nil || len(left) > 0 {
		t.Errorf("left behind: %v (%v)", left, err)
	}
}

// Scripts rely on these keys.
func TestReportKeys(t *testing.T) {
	text, err := json.Marshal(run(t, setUp(t)))
	if err != nil {
		t.Fatal(err)
	}
	var report map[string]any
	if err := json.Unmarshal(text, &report); err != nil {
		t.Fatal(err)
	}
	lacks := func(where string, object any, keys ...string) {
		for _, k := range keys {
			if _, ok := object.(map[string]any)[k]; !ok {
				t.Errorf("%s lacks %s", where, k)
			}
		}
	}
	lacks("report", report, "flip", "norm", "fold_rule", "folds", "far_pick", "detector", "decoder", "onnxruntime", "dataset", "pairs", "models")
	lacks("dataset", report["dataset"], "digest", "contract", "sources")
	lacks("pairs", report["pairs"], "digest", "missing", "identical_pairs")
	model := report["models"].([]any)[0]
	lacks("model", model, "model", "digest", "preprocess", "preprocess_reason", "pairs", "accuracy", "accuracy_std",
		"threshold", "auc", "eer", "tar_at_far", "images_per_second")
	lacks("tar_at_far", model.(map[string]any)["tar_at_far"], "1e-1") // 30 different pairs allow no more
}

// Targets come out by size, each once, and those that 30 different pairs cannot tell from
// zero not at all.
func TestFARTargets(t *testing.T) {
	o := setUp(t)
	o.Out = ""
	o.FAR = []float64{0.05, 0.5, 1. / 30, 0.0333, 0.5}
	before := slices.Clone(o.FAR)
	var got []string
	for _, p := range run(t, o).Models[0].OperatingPoints {
		got = append(got, p.Name())
		if p.FAR > p.Target || p.FAR+1./30 <= p.Target {
			t.Errorf("FAR %v for a target of %v", p.FAR, p.Target)
		}
	}
	if want := []string{"5e-1", "5e-2", "3.333333333333333e-2"}; !slices.Equal(got, want) {
		t.Errorf("targets %v, want %v", got, want)
	}
	if !slices.Equal(o.FAR, before) {
		t.Errorf("the option became %v", o.FAR)
	}
	o.FAR = nil
	if m := run(t, o).Models[0]; len(m.OperatingPoints) != 0 || len(m.TARAtFAR) != 0 {
		t.Errorf("no target gave %v", m.OperatingPoints)
	}
}

func TestBatchAndThreadsDoNotMoveFigures(t *testing.T) {
	o := setUp(t)
	o.Out = ""
	want := run(t, o).Models[0]
	o.Batch, o.Runtime.Threads = 3, 2
	got := run(t, o).Models[0]
	if !reflect.DeepEqual(got.Result, want.Result) {
		t.Errorf("batch 3: %+v, want %+v", got.Result, want.Result)
	}
}

// A model of another size gets crops of that size: one that adds up four pixels of each says
// about what the model of the crops' own size says.
func TestModelOfAnotherSize(t *testing.T) {
	o := setUp(t)
	o.Models = append(o.Models, linearModel(t, "large.onnx", 1, func(m *onnx.Model) {
		m.Metadata[0].Value = strings.ReplaceAll(m.Metadata[0].Value, `:8`, `:16`)
		m.Graph.Inputs[0].Dims = append([]onnx.Dim{onnx.Variable("N")}, onnx.Fixed(3, 2*side, 2*side)...)
		m.Graph.Nodes[0].Inputs[0] = "pooled"
		m.Graph.Nodes = append([]onnx.Node{{Name: "pool", OpType: "AveragePool", Inputs: []string{"input"}, Outputs: []string{"pooled"},
			Attributes: []onnx.Attribute{onnx.Ints("kernel_shape", 2, 2), onnx.Ints("strides", 2, 2)}}}, m.Graph.Nodes...)
	}))
	r := run(t, o)
	own, large := r.Models[0], r.Models[1]
	if math.Abs(own.AUC-large.AUC) > 0.1 || large.AUC < 0.8 {
		t.Errorf("AUC %g, and %g of enlarged crops", own.AUC, large.AUC)
	}
	if large.Preprocess.Width != 2*side || large.Preprocess.Resample == "" || !strings.Contains(strings.Join(large.Notes, ""), "enlarged") || own.Preprocess.Resample != "" {
		t.Errorf("%v, notes %q; %v", large.Preprocess, large.Notes, own.Preprocess)
	}
}

// Of several outputs the one that is named is measured and reported; unnamed they are refused.
func TestChosenOutput(t *testing.T) {
	o := setUp(t)
	o.Models = []string{linearModel(t, "two.onnx", 1, func(m *onnx.Model) {
		m.Graph.Outputs = append(m.Graph.Outputs, onnx.ValueInfo{Name: "flat", Type: onnx.Float32, Dims: []onnx.Dim{onnx.Variable("N"), {Size: 3 * side * side}}})
	})}
	if _, err := Run(context.Background(), o); err == nil || !strings.Contains(err.Error(), "name it with --output") {
		t.Errorf("unnamed: %v", err)
	}
	o.Output = "flat"
	if m := run(t, o).Models[0]; m.Dim != 3*side*side || m.Output != "flat" {
		t.Errorf("measured %d-d of output %q", m.Dim, m.Output)
	}
}

// A model that is at fault is reported, and the others are measured all the same.
func TestFaultyModels(t *testing.T) {
	nan := func(m *onnx.Model) {
		w := weights(1)
		w[0] = float32(math.NaN())
		m.Graph.Initializers[0] = onnx.FloatTensor("w", w, 3*side*side, dim)
	}
	zero := func(m *onnx.Model) {
		m.Graph.Initializers[0] = onnx.FloatTensor("w", make([]float32, 3*side*side*dim), 3*side*side, dim)
	}
	for name, c := range map[string]struct {
		model string
		want  string
		pairs int
	}{
		"not a number": {linearModel(t, "nan.onnx", 1, nan), "spoils 60 of 60 pairs", 60},
		"zero":         {linearModel(t, "zero.onnx", 1, zero), "40 of 40 embeddings are zero", 60},
		"no model":     {facestest.WriteFile(t, "text.onnx", "not a model"), "text.onnx", 0},
		"absent":       {filepath.Join(t.TempDir(), "absent.onnx"), "no such file", 0},
	} {
		t.Run(name, func(t *testing.T) {
			o := setUp(t)
			good := o.Models[0]
			o.Models = []string{c.model, good}
			r, err := Run(context.Background(), o)
			if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), c.model) {
				t.Fatalf("error %v, want one with %q that names the model", err, c.want)
			}
			if len(r.Models) != 1 || r.Models[0].Model != good || len(r.Failed) != 1 || r.Failed[0].Model != c.model {
				t.Fatalf("models %+v, failed %+v", r.Models, r.Failed)
			}
			if f := r.Failed[0]; f.UnusablePairs != c.pairs || (c.pairs > 0) != (len(f.UnusableCrops) == 40) {
				t.Errorf("%d pairs of %d crops unusable", f.UnusablePairs, len(f.UnusableCrops))
			}
			text, err := os.ReadFile(filepath.Join(o.Out, "report.md"))
			if err != nil || !strings.Contains(string(text), "**failed**") {
				t.Errorf("report.md (%v): %s", err, text)
			}
			o.Models, o.Out = o.Models[:1], filepath.Join(t.TempDir(), "none")
			if r, err := Run(context.Background(), o); err == nil || len(r.Models) != 0 || len(r.Failed) != 1 {
				t.Errorf("alone: error %v, %+v", err, r)
			}
			if _, err := os.Stat(filepath.Join(o.Out, "report.json")); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("a report without a figure was written (%v)", err)
			}
		})
	}
}

func TestMissingImagesInTheReport(t *testing.T) {
	o := setUp(t)
	o.Tests[0].List = facestest.WriteFile(t, "pairs.txt", strings.Replace(facestest.LFWList(), "P04\t1\t2\n", "P04\t1\t9\n", 1))
	r, err := Run(context.Background(), o)
	var missing *protocol.MissingError
	if !errors.As(err, &missing) || len(r.Models) != 0 {
		t.Fatalf("error %v, models %v", err, r.Models)
	}
	if len(r.Pairs.Missing) != 1 || r.Pairs.MissingPairs != 1 || r.Pairs.Listed != 60 {
		t.Errorf("%+v", r.Pairs)
	}
	if _, err := os.Stat(o.Out); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("something was written: %v", err)
	}
	o.AllowMissing = true
	var notices strings.Builder
	o.Progress = &notices
	r = run(t, o)
	if r.Models[0].Pairs != 59 || r.Pairs.Used != 59 || len(r.Pairs.Missing) != 1 || r.Pairs.Missing[0] != "P04/P04_0009" {
		t.Errorf("%d pairs, %+v", r.Models[0].Pairs, r.Pairs)
	}
	if !strings.Contains(notices.String(), "1 of 60 pairs are left out: 1 images are not in the dataset") {
		t.Errorf("notices %q", notices.String())
	}
}

// What is guessed about a list is printed and reported, and moves no figure.
func TestGuessesAreReported(t *testing.T) {
	o := setUp(t)
	want := run(t, o)
	_, pairs, _ := strings.Cut(facestest.LFWList(), "\n")
	o.Tests[0].List = facestest.WriteFile(t, "pairs.csv", strings.ReplaceAll(strings.ReplaceAll(pairs, "\t", ","), "P0", "./P0"))
	var notices strings.Builder
	o.Progress = &notices
	got := run(t, o)
	if got.Models[0].Accuracy != want.Models[0].Accuracy || got.Models[0].AUC != want.Models[0].AUC || len(got.Pairs.Notes) != 2 {
		t.Errorf("%+v, want the figures of %+v and two notes", got, want)
	}
	for _, n := range got.Pairs.Notes {
		if !strings.Contains(notices.String(), "note: pair list "+o.Tests[0].List+": guess: "+n.Text) {
			t.Errorf("notices %q lack %q", notices.String(), n.Text)
		}
	}
}

func TestRunErrors(t *testing.T) {
	for name, c := range map[string]struct {
		edit func(*Options)
		want error
		text string
	}{
		"no model":      {func(o *Options) { o.Models = nil }, nil, "no model"},
		"model twice":   {func(o *Options) { o.Models = append(o.Models, o.Models[0]) }, nil, "named twice"},
		"no protocol":   {func(o *Options) { o.Tests[0].Protocol = protocol.Kind{} }, nil, "no protocol"},
		"FAR of 0":      {func(o *Options) { o.FAR = []float64{0.1, 0} }, nil, "rate 0 is not between 0 and 1"},
		"FAR of 1":      {func(o *Options) { o.FAR = []float64{1} }, nil, "rate 1 is not between 0 and 1"},
		"FAR of NaN":    {func(o *Options) { o.FAR = []float64{math.NaN()} }, nil, "rate NaN is not"},
		"no dataset":    {func(o *Options) { o.Dataset += "x" }, store.ErrNotFound, "faces.dsx"},
		"no list":       {func(o *Options) { o.Tests[0].List += "x" }, os.ErrNotExist, "pairs.txtx"},
		"out is a file": {func(o *Options) { o.Out = o.Tests[0].List }, nil, "pairs.txt"},
		"no runtime":    {func(o *Options) { o.Runtime.Library = "/nowhere/libonnxruntime.so" }, ort.ErrRuntime, "/nowhere/libonnxruntime.so"},
	} {
		t.Run(name, func(t *testing.T) {
			o := setUp(t)
			c.edit(&o)
			r, err := Run(context.Background(), o)
			if err == nil || (c.want != nil && !errors.Is(err, c.want)) || !strings.Contains(err.Error(), c.text) {
				t.Errorf("error %v, want %v with %q", err, c.want, c.text)
			}
			if len(r.Models)+len(r.Failed) != 0 {
				t.Errorf("models %v, failed %v", r.Models, r.Failed)
			}
		})
	}
}

func TestDamageEndsTheRun(t *testing.T) {
	o := setUp(t)
	path := filepath.Join(o.Dataset, "crops", "000001.arrow")
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	data[len(data)/2] ^= 1
	if err := os.Chmod(path, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, data, 0o644); err != nil {
		t.Fatal(err)
	}
	r, err := Run(context.Background(), o)
	if !errors.Is(err, store.ErrDamaged) || !strings.Contains(err.Error(), "000001.arrow") {
		t.Errorf("error %v, want ErrDamaged with the file's name", err)
	}
	if len(r.Models)+len(r.Failed) != 0 {
		t.Errorf("damage was blamed on a model: %+v", r.Failed)
	}
}

func TestCancelled(t *testing.T) {
	o := setUp(t)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	r, err := Run(ctx, o)
	if !errors.Is(err, context.Canceled) || len(r.Models)+len(r.Failed) != 0 {
		t.Errorf("error %v, %+v", err, r)
	}
	if _, err := os.Stat(filepath.Join(o.Out, "report.json")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a report was written (%v)", err)
	}
}
