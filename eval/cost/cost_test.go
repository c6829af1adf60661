package cost

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"facepipe/internal/embed"
	"facepipe/internal/onnx"
	"facepipe/testdata"
)

const side, dim = 8, 12

// model writes an embedder of one layer, which edit may spoil.
func model(t *testing.T, edit func(*onnx.Model)) string {
	t.Helper()
	values := make([]float32, 3*side*side*dim)
	for i := range values {
		values[i] = float32(math.Sin(float64(i)))
	}
	m := &onnx.Model{IRVersion: 8, OpsetVersion: 17, Graph: onnx.Graph{
		Nodes: []onnx.Node{
			{OpType: "Flatten", Inputs: []string{"input"}, Outputs: []string{"flat"}},
			{OpType: "MatMul", Inputs: []string{"flat", "w"}, Outputs: []string{"embedding"}},
		},
		Inputs:       []onnx.ValueInfo{{Name: "input", Type: onnx.Float32, Dims: append([]onnx.Dim{onnx.Variable("N")}, onnx.Fixed(3, side, side)...)}},
		Outputs:      []onnx.ValueInfo{{Name: "embedding", Type: onnx.Float32, Dims: []onnx.Dim{onnx.Variable("N"), {Size: dim}}}},
		Initializers: []onnx.Tensor{onnx.FloatTensor("w", values, 3*side*side, dim)},
	}}
	if edit != nil {
		edit(m)
	}
	path := filepath.Join(t.TempDir(), "model.onnx")
	if err := os.WriteFile(path, m.Marshal(), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

// quick is a short measurement.
func quick(sizes ...int) Options { return Options{Sizes: sizes, Seconds: 60, Runs: 25} }

func measure(t *testing.T, path string, o Options) *Cost {
	t.Helper()
	c, err := Measure(t.Context(), path, embed.Options{Preprocess: "arcface"}, o)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// stored changes the only weight into another type, which the graph casts.
func stored(of onnx.ElemType, width int) func(*onnx.Model) {
	return func(m *onnx.Model) {
		g := &m.Graph
		w := &g.Initializers[0]
		w.Name, w.Type, w.Data = "stored", of, bytes.Repeat([]byte{1}, width*3*side*side*dim)
		n := onnx.Node{OpType: "Cast", Inputs: []string{"stored"}, Outputs: []string{"w"}, Attributes: []onnx.Attribute{onnx.Int("to", int64(onnx.Float32))}}
		if of == onnx.Int8 {
			g.Initializers = append(g.Initializers, onnx.FloatTensor("scale", []float32{0.5}))
			n = onnx.Node{OpType: "DequantizeLinear", Inputs: []string{"stored", "scale"}, Outputs: []string{"w"}}
		}
		g.Nodes = slices.Insert(g.Nodes, 0, n)
	}
}

// The graph's figures are exact, those that are measured finite.
func TestMeasure(t *testing.T) {
	const weights = 3 * side * side * dim
	for name, c := range map[string]struct {
		edit      func(*onnx.Model)
		precision string
		kept      string
		sizes     []int
		note      string
	}{
		"fp32": {nil, "fp32", "float32", []int{1, 3}, ""},
		"fp16": {stored(onnx.Float16, 2), "fp16", "float16", []int{1, 3}, ""},
		"int8": {stored(onnx.Int8, 1), "int8", "int8", []int{1, 3}, ""},
		"fixed batch": {func(m *onnx.Model) {
			m.Graph.Inputs[0].Dims[0], m.Graph.Outputs[0].Dims[0] = onnx.Dim{Size: 4}, onnx.Dim{Size: 4}
		}, "fp32", "float32", []int{4}, "batches of 4 only"},
		"rows mixed": {func(m *onnx.Model) {
			g := &m.Graph
			g.Nodes[1].Outputs[0] = "rows"
			g.Nodes = append(g.Nodes, onnx.Node{OpType: "ReduceMean", Inputs: []string{"rows"}, Outputs: []string{"mean"}, Attributes: []onnx.Attribute{onnx.Ints("axes", 0)}},
				onnx.Node{OpType: "Add", Inputs: []string{"rows", "mean"}, Outputs: []string{"embedding"}})
		}, "fp32", "float32", []int{1}, "batches of 1 only"},
		"traced with one crop": {func(m *onnx.Model) {
			g := &m.Graph
			g.Nodes[0] = onnx.Node{OpType: "Reshape", Inputs: []string{"input", "form"}, Outputs: []string{"flat"}}
			g.Initializers = append(g.Initializers, onnx.IntTensor("form", []int64{1, 3 * side * side}, 2))
		}, "fp32", "float32", []int{1}, "batches of 3 and more are not measurable"},
	} {
		t.Run(name, func(t *testing.T) {
			path := model(t, c.edit)
			info, err := os.Stat(path)
			if err != nil {
				t.Fatal(err)
			}
			got := measure(t, path, quick(3, 1, 1))
			if got.Parameters != weights || got.Weights[c.kept] != weights || got.Precision != c.precision || got.Bytes != info.Size() ||
				got.Multiplications == nil || got.Multiplications.MACs != weights || got.Multiplications.Attention != 0 ||
				got.Dim != dim || got.Height != side || got.Width != side || got.Provider != "cpu" || got.Threads < 1 || len(got.Digest) != 64 {
				t.Errorf("%+v", got)
			}
			var sizes []int
			for _, b := range got.Batches {
				sizes = append(sizes, b.Size)
				if !(b.Median > 0 && b.Median < 1e4) || b.Runs < 1 || b.Runs > 25 || (b.P95 > 0) != (b.Runs >= 20) || b.P95 > 0 && b.P95 < b.Median ||
					math.Abs(b.Throughput*b.Median/1000-float64(b.Size)) > 1e-6*float64(b.Size) {
					t.Errorf("%+v", b)
				}
			}
			if !slices.Equal(sizes, c.sizes) || !strings.Contains(strings.Join(got.Notes, "\n"), c.note) {
				t.Errorf("batches %v, want %v; notes %q", sizes, c.sizes, got.Notes)
			}
			if text, err := json.Marshal(got); err != nil || !bytes.Contains(text, []byte(`"multiplications":{"macs":2304,"attention":0}`)) {
				t.Errorf("%s, %v", text, err)
			}
		})
	}
}

// What is not known is absent and said.
func TestMeasureSaysWhatIsMissing(t *testing.T) {
	slow := &Cost{Batches: []Batch{{Size: 4, Throughput: 2}}}
	if err := slow.time(t.Context(), nil, []int{8, 16}, DefaultOptions()); err != nil || len(slow.Batches) != 1 || !strings.Contains(slow.Notes[0], "batches of 8 and more are not measured: a run would take some 4 s") {
		t.Errorf("%+v, %v", slow, err)
	}
	einsum := measure(t, model(t, func(m *onnx.Model) {
		m.Graph.Nodes[1] = onnx.Node{OpType: "Einsum", Inputs: []string{"flat", "w"}, Outputs: []string{"embedding"}, Attributes: []onnx.Attribute{onnx.Text("equation", "...k,kd->...d")}}
	}), quick(1))
	if w := einsum.Multiplications; w == nil || w.MACs != 0 || !slices.Equal(w.Unknown, []string{"Einsum"}) || !strings.Contains(strings.Join(einsum.Notes, "\n"), "Einsum") {
		t.Errorf("%+v, %q", w, einsum.Notes)
	}
	failing := quick(1)
	failing.Command = []string{"false"}
	if c := measure(t, model(t, nil), failing); c.Memory != nil || !strings.Contains(strings.Join(c.Notes, "\n"), "memory is not measurable") {
		t.Errorf("%+v", c)
	}
	failing.Command = []string{"sh", "-c", "ulimit -c 0; echo the reason >&2; echo a stack >&2; kill -ABRT $$"}
	if c := measure(t, model(t, nil), failing); !strings.Contains(strings.Join(c.Notes, "\n"), "the reason") || strings.Contains(strings.Join(c.Notes, "\n"), "stack") {
		t.Errorf("of a crash it notes %q", c.Notes)
	}
}

// Without sizes nothing is timed, and what the file tells is there.
func TestFileAlone(t *testing.T) {
	c, err := Measure(t.Context(), model(t, nil), embed.Options{}, Options{})
	if err != nil || c.Parameters == 0 || c.Bytes == 0 || c.Multiplications == nil || len(c.Batches) > 0 || c.Memory != nil {
		t.Errorf("%+v (%v)", c, err)
	}
}

func TestMeasureRefuses(t *testing.T) {
	path := model(t, nil)
	for name, o := range map[string]Options{"no time": {Sizes: []int{1}, Runs: 1}, "no runs": {Sizes: []int{1}, Seconds: 1},
		"NaN": {Sizes: []int{1}, Seconds: math.NaN(), Runs: 1}, "size 0": {Sizes: []int{0}, Seconds: 1, Runs: 1}} {
		if _, err := Measure(t.Context(), path, embed.Options{}, o); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	if _, err := Measure(t.Context(), path+".none", embed.Options{}, quick(1)); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
	stopped, stop := context.WithCancel(t.Context())
	stop()
	if _, err := Measure(stopped, path, embed.Options{Preprocess: "arcface"}, quick(1)); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

// A process of its own measures what this one's growth may not show.
func TestMemory(t *testing.T) {
	if _, err := resident("VmHWM:"); err != nil {
		t.Skip("the system does not tell a process's memory:", err)
	}
	o := quick(1, 512)
	o.Command = []string{os.Args[0], "-test.run=^TestChild$", "-child"}
	m := measure(t, model(t, nil), o).Memory
	if m == nil || !m.OwnProcess || m.Base < 1<<20 || len(m.Peaks) != 2 || m.Peaks[0].Bytes < m.Base || m.Peaks[1].Bytes < m.Peaks[0].Bytes {
		t.Fatalf("%+v", m)
	}
	if _, err := os.Stat("/proc/self/clear_refs"); err != nil {
		t.Skip(err)
	}
	c := measure(t, model(t, nil), quick(1, 512))
	if m := c.Memory; m == nil || m.OwnProcess || m.Base != 0 || len(m.Peaks) != 2 || m.Peaks[1].Bytes < m.Peaks[0].Bytes || !strings.Contains(strings.Join(c.Notes, "\n"), "growth") {
		t.Errorf("%+v, %q", m, c.Notes)
	}
}

var child = flag.Bool("child", false, "be the process that TestMemory starts")

// TestChild is that process.
func TestChild(t *testing.T) {
	if !*child {
		t.Skip("only as another test's process")
	}
	m, err := Peaks(context.Background(), flag.Arg(0))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.NewEncoder(os.Stdout).Encode(m); err != nil {
		t.Fatal(err)
	}
	os.Exit(0)
}

// A precision is that of most weights, whatever the order.
func TestPrecision(t *testing.T) {
	for want, weights := range map[string]map[string]int64{
		"": nil, "int8": {"float32": 5, "int8": 3, "uint8": 3}, "fp16": {"float16": 5, "float32": 5}, "element type 22": {"element type 22": 1},
	} {
		if got := precision(weights); got != want {
			t.Errorf("%v: %s, want %s", weights, got, want)
		}
	}
}

// A training is the same whatever version of the program wrote it down.
func TestTraining(t *testing.T) {
	of := func(text string) string {
		return trainingOf(&onnx.Model{Metadata: []onnx.Property{{Key: embed.TrainingKey, Value: text}}})
	}
	a := of(`{"program":"pipe 1","steps":5,"student":"ir18"}`)
	if len(a) != 16 || a != of(`{"student":"ir18","steps":5,"program":"pipe 2"}`) || a == of(`{"student":"ir18","steps":6}`) || of("") != "" || of("no") != "" || of("{}") != "" {
		t.Error(a)
	}
	path := filepath.Join(t.TempDir(), "teacher.onnx")
	if err := os.WriteFile(path, testdata.Teacher, 0o644); err != nil {
		t.Fatal(err)
	}
	f, err := embed.Describe(path)
	if err != nil {
		t.Fatal(err)
	}
	if trainingOf(f.Model) == "" {
		t.Error("a model that pipe has trained says nothing of it")
	}
}
