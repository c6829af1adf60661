package teacher_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"facepipe/internal/imgcodec"
	"facepipe/internal/onnx"
	"facepipe/store"
	"facepipe/store/storetest"
	"facepipe/teacher"
	"facepipe/teacher/teachertest"
)

// dataset writes crops in shards of 6.
func dataset(t *testing.T, numbers ...int) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "faces.ds")
	appendTo(t, dir, numbers...)
	return dir
}

func appendTo(t *testing.T, dir string, numbers ...int) {
	t.Helper()
	keys, encoded := rawCrops(numbers)
	write(t, dir, keys, encoded, imgcodec.Raw)
}

// rawCrops are crops by their numbers, as pixels.
func rawCrops(numbers []int) (keys []string, encoded [][]byte) {
	for _, number := range numbers {
		keys, encoded = append(keys, fmt.Sprintf("crop%04d.raw", number)), append(encoded, teachertest.Crop(number))
	}
	return keys, encoded
}

// write appends encoded crops in shards of 6.
func write(t *testing.T, dir string, keys []string, encoded [][]byte, format imgcodec.Format) {
	t.Helper()
	writeShards(t, dir, 6, keys, encoded, format)
}

func writeShards(t *testing.T, dir string, shardRows int, keys []string, encoded [][]byte, format imgcodec.Format) {
	t.Helper()
	var crops []store.Crop
	pixels := make([]byte, teachertest.Side*teachertest.Side*3)
	for i, image := range encoded {
		c := store.Crop{Key: keys[i], Encoding: format, Image: image}
		if err := c.DecodeRGB(teachertest.Side, pixels); err != nil {
			t.Fatal(err)
		}
		c.ID = store.CropID(teachertest.Contract, pixels)
		crops = append(crops, c)
	}
	if n := storetest.Write(t, dir, teachertest.Contract, shardRows, teachertest.Source, crops); n != len(crops) {
		t.Fatalf("%d of %d crops were stored", n, len(crops))
	}
}

// upTo lists 0..n-1.
func upTo(n int) []int {
	numbers := make([]int, n)
	for i := range numbers {
		numbers[i] = i
	}
	return numbers
}

// tiny writes an embedder: the colours' averages over a 7×7 grid, 147 values. edit may
// change it.
func tiny(t *testing.T, edit func(*onnx.Graph)) string {
	t.Helper()
	g := onnx.Graph{
		Name: "tiny",
		Nodes: []onnx.Node{
			{Name: "pool", OpType: "AveragePool", Inputs: []string{"input"}, Outputs: []string{"pooled"},
				Attributes: []onnx.Attribute{onnx.Ints("kernel_shape", 16, 16), onnx.Ints("strides", 16, 16)}},
			{Name: "flat", OpType: "Flatten", Inputs: []string{"pooled"}, Outputs: []string{"embedding"}},
		},
		Inputs:  []onnx.ValueInfo{{Name: "input", Type: onnx.Float32, Dims: append([]onnx.Dim{onnx.Variable("N")}, onnx.Fixed(3, teachertest.Side, teachertest.Side)...)}},
		Outputs: []onnx.ValueInfo{{Name: "embedding", Type: onnx.Float32, Dims: []onnx.Dim{onnx.Variable("N"), {Size: 147}}}},
	}
	if edit != nil {
		edit(&g)
	}
	path := filepath.Join(t.TempDir(), "tiny.onnx")
	m := onnx.Model{IRVersion: 7, OpsetVersion: 13, Graph: g}
	if err := os.WriteFile(path, m.Marshal(), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

// spoilt are crops of which the model that [plusRatio] makes has no use for most.
var spoilt = func() []int {
	numbers := upTo(6)
	for i := range 61 {
		numbers = append(numbers, teachertest.Dark+i)
	}
	return numbers
}()

// times makes the model multiply its embedding by a factor.
func times(factor float32) func(*onnx.Graph) {
	return func(g *onnx.Graph) {
		g.Initializers = append(g.Initializers, onnx.FloatTensor("factor", []float32{factor}, 1))
		g.Nodes[1].Outputs[0] = "flat"
		g.Nodes = append(g.Nodes, onnx.Node{Name: "scaled", OpType: "Mul", Inputs: []string{"flat", "factor"}, Outputs: []string{"embedding"}})
	}
}

// plusRatio makes the model add 0/0 to the embedding where a crop is black and 1
// elsewhere, if it gets raw pixels.
func plusRatio(g *onnx.Graph) {
	g.Nodes[1].Outputs[0] = "flat"
	g.Nodes = append(g.Nodes,
		onnx.Node{Name: "ratio", OpType: "Div", Inputs: []string{"flat", "flat"}, Outputs: []string{"one"}},
		onnx.Node{Name: "sum", OpType: "Add", Inputs: []string{"flat", "one"}, Outputs: []string{"embedding"}})
}

// precompute must succeed.
func precompute(t *testing.T, o teacher.Options) teacher.Summary {
	t.Helper()
	s, err := teacher.Precompute(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}
