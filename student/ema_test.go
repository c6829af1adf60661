package student

import (
	"encoding/binary"
	"math"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"testing"

	"facepipe/internal/onnx"
	"facepipe/student/checkpoint"
	"facepipe/student/net/layer"
	"facepipe/student/torch/torchtest"
)

func TestAverageRate(t *testing.T) {
	a := average{decay: 0.5}
	for steps, want := range map[int]float64{0: 0.1, 1: 2.0 / 11, 7: 8.0 / 17, 8: 0.5, 1e6: 0.5} {
		if got := a.rate(steps); got != want {
			t.Errorf("after %d steps the decay is %g, want %g", steps, got, want)
		}
	}
}

// The average is what its formula, written out on plain numbers, gives; and a network
// that has borrowed it gets its own weights back, bit for bit.
func TestAverageMatchesFormula(t *testing.T) {
	e := torchtest.Open(t)
	s := torchtest.Scope(t, e)
	p := layer.NewParam("p", []int{3}, func(_ *rand.Rand, data []float32) { copy(data, []float32{1, -2, 3}) })
	if err := layer.Materialise(s, "cpu", 1, []*layer.Param{p}); err != nil {
		t.Fatal(err)
	}
	a, err := newAverage(e, 0.7, []*layer.Param{p})
	if err != nil {
		t.Fatal(err)
	}
	defer a.close()
	weights, want := []float64{1, -2, 3}, []float64{1, -2, 3}
	for step := range 20 {
		e.NoGrad(func() { s.Copy(p.Tensor(), s.AddScalar(p.Tensor(), 0.25)) })
		if err := a.follow(s, step); err != nil {
			t.Fatal(err)
		}
		for i := range weights {
			weights[i] += 0.25
			d := a.rate(step)
			want[i] = d*want[i] + (1-d)*weights[i]
		}
	}
	own := s.Floats(p.Tensor())
	err = a.lend(func() error {
		for i, v := range s.Floats(p.Tensor()) {
			if math.Abs(float64(v)-want[i]) > 1e-5 {
				t.Errorf("average %d is %g, want %g", i, v, want[i])
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for i, v := range s.Floats(p.Tensor()) {
		if v != own[i] {
			t.Errorf("weight %d is %g after it was lent, %g before", i, v, own[i])
		}
	}
}

// With an average the exported model is the average, and training is the same.
func TestAverageIsExported(t *testing.T) {
	dataset := fixture(t)
	plain, averaged := options(t, dataset), options(t, dataset)
	plain.Epochs, averaged.Epochs, averaged.EMA = 1, 1, 0.9
	for _, o := range []Options{plain, averaged} {
		if _, err := Distill(t.Context(), o); err != nil {
			t.Fatal(err)
		}
	}
	a, b := newest(t, plain), newest(t, averaged)
	for name, tensor := range a {
		for i, v := range b[name].Float32 {
			if v != tensor.Float32[i] {
				t.Fatalf("%s differs beside an average", name)
			}
		}
	}
	// Slopes are exported as they are; other weights have norms folded in.
	const weight, name = "stem.prelu.weight", "stem.slope"
	got := exported(t, averaged, name)
	if want := b[checkpoint.AveragePrefix+weight].Float32; !slices.Equal(got, want) {
		t.Errorf("%s is exported as %g, the average is %g", weight, got, want)
	}
	if raw := exported(t, plain, name); slices.Equal(raw, got) {
		t.Error("the average is the weight itself")
	}
}

// exported is an initializer of a run's model.
func exported(t *testing.T, o Options, name string) []float32 {
	t.Helper()
	m, err := onnx.ReadFile(filepath.Join(o.Out, "student.onnx"))
	if err != nil {
		t.Fatal(err)
	}
	for _, tensor := range m.Graph.Initializers {
		if tensor.Name == name {
			values := make([]float32, len(tensor.Data)/4)
			for i := range values {
				values[i] = math.Float32frombits(binary.LittleEndian.Uint32(tensor.Data[4*i:]))
			}
			return values
		}
	}
	t.Fatalf("the model has no %s", name)
	return nil
}
