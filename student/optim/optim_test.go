package optim

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"

	"facepipe/student/net/layer"
	"facepipe/student/torch"
	"facepipe/student/torch/torchtest"
)

func TestSchedules(t *testing.T) {
	base := Schedule{Peak: 0.2, Warmup: 10, Total: 110, Power: 2, Milestones: []float64{0.5, 0.75}, Factor: 0.1}
	for _, c := range []struct {
		kind string
		step int
		want float64
	}{
		{"cosine", 0, 0.02}, {"cosine", 9, 0.2}, {"cosine", 10, 0.2}, {"cosine", 60, 0.1}, {"cosine", 109, 0.2 * 0.5 * (1 + math.Cos(math.Pi*0.99))},
		{"poly", 4, 0.1}, {"poly", 60, 0.05}, {"poly", 110, 0},
		{"step", 54, 0.2}, {"step", 55, 0.02}, {"step", 83, 0.002},
		{"constant", 109, 0.2},
	} {
		s := base
		s.Kind = c.kind
		if err := s.Validate(); err != nil {
			t.Fatal(err)
		}
		if got := s.At(c.step); math.Abs(got-c.want) > 1e-12 {
			t.Errorf("%s at step %d: %g, want %g", c.kind, c.step, got, c.want)
		}
	}
}

func TestScheduleRefusesNonsense(t *testing.T) {
	good := Schedule{Kind: "step", Peak: 0.1, Total: 10, Power: 1, Milestones: []float64{0.5}, Factor: 0.1}
	for name, spoil := range map[string]func(*Schedule){
		"kind":       func(s *Schedule) { s.Kind = "zigzag" },
		"peak":       func(s *Schedule) { s.Peak = 0 },
		"NaN":        func(s *Schedule) { s.Peak = math.NaN() },
		"warm-up":    func(s *Schedule) { s.Warmup = 11 },
		"infinite":   func(s *Schedule) { s.Peak = math.Inf(1) },
		"no power":   func(s *Schedule) { s.Kind, s.Power = "poly", math.NaN() },
		"no factor":  func(s *Schedule) { s.Factor = math.NaN() },
		"no stone":   func(s *Schedule) { s.Milestones = []float64{math.NaN(), 0.1} },
		"power":      func(s *Schedule) { s.Kind, s.Power = "poly", 0 },
		"factor":     func(s *Schedule) { s.Factor = 2 },
		"milestones": func(s *Schedule) { s.Milestones = []float64{0.9, 0.1} },
	} {
		s := good
		spoil(&s)
		if s.Validate() == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

// errUnmoved is that a step did not meet its terms.
var errUnmoved = errors.New("nothing moved")

// take takes a step with a loss of 1, which may be 2, and clears the gradients. It returns their
// length.
func take(s *torch.Scope, o Optimizer, rate float64) (length float64, err error) {
	length, err = takeWith(s, o, 1, rate)
	if err == nil {
		o.ClearGradients(s)
	}
	return length, err
}

func takeWith(s *torch.Scope, o Optimizer, loss, rate float64) (length float64, err error) {
	like := torch.Tensor{}
	switch o := o.(type) {
	case *SGD:
		like = o.params[0].Tensor()
	case *AdamW:
		like = o.params[0].Tensor()
	}
	report, err := o.Step(s, torch.Terms{Loss: torch.FromDataLike(s, like, []float64{loss}, 1), Limit: 2}, rate)
	if err != nil {
		return 0, err
	}
	v := torch.ToData[float64](s, report)
	switch {
	case s.Err() != nil:
		return 0, s.Err()
	case v[0] != loss && !math.IsNaN(loss):
		return 0, fmt.Errorf("reports a loss of %g, which is %g", v[0], loss)
	case v[2] == 0:
		return v[1], errUnmoved
	}
	return v[1], nil
}

// The processor's loops and what other devices do take the same steps, within rounding. Where the
// loss or the gradient is not finite, or the loss above its limit, neither moves a bit, and the
// gradients stay.
func TestSeparateSteps(t *testing.T) {
	e := torchtest.Open(t)
	t.Cleanup(func() { e.StepSeparately(false) })
	for name, c := range map[string]Config{
		"plain": {}, "nesterov": {SGDConfig: SGDConfig{Momentum: 0.9, Nesterov: true, WeightDecay: 0.1, Clip: 0.5}},
		"momentum": {SGDConfig: SGDConfig{Momentum: 0.9, WeightDecay: 0.1}}, AdamWName: adamW(0.9, 0.99),
	} {
		if name == AdamWName {
			c.Name = name
		}
		run := func(separate bool) (values [][]float32) {
			e.StepSeparately(separate)
			s := torchtest.Scope(t, e)
			fill := func(rng *rand.Rand, data []float32) {
				for i := range data {
					data[i] = float32(rng.NormFloat64())
				}
			}
			params := []*layer.Param{layer.NewParam("a", []int{40, 3}, fill), layer.NewParam("b", []int{7}, fill)}
			params[1].Decay = false
			if err := layer.Materialise(s, "cpu", 1, params); err != nil {
				t.Fatal(err)
			}
			o, err := New(e, c, params)
			if err != nil {
				t.Fatal(err)
			}
			defer o.Close()
			state := func() (all [][]float32) {
				for _, p := range append(params, nil) {
					if p != nil {
						all = append(all, s.Floats(p.Tensor()))
					}
					for _, k := range o.State(p) {
						all = append(all, s.Floats(k.Tensor))
					}
				}
				return all
			}
			backward := func(scale float64) {
				sum := s.Add(s.Sum(s.Mul(params[0].Tensor(), params[0].Tensor())), s.Sum(s.Exp(params[1].Tensor())))
				s.Backward(s.Scale(sum, scale))
			}
			for _, bad := range []struct{ loss, scale float64 }{{math.NaN(), 1}, {math.Inf(-1), 1}, {2.001, 1}, {1, math.NaN()}, {1, math.Inf(1)}} {
				backward(1)
				if _, err := take(s, o, 0.05); err != nil {
					t.Fatalf("%s, separate %v: %v", name, separate, err)
				}
				before := state()
				backward(bad.scale)
				kept := s.Floats(s.Grad(params[0].Tensor()))
				if _, err := takeWith(s, o, bad.loss, 0.05); !errors.Is(err, errUnmoved) || !reflect.DeepEqual(before, state()) {
					t.Errorf("%s, separate %v, %+v: %v, or it moved", name, separate, bad, err)
				}
				for i, g := range s.Floats(s.Grad(params[0].Tensor())) {
					if g != kept[i] && g == g {
						t.Fatalf("%s, separate %v, %+v: the gradient is spoilt", name, separate, bad)
					}
				}
				o.ClearGradients(s)
			}
			return state()
		}
		here, there := run(false), run(true)
		for k := range here {
			for i, v := range here[k] {
				if math.Abs(float64(v-there[k][i])) > 1e-6*(1+math.Abs(float64(v))) {
					t.Fatalf("%s: value %d of tensor %d is %g, and %g separately", name, i, k, v, there[k][i])
				}
			}
		}
	}
}

// The optimizer takes the steps that its formula, written out on plain numbers, takes.
func TestSGDMatchesFormula(t *testing.T) {
	e := torchtest.Open(t)
	torchtest.OnDevices(t, e, func(t *testing.T, device string) { matchesFormula(t, e, device) })
}

func matchesFormula(t *testing.T, e *torch.Engine, device string) {
	for name, c := range map[string]SGDConfig{
		"plain":    {},
		"momentum": {Momentum: 0.9},
		"nesterov": {Momentum: 0.9, Nesterov: true},
		"decay":    {Momentum: 0.9, Nesterov: true, WeightDecay: 0.1},
		"clipped":  {Momentum: 0.5, Clip: 0.7, WeightDecay: 0.01},
	} {
		s := torchtest.Scope(t, e)
		start := func(v float32) func(*rand.Rand, []float32) {
			return func(_ *rand.Rand, data []float32) {
				for i := range data {
					data[i] = v + float32(i)
				}
			}
		}
		w := layer.NewParam("w", []int{3}, start(1))
		norm := layer.NewParam("norm", []int{2}, start(-2))
		norm.Decay = false
		params := []*layer.Param{w, norm}
		if err := layer.Materialise(s, device, 1, params); err != nil {
			t.Fatal(err)
		}
		o, err := NewSGD(e, c, params)
		if err != nil {
			t.Fatal(err)
		}
		p, v := []float64{1, 2, 3, -2, -1}, make([]float64, 5)
		for range 4 {
			// The loss Σ p³/3 has the gradient p².
			inner := e.NewScope()
			cube := func(x *layer.Param) torch.Tensor {
				y := x.Tensor()
				return inner.Scale(inner.Sum(inner.Mul(y, inner.Mul(y, y))), 1.0/3)
			}
			inner.Backward(inner.Add(cube(w), cube(norm)))
			length, err := take(inner, o, 0.05)
			if err != nil {
				t.Fatal(err)
			}
			inner.Close()
			want := byHand(c, p, v, 0.05)
			if math.Abs(length-want) > 1e-4*want {
				t.Errorf("%s: gradient of length %g, want %g", name, length, want)
			}
		}
		got := append(s.Floats(w.Tensor()), s.Floats(norm.Tensor())...)
		for i := range p {
			if math.Abs(float64(got[i])-p[i]) > 1e-4*(1+math.Abs(p[i])) {
				t.Errorf("%s: parameter %d is %g, want %g", name, i, got[i], p[i])
			}
		}
		o.Close()
	}
}

// byHand takes one step on plain numbers, the first three of which decay, and
// returns the length of the gradient before clipping.
func byHand(c SGDConfig, p, v []float64, rate float64) float64 {
	g := make([]float64, len(p))
	sum := 0.0
	for i := range p {
		g[i] = p[i] * p[i]
		sum += g[i] * g[i]
	}
	length := math.Sqrt(sum)
	for i := range p {
		if c.Clip > 0 && length > c.Clip {
			g[i] *= c.Clip / length
		}
		if i < 3 {
			g[i] += c.WeightDecay * p[i]
		}
		v[i] = c.Momentum*v[i] + g[i]
		if c.Nesterov {
			p[i] -= rate * (g[i] + c.Momentum*v[i])
		} else {
			p[i] -= rate * v[i]
		}
	}
	return length
}

// Over many values, in blocks and at their ends, the step is that in float64 within the
// rounding of float32, and the same on any number of threads.
func TestSGDOnManyValues(t *testing.T) {
	e := torchtest.Open(t)
	torchtest.OnDevices(t, e, func(t *testing.T, device string) { onManyValues(t, e, device) })
}

func onManyValues(t *testing.T, e *torch.Engine, device string) {
	before := e.Threads()
	t.Cleanup(func() { e.SetThreads(before) })
	c := SGDConfig{Momentum: 0.9, Nesterov: true, WeightDecay: 0.1, Clip: 3}
	run := func(threads int) (p, v []float32, length float64) {
		e.SetThreads(threads)
		s := torchtest.Scope(t, e)
		const n = 50_003
		w := layer.NewParam("w", []int{n}, func(rng *rand.Rand, data []float32) {
			for i := range data {
				data[i] = float32(rng.NormFloat64())
			}
		})
		if err := layer.Materialise(s, device, 1, []*layer.Param{w}); err != nil {
			t.Fatal(err)
		}
		o, err := NewSGD(e, c, []*layer.Param{w})
		if err != nil {
			t.Fatal(err)
		}
		defer o.Close()
		want, velocity := make([]float64, n), make([]float64, n)
		for i, x := range s.Floats(w.Tensor()) {
			want[i] = float64(x)
		}
		for range 2 {
			y := w.Tensor() // the loss Σ p³/3 has the gradient p²
			s.Backward(s.Scale(s.Sum(s.Mul(y, s.Mul(y, y))), 1.0/3))
			square := 0.0
			for _, x := range want {
				square += x * x * x * x
			}
			length, err = take(s, o, 0.05)
			if err != nil || math.Abs(length/math.Sqrt(square)-1) > 1e-6 {
				t.Fatalf("gradient of length %g, want %g, %v", length, math.Sqrt(square), err)
			}
			for i := range want {
				g := want[i]*want[i]*c.Clip/math.Sqrt(square) + c.WeightDecay*want[i]
				velocity[i] = c.Momentum*velocity[i] + g
				want[i] -= 0.05 * (g + c.Momentum*velocity[i])
			}
		}
		p, v = s.Floats(w.Tensor()), s.Floats(o.State(w)[0].Tensor)
		for i := range want {
			if math.Abs(float64(p[i])-want[i]) > 1e-6 || math.Abs(float64(v[i])-velocity[i]) > 1e-6 {
				t.Fatalf("value %d is %g with velocity %g, want %g and %g", i, p[i], v[i], want[i], velocity[i])
			}
		}
		return p, v, length
	}
	p1, v1, l1 := run(1)
	p3, v3, l3 := run(3)
	if !slices.Equal(p1, p3) || !slices.Equal(v1, v3) || l1 != l3 {
		t.Error("one thread and three give other bits")
	}
}

// A gradient that is not finite moves nothing and stays.
func TestSGDNotFinite(t *testing.T) {
	e := torchtest.Open(t)
	torchtest.OnDevices(t, e, func(t *testing.T, device string) { notFinite(t, e, device) })
}

func notFinite(t *testing.T, e *torch.Engine, device string) {
	s := torchtest.Scope(t, e)
	w := layer.NewParam("w", []int{2}, func(_ *rand.Rand, data []float32) { data[0], data[1] = 1, 2 })
	if err := layer.Materialise(s, device, 1, []*layer.Param{w}); err != nil {
		t.Fatal(err)
	}
	o, err := NewSGD(e, SGDConfig{Momentum: 0.9, WeightDecay: 0.1}, []*layer.Param{w})
	if err != nil {
		t.Fatal(err)
	}
	defer o.Close()
	for _, bad := range []float64{math.Inf(1), math.NaN()} {
		s.Backward(s.Sum(s.Scale(w.Tensor(), bad)))
		if _, err := take(s, o, 0.1); !errors.Is(err, errUnmoved) {
			t.Errorf("%g: %v", bad, err)
		}
		if s.Grad(w.Tensor()).IsNone() {
			t.Error("the gradient is gone")
		}
		o.ClearGradients(s)
	}
	if p, v := s.Floats(w.Tensor()), s.Floats(o.State(w)[0].Tensor); p[0] != 1 || p[1] != 2 || v[0] != 0 || v[1] != 0 {
		t.Errorf("moved to %v, velocity %v", p, v)
	}
}

func TestStepWithoutGradientIsAnError(t *testing.T) {
	e := torchtest.Open(t)
	s := torchtest.Scope(t, e)
	w := layer.NewParam("w", []int{1}, func(*rand.Rand, []float32) {})
	if err := layer.Materialise(s, "cpu", 1, []*layer.Param{w}); err != nil {
		t.Fatal(err)
	}
	o, err := NewSGD(e, SGDConfig{}, []*layer.Param{w})
	if err != nil {
		t.Fatal(err)
	}
	defer o.Close()
	if _, err := take(s, o, 0.1); err == nil || errors.Is(err, errUnmoved) {
		t.Error("no error")
	}
}
