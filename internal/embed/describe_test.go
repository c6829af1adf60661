package embed

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"facepipe/internal/onnx"
)

func TestDescribe(t *testing.T) {
	path := tiny(t, func(m *onnx.Model) {
		m.Producer, m.Version = "pytorch", "2.1"
		m.Metadata = []onnx.Property{{Key: "License", Value: "research"}, {Key: "colour", Value: "blue"}}
		weight := m.Graph.Initializers[0]
		m.Graph.Inputs = append(m.Graph.Inputs, onnx.ValueInfo{Name: weight.Name, Type: onnx.Float32, Dims: onnx.Fixed(3, 4)})
		m.Graph.Outputs[0].Dims[0] = onnx.Variable("")
		m.Graph.Initializers = append(m.Graph.Initializers, onnx.IntTensor("shape", []int64{-1, 4}, 2))
	})
	f, err := Describe(path)
	if err != nil {
		t.Fatal(err)
	}
	digest, err := Digest(path)
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if f.Digest != digest || f.Bytes != info.Size() || f.Producer != "pytorch 2.1" || f.IR != 7 || f.Opset != 13 ||
		f.Parameters != 12 || len(f.Says) != 1 || f.Says["License"] != "research" {
		t.Errorf("the file is %+v", f)
	}
	if len(f.Inputs) != 1 || f.Inputs[0].String() != "input float32 [N 3 112 112]" || len(f.Outputs) != 1 || f.Outputs[0].String() != "embedding float32 [? 4]" {
		t.Errorf("inputs %v, outputs %v", f.Inputs, f.Outputs)
	}
}

// Weights in a file of their own count; without that file the model is refused.
func TestDescribeExternalWeights(t *testing.T) {
	path := tiny(t, func(m *onnx.Model) {
		w := &m.Graph.Initializers[0]
		w.Data, w.External = nil, []onnx.Property{{Key: "location", Value: "tiny.data"}}
	})
	if _, err := Describe(path); !errors.Is(err, ErrWeights) {
		t.Errorf("without weights: %v", err)
	}
	weights := filepath.Join(filepath.Dir(path), "tiny.data")
	if err := os.WriteFile(weights, make([]byte, 48), 0o644); err != nil {
		t.Fatal(err)
	}
	f, err := Describe(path)
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if f.Bytes != info.Size()+48 || f.Parameters != 12 {
		t.Errorf("%d bytes, %d parameters", f.Bytes, f.Parameters)
	}
}

// No sizes that a damaged file claims make a nonsense of the sum.
func TestDescribeImpossibleSizes(t *testing.T) {
	path := tiny(t, func(m *onnx.Model) {
		m.Graph.Initializers[0].Dims = []int64{1 << 62, 1 << 62, 7}
		m.Graph.Initializers = append(m.Graph.Initializers, onnx.Tensor{Name: "less", Type: onnx.Float32, Dims: []int64{-5}})
	})
	if f, err := Describe(path); err != nil || f.Parameters != 1<<31 {
		t.Errorf("%+v, %v", f, err)
	}
}

func TestTime(t *testing.T) {
	fixed := func(n int64) func(*onnx.Model) {
		return func(m *onnx.Model) {
			m.Graph.Inputs[0].Dims[0], m.Graph.Outputs[0].Dims[0] = onnx.Dim{Size: n}, onnx.Dim{Size: n}
		}
	}
	for name, c := range map[string]struct {
		edit   func(*onnx.Model)
		builds bool // as by a provider that would build for another batch
		want   []int
	}{
		"free":         {nil, false, []int{1, cpuBatch}},
		"fixed":        {fixed(4), false, []int{4}},
		"fixed at one": {fixed(1), false, []int{1}},
		"rows mixed":   {addMean, false, []int{1}},
		"built":        {nil, true, []int{cpuBatch}},
	} {
		t.Run(name, func(t *testing.T) {
			m := open(t, tiny(t, c.edit), Options{})
			if only := c.builds || len(c.want) == 1; c.builds {
				m.only = true
			} else if m.OnlyBatch() != only {
				t.Errorf("no batch but its own: %v", m.OnlyBatch())
			}
			own := m.Batch()
			timings, err := m.Time()
			if err != nil {
				t.Fatal(err)
			}
			var sizes []int
			for _, timing := range timings {
				sizes = append(sizes, timing.Batch)
				if !(timing.Milliseconds > 0 && timing.Milliseconds < 10_000) {
					t.Errorf("a crop takes %v ms", timing.Milliseconds)
				}
			}
			if !slices.Equal(sizes, c.want) || m.Batch() != own {
				t.Errorf("batches %v, want %v; it is left at %d, was at %d", sizes, c.want, m.Batch(), own)
			}
		})
	}
}
