package student

import (
	"errors"
	"math"
	"slices"
	"strings"
	"testing"

	"facepipe/student/optim"
	"facepipe/student/torch/torchtest"
)

func TestScaler(t *testing.T) {
	c := scaler{Scale: 4}
	for range growEvery - 1 {
		c.took()
	}
	if c.Scale != 4 {
		t.Errorf("the scale is %g too early", c.Scale)
	}
	if c.took(); c.Scale != 8 || c.Good != 0 {
		t.Errorf("after %d good steps: %+v", growEvery, c)
	}
	c.took()
	for want := 4.0; want >= 1; want /= 2 {
		if !c.skip() || c.Scale != want || c.Good != 0 {
			t.Errorf("after a skip: %+v, want scale %g", c, want)
		}
	}
	if c.skip() || c.Skipped != 3 {
		t.Errorf("a scale of 1 was lowered: %+v", c)
	}
}

// A gradient that overflows moves nothing and lowers the scale; one that overflows at
// the smallest scale is an error.
func TestOverflowIsSkipped(t *testing.T) {
	e := torchtest.Open(t)
	dataset := fixture(t)
	o := options(t, dataset)
	o.scaleLoss, o.EMA = true, 0.9
	m, err := newModel(e, o, fixtureDim, 8)
	if err != nil {
		t.Fatal(err)
	}
	defer m.close()
	if err := m.beginAverage(o.EMA); err != nil {
		t.Fatal(err)
	}
	m.scaler.Scale = math.Ldexp(1, 140) // no loss times this is a float32
	s := torchtest.Scope(t, e)
	weight := trained(m.params())[0].Tensor()
	before := s.Floats(weight)
	b := batches(t, dataset, 1, 8)[0]
	for skipped, moved := 0, false; !moved; skipped++ {
		var sum tally
		if err := m.backward(b, 112, 1, &sum); err != nil {
			t.Fatal(err)
		}
		if _, moved, err = m.move(0, 0.1); err != nil {
			t.Fatal(err)
		}
		after := s.Floats(weight)
		for i := range after {
			if !moved && after[i] != before[i] {
				t.Fatal("a skipped step moved the weights")
			}
		}
		if moved && (skipped == 0 || m.scaler.Skipped != skipped || after[0] == before[0]) {
			t.Fatalf("%d steps were skipped, the scaler says %+v", skipped, *m.scaler)
		}
	}
	m.scaler.Scale = 1
	var sum tally
	if err := m.backward(b, 112, 1, &sum); err != nil {
		t.Fatal(err)
	}
	s.Engine().NoGrad(func() { s.Copy(s.Grad(weight), s.Scale(s.OnesLike(weight), math.Inf(1))) })
	if _, _, err := m.move(0, 0.1); !errors.Is(err, optim.ErrNotFinite) {
		t.Errorf("at the smallest scale: %v", err)
	}
}

// A forward pass that overflows need not show in the loss, and leaves the running statistics
// as finite as they were.
func TestOverflowInForward(t *testing.T) {
	e := torchtest.Open(t)
	dataset := fixture(t)
	o := options(t, dataset)
	o.scaleLoss = true
	m, err := newModel(e, o, fixtureDim, 8)
	if err != nil {
		t.Fatal(err)
	}
	defer m.close()
	s := torchtest.Scope(t, e)
	list := batches(t, dataset, 2, 8)
	take := func() (moved bool) {
		t.Helper()
		var sum tally
		for _, b := range list {
			if err := m.backward(b, 112, len(list), &sum); err != nil {
				t.Fatal(err)
			}
		}
		if !finite(sum.loss) {
			t.Fatalf("the loss is %g", sum.loss)
		}
		if _, moved, err = m.move(0, 0.1); err != nil {
			t.Fatal(err)
		}
		return moved
	}
	if !take() {
		t.Fatal("a step that fits was skipped")
	}
	read := func() (all []float32) {
		for _, p := range m.network.Params() {
			if !p.Trained {
				all = append(all, s.Floats(p.Tensor())...)
			}
		}
		return all
	}
	before := read()
	weight := m.network.Params()[0].Tensor()
	e.NoGrad(func() { s.Copy(weight, s.Scale(s.OnesLike(weight), math.MaxFloat32)) })
	if take() {
		t.Fatal("a step that overflows was taken")
	}
	if !slices.Equal(read(), before) {
		t.Error("the skipped step has moved the running statistics")
	}
}

// Where a device has no half precision, the run ends before it begins and says what
// to do; where it has, it trains.
func TestHalfPrecision(t *testing.T) {
	o := options(t, fixture(t))
	o.Precision, o.Epochs = "fp16", 1
	s, err := Distill(t.Context(), o)
	switch {
	case err == nil && s.Steps == 5:
	case errors.Is(err, ErrUsage) && strings.Contains(err.Error(), "device cpu") && strings.Contains(err.Error(), "bf16"):
	default:
		t.Errorf("%+v, %v", s, err)
	}
}
