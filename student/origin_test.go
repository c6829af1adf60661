package student

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"facepipe/internal/filedigest"
	"facepipe/internal/onnx"
	"facepipe/internal/safetensors"
	"facepipe/student/export"
)

// noteIn is what an exported model says of its training.
func noteIn(t *testing.T, path string) (n export.Note) {
	t.Helper()
	m, err := onnx.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal([]byte(m.Property(export.TrainingKey)), &n); err != nil {
		t.Fatal(err)
	}
	return n
}

// A student says where the weights came from that it began with, and what that file says of
// its licence and its teacher, also after its run was gone on with.
func TestOriginIsNoted(t *testing.T) {
	before, s := finished(t, func(o *Options) { o.Epochs, o.Loss.Name = 1, "cosine" })
	if n := noteIn(t, s.ONNX); n.Init != nil || n.Teacher != "t" {
		t.Errorf("a run that began at random says %+v", n)
	}
	graph, err := onnx.ReadFile(s.ONNX)
	if err != nil {
		t.Fatal(err)
	}
	graph.Metadata = append(graph.Metadata, onnx.Property{Key: "License", Value: "for research alone"}, onnx.Property{Key: "colour", Value: "blue"})
	licensed := filepath.Join(t.TempDir(), "licensed.onnx")
	if err := os.WriteFile(licensed, graph.Marshal(), 0o644); err != nil {
		t.Fatal(err)
	}
	for file, licence := range map[string]string{licensed: "for research alone", newestOf(t, before): ""} {
		o := before
		o.Out, o.Init = filepath.Join(t.TempDir(), "run"), file
		for range 2 {
			s, err := Distill(t.Context(), o)
			if err != nil {
				t.Fatal(err)
			}
			o.Resume = true
			digest, err := filedigest.Of(file)
			if err != nil {
				t.Fatal(err)
			}
			got := noteIn(t, s.ONNX).Init
			var training export.Note
			if got == nil || json.Unmarshal(got.Training, &training) != nil {
				t.Fatalf("%s: it says %+v", file, got)
			}
			if got.File != filepath.Base(file) || got.Digest != digest || got.Says["License"] != licence || got.Says[export.TeacherKey] != "f" ||
				got.Says["colour"] != "" || training.Teacher != "t" || training.Steps != 5 {
				t.Errorf("%s: it says %+v, of its training %+v", file, got, training)
			}
		}
	}
}

// Of a foreign safetensors file the licence is noted.
func TestOriginOfTensors(t *testing.T) {
	var data bytes.Buffer
	tensors := map[string]safetensors.Tensor{"fc": {Shape: []int{1}, Float32: []float32{1}}}
	if err := safetensors.Write(&data, safetensors.Sources(tensors), map[string]string{"format": "pt", "license": "MIT"}); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "weights.safetensors")
	if err := os.WriteFile(path, data.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
	f, err := readWeights(path)
	if err != nil {
		t.Fatal(err)
	}
	if o := f.origin(); len(o.Says) != 1 || o.Says["license"] != "MIT" || o.Training != nil {
		t.Errorf("it says %+v", o)
	}
}
