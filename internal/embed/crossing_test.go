package embed

import (
	"slices"
	"strings"
	"testing"

	"facepipe/internal/onnx"
)

// inHalf makes tiny one of float16 outside and float32 inside, with a norm beside the embedding of
// unit length.
func inHalf(m *onnx.Model) {
	g := &m.Graph
	unitWith("norm", cast("length", "norm", onnx.Float16))(m)
	g.Nodes[0].Inputs[0], g.Nodes[4].Outputs[0] = "image", "unit"
	g.Nodes = append([]onnx.Node{cast("input", "image", onnx.Float32)}, append(g.Nodes, cast("unit", "embedding", onnx.Float16))...)
	g.Inputs[0].Type, g.Outputs[0].Type, g.Outputs[1].Type = onnx.Float16, onnx.Float16, onnx.Float16
}

// embedded are the embeddings of some crops, and of their mirror images.
func embedded(t *testing.T, m *Model, pixels []byte) []float32 {
	t.Helper()
	n := len(pixels) / m.CropBytes()
	got := make([]float32, 2*n*m.Dim())
	for k, flip := range []bool{false, true} {
		if err := m.Embed(n, pixels, flip, got[k*n*m.Dim():]); err != nil {
			t.Fatal(err)
		}
	}
	return got
}

// A model of float16 runs as it is where it may, and gives the very embeddings that it gives when
// it is cast.
func TestHalvesStay(t *testing.T) {
	bgr := ArcFace()
	bgr.ChannelOrder, bgr.Mean, bgr.Std = "BGR", [3]float32{103.94, 116.78, 123.68}, [3]float32{57, 58, 59}
	path, pixels := tiny(t, inHalf), crops(7)
	for _, contract := range []Preprocess{ArcFace(), Raw(), bgr} {
		for _, batch := range []int{1, 3, AutoBatch} {
			o := Options{Preprocess: preprocessFile(t, contract), Batch: batch}
			asCast := open(t, path, o)
			o.crossing = []onnx.ElemType{onnx.Float16}
			asIs := open(t, path, o)
			if asIs.Outputs().Norm != "norm" || asCast.Outputs().Norm != "norm" || asIs.Dim() != 4 {
				t.Fatalf("outputs %+v and %+v", asIs.Outputs(), asCast.Outputs())
			}
			for _, in := range append(asIs.session.Inputs(), asIs.session.Outputs()...) {
				if in.Type != onnx.Float16 {
					t.Errorf("%s crosses as %v", in.Name, in.Type)
				}
			}
			if notes := strings.Join(asIs.Notes(), "; "); strings.Contains(notes, "cast") || !strings.Contains(strings.Join(asCast.Notes(), "; "), "cast") {
				t.Errorf("notes %q", notes)
			}
			if got, want := embedded(t, asIs, pixels), embedded(t, asCast, pixels); !slices.Equal(got, want) {
				t.Errorf("%v, batch %d: %v, want %v", contract, batch, got[:4], want[:4])
			}
			if asIs.Fingerprint(true, "fp16", Rounding{}) != asCast.Fingerprint(true, "fp16", Rounding{}) {
				t.Error("the way that values cross is part of the fingerprint")
			}
		}
	}
}

// What is neither float32 nor float16 is cast as ever, beside float16 that stays.
func TestHalvesStayBesideOthers(t *testing.T) {
	path := tiny(t, func(m *onnx.Model) {
		inHalf(m)
		m.Graph.Nodes[len(m.Graph.Nodes)-1] = cast("unit", "embedding", onnx.Float64)
		m.Graph.Outputs[0].Type = onnx.Float64
	})
	pixels, want := crops(3), embedded(t, open(t, path, Options{Preprocess: "raw"}), crops(3))
	m := open(t, path, Options{Preprocess: "raw", crossing: []onnx.ElemType{onnx.Float16}})
	if got := embedded(t, m, pixels); !slices.Equal(got, want) || m.session.Inputs()[0].Type != onnx.Float16 {
		t.Errorf("%v, want %v", got, want)
	}
}
