package eval

import (
	"encoding/json"
	"math/rand/v2"
	"testing"

	"facepipe/eval/internal/facestest"
	"facepipe/internal/embed"
	"facepipe/internal/onnx"
)

const side = 8 // of storetest.Contract

const dim = 12

// weights of the test models' only layer.
func weights(seed uint64) []float32 {
	rng := rand.New(rand.NewPCG(seed, 99))
	w := make([]float32, 3*side*side*dim)
	for i := range w {
		w[i] = float32(rng.NormFloat64())
	}
	return w
}

// linearModel writes an embedder that multiplies the centred pixels by a matrix. edit
// may spoil it.
func linearModel(t *testing.T, name string, seed uint64, edit func(*onnx.Model)) string {
	t.Helper()
	p := embed.Preprocess{ChannelOrder: "RGB", Mean: [3]float32{128, 128, 128}, Std: [3]float32{64, 64, 64}, Height: side, Width: side, Layout: "NCHW"}
	text, err := json.Marshal(p)
	if err != nil {
		t.Fatal(err)
	}
	m := &onnx.Model{
		IRVersion: 7, OpsetVersion: 13,
		Metadata: []onnx.Property{{Key: embed.PreprocessKey, Value: string(text)}},
		Graph: onnx.Graph{
			Name: "linear",
			Nodes: []onnx.Node{
				{Name: "flat", OpType: "Flatten", Inputs: []string{"input"}, Outputs: []string{"flat"}},
				{Name: "fc", OpType: "MatMul", Inputs: []string{"flat", "w"}, Outputs: []string{"embedding"}},
			},
			Inputs:       []onnx.ValueInfo{{Name: "input", Type: onnx.Float32, Dims: append([]onnx.Dim{onnx.Variable("N")}, onnx.Fixed(3, side, side)...)}},
			Outputs:      []onnx.ValueInfo{{Name: "embedding", Type: onnx.Float32, Dims: []onnx.Dim{onnx.Variable("N"), {Size: dim}}}},
			Initializers: []onnx.Tensor{onnx.FloatTensor("w", weights(seed), 3*side*side, dim)},
		},
	}
	if edit != nil {
		edit(m)
	}
	return facestest.WriteFile(t, name, string(m.Marshal()))
}

// byHand is what linearModel gives for a crop.
func byHand(w []float32, rgb []byte, flip bool) []float64 {
	e := make([]float64, dim)
	for c := range 3 {
		for y := range side {
			for x := range side {
				from := x
				if flip {
					from = side - 1 - x
				}
				v := (float64(rgb[3*(y*side+from)+c]) - 128) / 64
				for k := range e {
					e[k] += v * float64(w[((c*side+y)*side+x)*dim+k])
				}
			}
		}
	}
	return e
}
