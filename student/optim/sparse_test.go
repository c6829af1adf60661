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

// Of a sparse parameter a step moves the rows that it was asked for, all of them by one
// gradient, and nothing else: as the formula does on plain numbers.
func TestSGDOnRows(t *testing.T) {
	e := torchtest.Open(t)
	torchtest.OnDevices(t, e, func(t *testing.T, device string) { onRows(t, e, device) })
}

func onRows(t *testing.T, e *torch.Engine, device string) {
	s := torchtest.Scope(t, e)
	const count, width, rate = 7, 3, 0.05
	fill := func(rng *rand.Rand, data []float32) {
		for i := range data {
			data[i] = float32(rng.NormFloat64())
		}
	}
	table, bias := layer.NewParam("table", []int{count, width}, fill), layer.NewBias("bias", count)
	table.Sparse, bias.Sparse = true, true
	dense := layer.NewParam("dense", []int{2}, fill)
	params := []*layer.Param{table, bias, dense}
	if err := layer.Materialise(s, device, 1, params); err != nil {
		t.Fatal(err)
	}
	c := SGDConfig{Momentum: 0.9, Nesterov: true, WeightDecay: 0.1, Clip: 3}
	o, err := NewSGD(e, c, params)
	if err != nil {
		t.Fatal(err)
	}
	defer o.Close()
	values := func(p *layer.Param) []float64 {
		var v []float64
		for _, x := range s.Floats(p.Tensor()) {
			v = append(v, float64(x))
		}
		return v
	}
	type plain struct {
		p, v, g []float64
		decay   float64
	}
	want := map[*layer.Param]*plain{}
	for _, p := range params {
		want[p] = &plain{p: values(p), v: make([]float64, p.Elements()), decay: c.WeightDecay}
	}
	want[bias].decay = 0
	// backward adds Σ k·x³/3 of rows, which has the gradient k·x², to those of the step.
	backward := func(k float64, rows []int64) {
		inner := e.NewScope()
		defer inner.Close()
		sum := inner.Sum(dense.Tensor())
		for _, p := range []*layer.Param{table, bias} {
			x := p.Rows(inner, rows)
			sum = inner.Add(sum, inner.Scale(inner.Sum(inner.Mul(x, inner.Mul(x, x))), k/3))
			w, d := want[p], p.Elements()/count
			for _, row := range rows {
				for i := int(row) * d; i < (int(row)+1)*d; i++ {
					w.g[i] += k * w.p[i] * w.p[i]
				}
			}
		}
		inner.Backward(sum)
		for i := range want[dense].g {
			want[dense].g[i]++
		}
		if err := inner.Err(); err != nil {
			t.Fatal(err)
		}
	}
	for step, batches := range [][][]int64{{{4, 1}}, {{1, 6, 0}, {0, 2}, {6}}, {{3}}, {{5, 4}, {4, 5}, {1, 4, 2}}} {
		for _, p := range params {
			want[p].g = make([]float64, p.Elements())
		}
		asked := map[int64]bool{}
		for k, rows := range batches {
			backward(float64(k+1), rows)
			for _, row := range rows {
				asked[row] = true
			}
		}
		length, err := take(s, o, rate)
		if err != nil {
			t.Fatal(err)
		}
		square := 0.0
		for _, w := range want {
			for _, g := range w.g {
				square += g * g
			}
		}
		if math.Abs(length/math.Sqrt(square)-1) > 1e-5 {
			t.Errorf("step %d: gradient of length %g, want %g", step, length, math.Sqrt(square))
		}
		for p, w := range want {
			for i := range w.p {
				if p.Sparse && !asked[int64(i*count/p.Elements())] {
					continue
				}
				g := w.g[i]*min(1, c.Clip/math.Sqrt(square)) + w.decay*w.p[i]
				w.v[i] = c.Momentum*w.v[i] + g
				w.p[i] -= rate * (g + c.Momentum*w.v[i])
			}
			got, velocity := s.Floats(p.Tensor()), s.Floats(o.State(p)[0].Tensor)
			for i := range w.p {
				if math.Abs(float64(got[i])-w.p[i]) > 1e-5 || math.Abs(float64(velocity[i])-w.v[i]) > 1e-5 {
					t.Fatalf("step %d: value %d of %s is %g with velocity %g, want %g and %g", step, i, p.Name, got[i], velocity[i], w.p[i], w.v[i])
				}
			}
		}
		if !table.Leaf().IsNone() {
			t.Error("the rows of the step are still there")
		}
	}
	// A step that is given up leaves everything as it is.
	before, velocity := s.Floats(table.Tensor()), s.Floats(o.State(table)[0].Tensor)
	backward(math.Inf(1), []int64{2, 5})
	if _, err := take(s, o, rate); !errors.Is(err, errUnmoved) || table.Gradient(s).IsNone() {
		t.Errorf("%v, the gradient is gone", err)
	}
	o.ClearGradients(s)
	if !slices.Equal(before, s.Floats(table.Tensor())) || !slices.Equal(velocity, s.Floats(o.State(table)[0].Tensor)) || !table.Leaf().IsNone() {
		t.Error("a step that is given up leaves a trace")
	}
}

// AdamW moves the rows of a step as it moves a whole parameter, and no others.
func TestAdamWOnRows(t *testing.T) {
	e := torchtest.Open(t)
	s := torchtest.Scope(t, e)
	fill := func(rng *rand.Rand, data []float32) {
		for i := range data {
			data[i] = float32(rng.NormFloat64())
		}
	}
	sparse, dense := layer.NewParam("centres", []int{4, 2}, fill), layer.NewParam("centres", []int{4, 2}, fill)
	sparse.Sparse = true
	run := func(p *layer.Param, rows []int64) []float32 {
		if err := layer.Materialise(s, "cpu", 1, []*layer.Param{p}); err != nil {
			t.Fatal(err)
		}
		o, err := NewAdamW(e, Config{SGDConfig: SGDConfig{WeightDecay: 0.05}, AdamWConfig: DefaultAdamW()}, []*layer.Param{p})
		if err != nil {
			t.Fatal(err)
		}
		defer o.Close()
		for range 3 {
			inner := e.NewScope()
			x := p.Tensor()
			if p.Sparse {
				x = p.Rows(inner, rows)
			}
			inner.Backward(inner.Sum(inner.Mul(x, inner.Mul(x, x))))
			if inner.Err() != nil {
				t.Fatal(inner.Err())
			}
			inner.Close()
			if _, err := take(s, o, 0.1); err != nil {
				t.Fatal(err)
			}
		}
		return s.Floats(p.Tensor())
	}
	if all, whole := run(sparse, []int64{2, 0, 3, 1}), run(dense, nil); !slices.Equal(all, whole) {
		t.Errorf("all rows come to %v, the whole to %v", all, whole)
	}
	if err := layer.Materialise(s, "cpu", 1, []*layer.Param{dense}); err != nil {
		t.Fatal(err)
	}
	before, after := s.Floats(dense.Tensor()), run(sparse, []int64{3})
	if !slices.Equal(before[:6], after[:6]) || slices.Equal(before[6:], after[6:]) {
		t.Errorf("row 3 alone: from %v to %v", before, after)
	}
}
