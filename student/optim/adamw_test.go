package optim

import (
	"errors"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"facepipe/student/net/layer"
	"facepipe/student/torch"
	"facepipe/student/torch/torchtest"
)

func adamW(betas ...float64) Config {
	return Config{Name: AdamWName, SGDConfig: SGDConfig{WeightDecay: 0.1, Clip: 3}, AdamWConfig: AdamWConfig{Betas: betas, Eps: 1e-3}}
}

// adamWByHand takes the t-th step on plain numbers, which all decay or none, with the
// gradient p².
func adamWByHand(c Config, p, m, v []float64, t int, rate, decay float64) (length float64) {
	for _, x := range p {
		length += x * x * x * x
	}
	length = math.Sqrt(length)
	clip := 1.0
	if c.Clip > 0 {
		clip = min(1, c.Clip/length)
	}
	b1, b2 := c.Betas[0], c.Betas[1]
	for i := range p {
		g := p[i] * p[i] * clip
		m[i] = b1*m[i] + (1-b1)*g
		v[i] = b2*v[i] + (1-b2)*g*g
		p[i] -= rate * decay * p[i]
		p[i] -= rate * m[i] / (1 - math.Pow(b1, float64(t))) / (math.Sqrt(v[i]/(1-math.Pow(b2, float64(t)))) + c.Eps)
	}
	return length
}

// steps takes two steps from drawn numbers by an optimizer, and by hand.
func adamWSteps(t *testing.T, e *torch.Engine, device string, c Config, decays bool, between func(*torch.Scope, *AdamW, *layer.Param) *AdamW) (p []float32, state [][]float32) {
	t.Helper()
	s := torchtest.Scope(t, e)
	const n = 50_003
	w := layer.NewParam("w", []int{n}, func(rng *rand.Rand, data []float32) {
		for i := range data {
			data[i] = float32(rng.NormFloat64())
		}
	})
	w.Decay = decays
	if err := layer.Materialise(s, device, 1, []*layer.Param{w}); err != nil {
		t.Fatal(err)
	}
	o, err := NewAdamW(e, c, []*layer.Param{w})
	if err != nil {
		t.Fatal(err)
	}
	want, m, v := make([]float64, n), make([]float64, n), make([]float64, n)
	for i, x := range s.Floats(w.Tensor()) {
		want[i] = float64(x)
	}
	decay := 0.0
	if decays {
		decay = c.WeightDecay
	}
	for step := range 3 {
		y := w.Tensor() // the loss Σ p³/3 has the gradient p²
		s.Backward(s.Scale(s.Sum(s.Mul(y, s.Mul(y, y))), 1.0/3))
		length, err := take(s, o, 0.05)
		if by := adamWByHand(c, want, m, v, step+1, 0.05, decay); err != nil || math.Abs(length/by-1) > 1e-5 {
			t.Fatalf("gradient of length %g, want %g, %v", length, by, err)
		}
		o = between(s, o, w)
	}
	defer o.Close()
	p = s.Floats(w.Tensor())
	for _, k := range o.State(w) {
		state = append(state, s.Floats(k.Tensor))
	}
	for i := range want {
		if math.Abs(float64(p[i])-want[i]) > 3e-5 || math.Abs(float64(state[0][i])-m[i]) > 1e-6 || math.Abs(float64(state[1][i])-v[i]) > 1e-6 {
			t.Fatalf("value %d is %g with moments %g and %g, want %g, %g and %g", i, p[i], state[0][i], state[1][i], want[i], m[i], v[i])
		}
	}
	return p, state
}

func same(_ *torch.Scope, o *AdamW, _ *layer.Param) *AdamW { return o }

// The steps are those of the formula, with decay and without, on any number of threads, and
// from a copy of the state, which is all that there is.
func TestAdamWMatchesFormula(t *testing.T) {
	e := torchtest.Open(t)
	torchtest.OnDevices(t, e, func(t *testing.T, device string) {
		before := e.Threads()
		t.Cleanup(func() { e.SetThreads(before) })
		c := adamW(0.9, 0.99)
		copied := func(s *torch.Scope, o *AdamW, w *layer.Param) *AdamW {
			again, err := NewAdamW(e, c, []*layer.Param{w})
			if err != nil {
				t.Fatal(err)
			}
			for _, p := range []*layer.Param{w, nil} {
				for i, k := range o.State(p) {
					s.Copy(again.State(p)[i].Tensor, torch.FromData(s, device, s.Floats(k.Tensor), k.Shape...))
				}
			}
			o.Close()
			return again
		}
		adamWSteps(t, e, device, adamW(0, 0.5), false, same)
		e.SetThreads(1)
		p1, s1 := adamWSteps(t, e, device, c, true, same)
		e.SetThreads(3)
		p3, s3 := adamWSteps(t, e, device, c, true, copied)
		if !slices.Equal(p1, p3) || !slices.EqualFunc(s1, s3, slices.Equal) {
			t.Error("one thread, and three with another optimizer after every step, give other bits")
		}
	})
}

// A gradient that is not finite moves nothing, counts for nothing and stays.
func TestAdamWNotFinite(t *testing.T) {
	e := torchtest.Open(t)
	torchtest.OnDevices(t, e, func(t *testing.T, device string) {
		s := torchtest.Scope(t, e)
		w := layer.NewParam("w", []int{2}, func(_ *rand.Rand, data []float32) { data[0], data[1] = 1, 2 })
		if err := layer.Materialise(s, device, 1, []*layer.Param{w}); err != nil {
			t.Fatal(err)
		}
		o, err := New(e, adamW(0.9, 0.999), []*layer.Param{w})
		if err != nil {
			t.Fatal(err)
		}
		defer o.Close()
		if _, err := take(s, o, 0.1); err == nil || errors.Is(err, errUnmoved) {
			t.Error("no error without a gradient")
		}
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
		state := append(o.State(w), o.State(nil)...)
		if len(state) != 3 {
			t.Fatalf("%d tensors", len(state))
		}
		for _, k := range state {
			if v := s.Floats(k.Tensor); slices.ContainsFunc(v, func(x float32) bool { return x != 0 }) {
				t.Errorf("%s is %v", k.Name, v)
			}
		}
		if p := s.Floats(w.Tensor()); p[0] != 1 || p[1] != 2 {
			t.Errorf("moved to %v", p)
		}
	})
}

func TestConfig(t *testing.T) {
	open := Config{SGDConfig: SGDConfig{WeightDecay: -1}, AdamWConfig: DefaultAdamW()}
	if c := open.Usual(SGDName); c.Name != SGDName || c.WeightDecay != 5e-4 {
		t.Errorf("%+v", c)
	}
	if c := open.Usual(AdamWName); c.Name != AdamWName || c.WeightDecay != 0.05 {
		t.Errorf("%+v", c)
	}
	chosen := open
	chosen.Name, chosen.WeightDecay = SGDName, 0
	if c := chosen.Usual(AdamWName); c.Name != SGDName || c.WeightDecay != 0 {
		t.Errorf("%+v", c)
	}
	if err := open.Validate(); err != nil {
		t.Error(err)
	}
	for name, spoil := range map[string]func(*Config){
		"name":       func(c *Config) { c.Name = "lion" },
		"one beta":   func(c *Config) { c.Betas = []float64{0.9} },
		"beta of 1":  func(c *Config) { c.Betas = []float64{0.9, 1} },
		"no beta":    func(c *Config) { c.Betas = []float64{math.NaN(), 0.9} },
		"eps of 0":   func(c *Config) { c.Eps = 0 },
		"no eps":     func(c *Config) { c.Eps = math.NaN() },
		"infinitely": func(c *Config) { c.Eps = math.Inf(1) },
	} {
		c := open
		spoil(&c)
		if c.Validate() == nil {
			t.Errorf("%s: no error", name)
		}
	}
}
