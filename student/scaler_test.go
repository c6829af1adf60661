package student

import (
	"errors"
	"math"
	"reflect"
	"slices"
	"strings"
	"testing"

	"facepipe/store"
	"facepipe/student/data"
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
	m, err := newModel(e, o, &teachers{names: []string{"t"}, dims: []int{fixtureDim}}, 8, 100)
	if err != nil {
		t.Fatal(err)
	}
	defer m.close()
	if err := m.beginAverage(o.EMA); err != nil {
		t.Fatal(err)
	}
	r := &run{o: o, engine: e, model: m, schedule: optim.Schedule{Kind: "constant", Peak: 0.1, Total: 1}}
	r.open(t)
	defer r.loader.Close()
	defer r.ds.Close()
	take := func(spoil func()) error {
		s := torchtest.Scope(t, e)
		r.tally = tally{}
		if err := m.pass(batches(t, dataset, 1, 8)[0], 1, &r.tally); err != nil {
			t.Fatal(err)
		}
		spoil()
		return r.step(s, 0)
	}
	m.scaler.Scale = math.Ldexp(1, 140) // no loss times this is a float32
	s := torchtest.Scope(t, e)
	weight := trained(m.params())[0].Tensor()
	before := s.Floats(weight)
	for skipped, moved := 0, false; !moved; skipped++ {
		if err := take(func() {}); err != nil {
			t.Fatal(err)
		}
		moved = r.moved
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
	err = take(func() {
		e.NoGrad(func() { s.Copy(s.Grad(weight), s.Scale(s.OnesLike(weight), math.Inf(1))) })
	})
	if !errors.Is(err, errDiverged) || !strings.Contains(err.Error(), "the gradient is not finite") {
		t.Errorf("at the smallest scale: %v", err)
	}
}

// A step whose forward pass overflows, in one of its batches, is skipped and leaves no trace
// but a smaller scale: neither in the running statistics, nor in what the loss remembers, nor
// with the guard.
func TestOverflowInForward(t *testing.T) {
	e := torchtest.Open(t)
	dataset := fixture(t)
	for _, name := range []string{"unified", "l2", "arcface", "adaface"} {
		t.Run(name, func(t *testing.T) {
			s := torchtest.Scope(t, e)
			o := options(t, dataset)
			o.scaleLoss, o.Accumulate, o.Batch, o.Loss.Name = true, 2, 4, name
			tune(&o.Loss, "{rpsd: {relation: student}, sample: 0.5}")
			m, err := newModel(e, o, &teachers{names: []string{"t"}, dims: []int{fixtureDim}}, 8, 100)
			if err != nil {
				t.Fatal(err)
			}
			defer m.close()
			r := &run{o: o, engine: e, model: m, schedule: optim.Schedule{Kind: "constant", Peak: 0.01, Total: 3}}
			r.guard = guard{limit: 1, recent: slices.Repeat([]float64{1e-6}, medianStart-1)} // one more makes a median
			r.open(t)
			defer r.loader.Close()
			defer r.ds.Close()
			state := func() []any {
				all := []any{m.loss.State(s), r.guard.state(), r.last.Loss}
				for _, p := range m.params() {
					if !p.Trained || p.Sparse {
						all = append(all, s.Floats(p.Tensor()))
					}
				}
				return all
			}
			const bad = 1 // the step that overflows
			weight := m.network.Params()[0].Tensor()
			var before []any
			err = r.loader.Run(t.Context(), 0, 3, func(b *data.Batch) error {
				overflows := b.Step == bad && b.Part == 0
				fits := s.Clone(weight)
				if overflows {
					before = state()
					e.NoGrad(func() { s.Copy(weight, s.Scale(s.OnesLike(weight), math.MaxFloat32)) })
				}
				stepped, err := r.batch(b)
				if overflows {
					e.NoGrad(func() { s.Copy(weight, fits) })
				}
				if err != nil || !stepped {
					return err
				}
				if r.last.Step != b.Step+1 || r.moved == (b.Step == bad) {
					t.Errorf("step %d: the run is after step %d, moved is %v", b.Step+1, r.last.Step, r.moved)
				}
				if b.Step == bad && !reflect.DeepEqual(state(), before) {
					t.Error("the skipped step has left a trace")
				}
				r.guard.limit = 0
				if b.Step+1 == bad {
					r.guard.limit = 1
				}
				return nil
			})
			if err != nil || m.scaler.Skipped != 1 || m.scaler.Scale != firstScale/2 {
				t.Errorf("%v, the scaler says %+v", err, *m.scaler)
			}
			m.scaler.Scale = 1
			e.NoGrad(func() { s.Copy(weight, s.Scale(s.OnesLike(weight), math.MaxFloat32)) })
			var d *diagnosis
			err = r.loader.Run(t.Context(), 0, 1, func(b *data.Batch) error {
				_, err := r.batch(b)
				return err
			})
			if !errors.As(err, &d) || !strings.Contains(d.Reason, "embeddings") || len(d.Rows) != 8 || d.Parameters[0] != "stem.norm.running_mean" {
				t.Errorf("at the smallest scale: %v, %+v", err, d)
			}
		})
	}
}

// open gives the run its data.
func (r *run) open(t *testing.T) {
	t.Helper()
	var err error
	if r.ds, err = store.Open(r.o.Dataset); err != nil {
		t.Fatal(err)
	}
	if r.teachers, err = openTeachers(r.ds, &r.o); err != nil {
		t.Fatal(err)
	}
	r.o.Workers = 1
	if r.loader, err = r.newLoader(data.Slice{}); err != nil {
		t.Fatal(err)
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
