package embed

import (
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

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

// interleavedTiny takes N×H×W×3.
func interleavedTiny(m *onnx.Model) {
	g := &m.Graph
	g.Inputs[0].Dims, g.Nodes[0].Inputs[0] = append([]onnx.Dim{onnx.Variable("")}, onnx.Fixed(112, 112, 3)...), "planes"
	g.Nodes = append([]onnx.Node{{Name: "planes", OpType: "Transpose", Inputs: []string{"input"}, Outputs: []string{"planes"},
		Attributes: []onnx.Attribute{onnx.Ints("perm", 0, 3, 1, 2)}}}, g.Nodes...)
}

// onDevice are the options under which a model gets what it gets on a CUDA device.
func onDevice(o Options) Options {
	o.crossing, o.flights = []onnx.ElemType{onnx.Float16, onnx.Uint8}, 2
	return o
}

// Pixels that a model normalises itself give the very embeddings that normalised ones give,
// whatever the model takes: on the processor to the bit.
func TestPixelsCrossAsBytes(t *testing.T) {
	bgr := ArcFace()
	bgr.ChannelOrder, bgr.Mean, bgr.Std = "BGR", [3]float32{103.94, 116.78, 123.68}, [3]float32{57, 58, 59.5}
	listed := func(m *onnx.Model) { // as old exporters do
		m.Graph.Inputs = append([]onnx.ValueInfo{{Name: "w", Type: onnx.Float32, Dims: onnx.Fixed(3, 4)}}, m.Graph.Inputs...)
	}
	fixed := func(m *onnx.Model) { m.Graph.Inputs[0].Dims[0] = onnx.Dim{Size: 3} }
	pixels := crops(7)
	for name, c := range map[string]struct {
		edit      func(*onnx.Model)
		contracts []Preprocess
	}{
		"planes": {nil, []Preprocess{ArcFace(), Raw(), bgr}}, "interleaved": {interleavedTiny, []Preprocess{ArcFace(), bgr}}, "half": {inHalf, []Preprocess{ArcFace(), bgr}},
		"integers": {taking(onnx.Uint8), []Preprocess{Raw()}}, "weights listed": {listed, []Preprocess{bgr}}, "a batch of 3": {fixed, []Preprocess{bgr}},
	} {
		path := tiny(t, c.edit)
		for _, contract := range c.contracts {
			if name == "interleaved" {
				contract.Layout = "NHWC"
			}
			o := Options{Preprocess: preprocessFile(t, contract), Batch: 3}
			values, bytes := open(t, path, o), open(t, path, onDevice(o))
			if in := bytes.session.Inputs(); len(in) != 3 || in[0].Type != onnx.Uint8 || len(values.session.Inputs()) != 1 {
				t.Fatalf("%s: inputs %+v and %+v", name, in, values.session.Inputs())
			}
			if got, want := embedded(t, bytes, pixels), embedded(t, values, pixels); !slices.Equal(got, want) {
				t.Errorf("%s, %v: %v, want %v", name, contract, got[:4], want[:4])
			}
			if bytes.Preprocess() != values.Preprocess() || bytes.Batch() != 3 || bytes.Fingerprint(true, "fp16", Rounding{}) != values.Fingerprint(true, "fp16", Rounding{}) {
				t.Errorf("%s: %v in batches of %d", name, bytes.Preprocess(), bytes.Batch())
			}
		}
	}
}

// A contract can be tried out, and changed, whoever normalises.
func TestPixelsUnderOtherContracts(t *testing.T) {
	m, pixels := open(t, tiny(t, nil), onDevice(Options{Preprocess: "arcface", Batch: 2})), crops(3)
	expectMeans(t, m, pixels)
	bgr := Raw()
	bgr.ChannelOrder, bgr.Std = "BGR", [3]float32{2, 4, 8}
	other := m.Under(bgr)
	expectMeans(t, other, pixels)
	other.own.close()
	expectMeans(t, m, pixels)
	m.Adopt(bgr, "chosen")
	expectMeans(t, m, pixels)
}

// A model that is not for crops of the contract is refused as ever.
func TestPixelsOfAnotherSize(t *testing.T) {
	path := tiny(t, func(m *onnx.Model) {
		m.Graph.Inputs[0].Dims = append([]onnx.Dim{onnx.Variable("N")}, onnx.Fixed(3, 96, 80)...)
	})
	expectError(t, path, onDevice(Options{Preprocess: preprocessFile(t, Raw())}), ErrShape, "input input has shape [-1 3 96 80]")
}

// Runs at the same time give the rows that single runs give, in their order.
func TestStreamWithRunsAtTheSameTime(t *testing.T) {
	const n = 61
	pixels := crops(n)
	size := len(pixels) / n
	path := tiny(t, nil)
	want := embedded(t, open(t, path, Options{Batch: 4}), pixels)
	devices := []*Model{open(t, path, onDevice(Options{Batch: 4})), open(t, path, onDevice(Options{Batch: 4}))}
	if ring(devices) != 7 || devices[0].flights != 2 {
		t.Errorf("%d batches on their way, %d runs at a time", ring(devices), devices[0].flights)
	}
	var got, mirrored []float32
	_, err := Stream(t.Context(), devices, n, func(i int, rgb []byte) error {
		copy(rgb, pixels[i*size:(i+1)*size])
		return nil
	}, func(_ int, rows [][]float32) error {
		got, mirrored = append(got, rows[0]...), append(mirrored, rows[1]...)
		return nil
	}, StreamOptions{Flips: []bool{false, true}, Workers: 3})
	if err != nil || !slices.Equal(append(got, mirrored...), want) {
		t.Errorf("other rows, %v", err)
	}
}

// A device that has no room for two runs, or for what they run on, gets one at a time, and says so.
func TestRunsAtTheSameTimeThatFail(t *testing.T) {
	for say, shape := range map[string][]int64{"run ": {2, 5}, "make a tensor": {-2, 4}} {
		m := open(t, tiny(t, nil), onDevice(Options{Batch: 2}))
		m.shapes[m.outputs.embedding] = shape
		if m.tryFlights(); m.flights != 1 || !strings.Contains(strings.Join(m.Notes(), "; "), "one run at a time, as 2 fail: "+say) {
			t.Errorf("%d runs at a time, notes %q", m.flights, m.Notes())
		}
	}
}

// Time that two runs take at once is spent once.
func TestStopwatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var w stopwatch
		var runs sync.WaitGroup
		for _, nap := range []time.Duration{3 * time.Second, 5 * time.Second} {
			runs.Go(func() { w.run(func() error { time.Sleep(nap); return nil }) })
		}
		runs.Wait()
		time.Sleep(time.Hour)
		w.run(func() error { time.Sleep(time.Second); return nil })
		if w.time() != 6*time.Second {
			t.Errorf("%v", w.time())
		}
	})
}
