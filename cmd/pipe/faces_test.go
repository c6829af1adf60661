package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"facepipe/internal/imgcodec"
	"facepipe/internal/onnx"
	"facepipe/internal/synthface"
)

// alignedFaces draws aligned crops of some people, folder by person.
func alignedFaces(t *testing.T, people, shots int) string {
	t.Helper()
	root := t.TempDir()
	draw := synthface.New(1)
	for i := range people {
		for j := range shots {
			img, _ := draw.Aligned(i, j, synthface.DefaultHard)
			savePNG(t, filepath.Join(root, faceKey(i, j)), img)
		}
	}
	return root
}

// photos draws larger pictures with their landmarks file.
func photos(t *testing.T, people, shots int) (root, landmarks string) {
	t.Helper()
	root = t.TempDir()
	draw := synthface.New(2)
	var lines strings.Builder
	for i := range people {
		for j := range shots {
			img, points := draw.Photo(i, j, synthface.PhotoOptions{Hard: synthface.DefaultHard})
			savePNG(t, filepath.Join(root, faceKey(i, j)), img)
			lines.WriteString(faceKey(i, j))
			for _, v := range points {
				fmt.Fprintf(&lines, "\t%.3f", v)
			}
			lines.WriteString("\n")
		}
	}
	landmarks = filepath.Join(t.TempDir(), "landmarks.txt")
	writeFile(t, landmarks, lines.String())
	return root, landmarks
}

func faceKey(person, shot int) string { return fmt.Sprintf("person_%02d/%02d.png", person, shot) }

func savePNG(t *testing.T, path string, img *imgcodec.Image) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, imgcodec.EncodePNG(img), 0o644); err != nil {
		t.Fatal(err)
	}
}

// tinyTeacher writes an embedder that costs next to nothing: each colour's average
// over an 8x8 grid.
func tinyTeacher(t *testing.T) string {
	t.Helper()
	return tinyModel(t, func(*onnx.Graph) {})
}

// fussyTeacher is tinyTeacher with NaN for crops of which a cell is black, if it gets raw
// pixels.
func fussyTeacher(t *testing.T) string {
	t.Helper()
	return tinyModel(t, func(g *onnx.Graph) {
		g.Nodes[1].Outputs[0] = "flat"
		g.Nodes = append(g.Nodes,
			onnx.Node{Name: "ratio", OpType: "Div", Inputs: []string{"flat", "flat"}, Outputs: []string{"one"}},
			onnx.Node{Name: "sum", OpType: "Add", Inputs: []string{"flat", "one"}, Outputs: []string{"embedding"}})
	})
}

// tinyModel writes the tiny teacher, which edit may change.
func tinyModel(t *testing.T, edit func(*onnx.Graph)) string {
	t.Helper()
	const cell = 14
	m := &onnx.Model{IRVersion: 7, OpsetVersion: 13, Graph: onnx.Graph{
		Name: "tiny",
		Nodes: []onnx.Node{
			{Name: "pool", OpType: "AveragePool", Inputs: []string{"input"}, Outputs: []string{"pooled"},
				Attributes: []onnx.Attribute{onnx.Ints("kernel_shape", cell, cell), onnx.Ints("strides", cell, cell)}},
			{Name: "flat", OpType: "Flatten", Inputs: []string{"pooled"}, Outputs: []string{"embedding"}},
		},
		Inputs:  []onnx.ValueInfo{{Name: "input", Type: onnx.Float32, Dims: append([]onnx.Dim{onnx.Variable("N")}, onnx.Fixed(3, 112, 112)...)}},
		Outputs: []onnx.ValueInfo{{Name: "embedding", Type: onnx.Float32, Dims: append([]onnx.Dim{onnx.Variable("N")}, onnx.Fixed(192)...)}},
	}}
	edit(&m.Graph)
	path := filepath.Join(t.TempDir(), "tiny.onnx")
	if err := os.WriteFile(path, m.Marshal(), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}
