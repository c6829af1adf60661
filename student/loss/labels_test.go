package loss

import (
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"facepipe/student/torch"
	"facepipe/student/torch/torchtest"
)

// lengths are those of the problem's embeddings.
func lengths(p problem) []float64 {
	l := make([]float64, p.n)
	for i := range l {
		l[i] = norm(p.student[i*p.d : (i+1)*p.d])
	}
	return l
}

func norm(v []float64) float64 { return math.Sqrt(inner(v, v)) }

// labelsEnv is a run with so many identities.
func labelsEnv(people, dim int) Env {
	return Env{Device: "cpu", Dim: dim, OwnDim: dim, Classes: people, Seed: 3}
}

// labelsOf makes a loss on labels, with its values.
func labelsOf(t *testing.T, s *torch.Scope, c Config, env Env) *Objective {
	t.Helper()
	o, err := New(c, env)
	if err != nil {
		t.Fatal(err)
	}
	materialise(t, s, o)
	for _, p := range o.Params() { // let no bias be zero
		if len(p.Shape) == 1 {
			v := make([]float32, p.Elements())
			for i := range v {
				v[i] = float32(i) / 10
			}
			s.Engine().NoGrad(func() { s.Copy(p.Tensor(), torch.FromData(s, "cpu", v, len(v))) })
		}
	}
	return o
}

// plainEntropy is the mean cross-entropy of labelled samples over some classes, in plain
// numbers. logit gives that of a sample and a class.
func plainEntropy(labels []int32, rows []int64, logit func(i, k int, own bool) float64) float64 {
	sum, n := 0.0, 0
	for i, y := range labels {
		if y < 0 {
			continue
		}
		total, target := 0.0, 0.0
		for _, k := range rows {
			z := logit(i, int(k), k == int64(y))
			if total += math.Exp(z); k == int64(y) {
				target = z
			}
		}
		sum, n = sum+math.Log(total)-target, n+1
	}
	return sum / float64(n)
}

// byHand are the losses on labels in plain numbers, with the lengths of all samples and the
// settings that TestLabelsByHand gives them.
type byHand struct{ mean, deviation float64 }

func (h *byHand) loss(name string, p problem, weight, bias []float64, rows []int64) float64 {
	length, d := lengths(p), p.d
	product := func(i, k int) float64 { return inner(p.student[i*d:(i+1)*d], weight[k*d:(k+1)*d]) }
	cosine := func(i, k int) float64 { return product(i, k) / length[i] / norm(weight[k*d:(k+1)*d]) }
	switch name {
	case "softmax":
		return plainEntropy(p.labels, rows, func(i, k int, _ bool) float64 { return product(i, k) + bias[k] })
	case "cosface", "arcface":
		return plainEntropy(p.labels, rows, func(i, k int, own bool) float64 {
			switch {
			case !own:
				return 4 * cosine(i, k)
			case name == "cosface":
				return 4 * (cosine(i, k) - 0.35)
			}
			return 4 * math.Cos(math.Acos(cosine(i, k))+0.5)
		})
	case "adaface":
		var known []float64
		for i, y := range p.labels {
			if y >= 0 {
				known = append(known, math.Min(math.Max(length[i], 0.001), 100))
			}
		}
		mean := 0.0
		for _, v := range known {
			mean += v / float64(len(known))
		}
		h.mean = 0.3*mean + 0.7*h.mean
		if len(known) > 1 {
			square := 0.0
			for _, v := range known {
				square += (v - mean) * (v - mean)
			}
			h.deviation = 0.3*math.Sqrt(square/float64(len(known)-1)) + 0.7*h.deviation
		}
		return plainEntropy(p.labels, rows, func(i, k int, own bool) float64 {
			c := math.Min(math.Max(cosine(i, k), -0.999), 0.999)
			if !own {
				return 4 * c
			}
			q := 0.333 * (math.Min(math.Max(length[i], 0.001), 100) - h.mean) / (h.deviation + 0.001)
			q = math.Min(math.Max(q, -1), 1)
			theta := math.Min(math.Max(math.Acos(c)-0.4*q, 0.001), math.Pi-0.001)
			return 4 * (math.Cos(theta) - (0.4 + 0.4*q))
		})
	}
	clipped := func(i int) float64 { return math.Min(math.Max(length[i], 2), 4) }
	entropy := plainEntropy(p.labels, rows, func(i, k int, own bool) float64 {
		c := cosine(i, k)
		if !own || c <= 0 {
			return 4 * c
		}
		m := 0.45 + 0.35/2*(clipped(i)-2)
		return 4 * (c*math.Cos(m) - math.Sqrt(1-c*c)*math.Sin(m))
	})
	g, n := 0.0, 0.0
	for i, y := range p.labels {
		if y >= 0 {
			g, n = g+clipped(i)/16+1/clipped(i), n+1
		}
	}
	return entropy + 35*g/n
}

// labelLosses are the losses on labels with the settings that byHand has.
var labelLosses = map[string]string{
	"softmax": "sample: 1",
	"arcface": "margin: {scale: 4, gradient: exact}",
	"cosface": "margin: {scale: 4}",
	"adaface": "{margin: {scale: 4}, adaface: {t_alpha: 0.3}}",
	"magface": "magface: {scale: 4, l_a: 2, u_a: 4}",
}

// trainedNumbers are the vectors and the numbers of a loss on labels, in plain numbers.
func trainedNumbers(s *torch.Scope, o *Objective) (weight, bias []float64) {
	all := [2][]float64{}
	for i, p := range o.Params() {
		for _, v := range s.Floats(p.Tensor()) {
			all[i] = append(all[i], float64(v))
		}
	}
	return all[0], all[1]
}

// What each loss on labels comes to, step by step, is what plain numbers do, over all classes
// and over those that are sampled.
func TestLabelsByHand(t *testing.T) {
	e := torchtest.Open(t)
	const people, d = 40, 8
	for name, section := range labelLosses {
		for _, sample := range []float64{1, 0.5} {
			s := torchtest.Scope(t, e)
			c := config(t, name, section)
			tuneTo(t, &c, fmt.Sprintf("sample: %g", sample))
			o := labelsOf(t, s, c, labelsEnv(people, d))
			weight, bias := trainedNumbers(s, o)
			plain := &byHand{20, 100}
			for step := range 4 {
				p := newProblem(uint64(step), []int{6, 1, 9, 12}[step], d)
				for i := range p.labels {
					p.labels[i] = int32((7*i + step) % people)
				}
				if p.n > 2 {
					p.labels[1], p.labels[2] = -1, p.labels[0]
				}
				p.step = step
				rows := make([]int64, people)
				for i := range rows {
					rows[i] = int64(i)
				}
				if sample < 1 {
					var known []int64
					for _, y := range p.labels {
						if y >= 0 {
							known = append(known, int64(y))
						}
					}
					rows = (&classes{count: people, drawn: people / 2, seed: 3}).draw(known, step)
				}
				value, parts := o.Step(s, p.batch(s, torch.FromData(s, "cpu", p.student, p.n, p.d)))
				got, want := s.Scalar(value), plain.loss(name, p, weight, bias, rows)
				if s.Err() != nil || math.Abs(got-want) > 1e-9*math.Abs(want) {
					t.Errorf("%s, sample %g, step %d: %g, %v, want %g", name, sample, step, got, s.Err(), want)
				}
				n := parts["sampled"].Value + parts[name+".sampled"].Value
				if (sample < 1) != (n == people/2) {
					t.Errorf("%s, sample %g: %g classes", name, sample, n)
				}
			}
		}
	}
}

// Gradients of the vectors and numbers, sampled ones too, agree with central differences.
func TestLabelsGradientOfClasses(t *testing.T) {
	e := torchtest.Open(t)
	const eps = 1e-2 // the parameters are single precision
	for name, section := range labelLosses {
		for _, sample := range []float64{1, 0.5} {
			c := config(t, name, section)
			tuneTo(t, &c, fmt.Sprintf("sample: %g", sample))
			p := newProblem(4, 6, 4)
			run := func(param, at int, delta float32) (float64, []float32) {
				s := torchtest.Scope(t, e)
				o := labelsOf(t, s, c, labelsEnv(10, p.d))
				for i, x := range o.Params() {
					v := s.Floats(x.Tensor())
					for k := range v {
						v[k] *= 100 // centres are as long as steps are short
					}
					if i == param {
						v[at] += delta
					}
					e.NoGrad(func() { s.Copy(x.Tensor(), torch.FromData(s, "cpu", v, x.Shape...)) })
				}
				value, _ := o.Step(s, p.batch(s, torch.FromData(s, "cpu", p.student, p.n, p.d)))
				s.Backward(value)
				x := o.Params()[max(param, 0)]
				if !x.Sparse {
					return s.Scalar(value), s.Floats(x.Gradient(s))
				}
				g := s.ZerosLike(x.Tensor())
				x.WriteBack(s, g, x.Gradient(s))
				return s.Scalar(value), s.Floats(g)
			}
			s := torchtest.Scope(t, e)
			for param := range labelsOf(t, s, c, labelsEnv(10, p.d)).Params() {
				_, analytic := run(param, 0, 0)
				still := 0
				for i, g := range analytic {
					a, _ := run(param, i, eps)
					b, _ := run(param, i, -eps)
					if math.Abs((a-b)/(2*eps)-float64(g)) > 2e-3*(1+math.Abs(float64(g))) {
						t.Errorf("%s, sample %g: gradient %d of %d is %g, differences say %g", name, sample, i, param, g, (a-b)/(2*eps))
					}
					if g == 0 {
						still++
					}
				}
				if want := sample < 1; (still >= len(analytic)/2) != want {
					t.Errorf("%s, sample %g: %d of %d gradients are zero", name, sample, still, len(analytic))
				}
			}
		}
	}
}

func tuneTo(t *testing.T, c *Config, section string) {
	t.Helper()
	d := config(t, c.Name, section)
	c.said = append(slices.Clip(c.said), d.said...)
}

// What is drawn has the batch's identities first and no one twice, depends on the seed and the
// step, and is uniform; micro-batches of a step share what they draw.
func TestDraw(t *testing.T) {
	const count, drawn = 50, 10
	c := &classes{count: count, drawn: drawn, seed: 1}
	times := make([]int, count)
	const steps = 4000
	for step := range steps {
		rows := c.draw([]int64{7, 3, 7}, step)
		if len(rows) != drawn || rows[0] != 3 || rows[1] != 7 {
			t.Fatalf("step %d: %v", step, rows)
		}
		for _, k := range rows {
			times[k]++
		}
		if distinct := slices.Compact(slices.Sorted(slices.Values(rows))); len(distinct) != drawn {
			t.Fatalf("step %d: %v", step, rows)
		}
	}
	for k, n := range times {
		want := float64(steps) * (drawn - 2) / (count - 2)
		if own := k == 3 || k == 7; own != (n == steps) || !own && math.Abs(float64(n)-want) > 5*math.Sqrt(want) {
			t.Errorf("%d was drawn %d times, want %g", k, n, want)
		}
	}
	one := c.draw([]int64{3}, 5)
	if !slices.Equal(one, (&classes{count: count, drawn: drawn, seed: 1}).draw([]int64{3}, 5)) {
		t.Error("the same step draws others")
	}
	if slices.Equal(one, c.draw([]int64{3}, 6)) || slices.Equal(one, (&classes{count: count, drawn: drawn, seed: 2}).draw([]int64{3}, 5)) {
		t.Error("another step or seed draws the same")
	}
	both := slices.Concat(one, c.draw([]int64{4}, 5))
	if n := len(slices.Compact(slices.Sorted(slices.Values(both)))); n > drawn+2 {
		t.Errorf("two micro-batches of a step have %d classes", n)
	}
	many := make([]int64, 12)
	for i := range many {
		many[i] = int64(3 * i)
	}
	if got := c.draw(many, 1); !slices.Equal(got, many) {
		t.Errorf("of a batch of more than are drawn: %v", got)
	}
	for sample, want := range map[float64]int{1: 50, 0.3: 15, 0.0001: 2, 0.999: 50} {
		k, err := newCentres(sample, labelsEnv(count, 4))
		if err != nil || k.drawn != want || k.weight.Sparse != (want < count) {
			t.Errorf("sample %g: %d drawn, %v", sample, k.drawn, err)
		}
	}
}

// Losses that are another one at certain settings.
func TestLabelsThatAreOthers(t *testing.T) {
	e := torchtest.Open(t)
	p := newProblem(6, 7, 8)
	run := func(name, section string) (float64, []float64) {
		return p.value(t, e, func(s *torch.Scope) *Objective { return labelsOf(t, s, config(t, name, section), labelsEnv(9, p.d)) })
	}
	for _, c := range [][4]string{
		{"adaface", "{margin: {scale: 4, margin: 0.3}, adaface: {h: 0}}", "cosface", "margin: {scale: 4, margin: 0.3}"},
		{"magface", "magface: {scale: 4, l_margin: 0.5, u_margin: 0.5, lambda_g: 0, easy_margin: false}", "arcface", "margin: {scale: 4, gradient: exact}"},
		{"magface", "magface: {scale: 4, l_margin: 0.5, u_margin: 0.5, lambda_g: 0, easy_margin: false, gradient: straight-through}", "arcface", "margin: {scale: 4}"},
		{"arcface", "margin: {scale: 4, margin: 0}", "cosface", "margin: {scale: 4, margin: 0}"},
	} {
		v1, g1 := run(c[0], c[1])
		v2, g2 := run(c[2], c[3])
		if math.Abs(v1-v2) > 1e-9 {
			t.Errorf("%s %s is %g, %s %s %g", c[0], c[1], v1, c[2], c[3], v2)
		}
		for i := range g1 {
			if math.Abs(g1[i]-g2[i]) > 1e-9 {
				t.Errorf("%s %s: gradient %d is %g, want %g", c[0], c[1], i, g1[i], g2[i])
				break
			}
		}
	}
}

// Adaface does not pull at lengths, magface lengthens those that it does not clip.
func TestLabelsAndLengths(t *testing.T) {
	e := torchtest.Open(t)
	p := newProblem(4, 6, 8)
	radial := func(name, section string) (dots []float64) {
		_, g := p.value(t, e, func(s *torch.Scope) *Objective { return labelsOf(t, s, config(t, name, section), labelsEnv(9, p.d)) })
		for i := range p.n {
			dots = append(dots, inner(g[i*p.d:(i+1)*p.d], p.student[i*p.d:(i+1)*p.d]))
		}
		return dots
	}
	for _, dot := range radial("adaface", "{}") {
		if math.Abs(dot) > 1e-9 {
			t.Errorf("adaface: a radial gradient of %g", dot)
		}
	}
	for i, dot := range radial("magface", "magface: {l_a: 2.5, u_a: 100, lambda_g: 1e+4}") {
		if clipped := lengths(p)[i] < 2.5; clipped && math.Abs(dot) > 1e-9 || !clipped && dot >= 0 {
			t.Errorf("magface: length %g has a radial gradient of %g", lengths(p)[i], dot)
		}
	}
}

// Embeddings in half precision give finite losses and gradients near those of full precision,
// at the edges, too: on a centre and opposite to it.
func TestLabelsInHalfPrecision(t *testing.T) {
	e := torchtest.Open(t)
	for name := range labelLosses {
		for _, gradient := range []string{straightThrough, exact} {
			c := config(t, name, fmt.Sprintf("{margin: {gradient: %s}, magface: {gradient: %[1]s}}", gradient))
			for _, dtype := range []torch.DType{torch.Float32, torch.BFloat16, torch.Float16} {
				s := torchtest.Scope(t, e)
				o := labelsOf(t, s, c, labelsEnv(3, 8))
				p := newProblem(4, 6, 8)
				weight, _ := trainedNumbers(s, o)
				for k := range p.d {
					p.student[k], p.student[p.d+k] = 300*weight[k], -300*weight[p.d+k]
				}
				student := s.Detach(s.To(torch.FromData(s, "cpu", p.student, p.n, p.d), dtype))
				s.RequireGrad(student, true)
				value, _ := o.Step(s, p.batch(s, student))
				s.Backward(value)
				if v := s.Scalar(value); s.Err() != nil || math.IsNaN(v) || math.IsInf(v, 0) || v <= 0 {
					t.Errorf("%s, %s, %v: %g, %v", name, gradient, dtype, v, s.Err())
				}
				for _, g := range append(s.Floats(s.Grad(student)), s.Floats(o.Params()[0].Gradient(s))...) {
					if math.IsNaN(float64(g)) || math.IsInf(float64(g), 0) {
						t.Errorf("%s, %s, %v: a gradient is %g", name, gradient, dtype, g)
						break
					}
				}
			}
		}
	}
}

// Running statistics outlive a batch of one, and one without labels.
func TestAdafaceStatistics(t *testing.T) {
	r := running{20, 100}
	r.follow(nil, 0.5)
	r.follow([]float64{10}, 0.5)
	if r != (running{15, 100}) {
		t.Errorf("after a batch of one: %+v", r)
	}
	r.follow([]float64{1, 3}, 0.5)
	if want := (running{8.5, 50 + math.Sqrt2/2}); math.Abs(r.deviation-want.deviation) > 1e-12 || r.mean != want.mean {
		t.Errorf("after a batch of two: %+v, want %+v", r, want)
	}
}

// The word of older files for the exact gradient is read, and written no more.
func TestGradientsOldName(t *testing.T) {
	for text, key := range map[string]string{
		`{"name": "arcface", "margin": {"gradient": "differentiated"}}`:                          "margin.gradient",
		`{"name": "unified", "classifier": "arcface", "margin": {"gradient": "differentiated"}}`: "margin.gradient",
		`{"name": "magface", "magface": {"gradient": "differentiated"}}`:                         "magface.gradient",
		`{"name": "margindistill", "margindistill": {"gradient": "differentiated"}}`:             "margindistill.gradient",
		`{"name": "adaface", "margin": {"gradient": "differentiated"}}`:                          "adaface.margin.gradient",
		`{"name": "proxyless", "margin": {"gradient": "differentiated"}}`:                        "proxyless.margin.gradient",
		`{"name": "adadistill", "margin": {"gradient": "differentiated"}}`:                       "adadistill.margin.gradient",
		`{"name": "kd", "margin": {"gradient": "differentiated"}}`:                               "kd.margin.gradient",
		`{"name": "gkd", "margin": {"gradient": "differentiated"}}`:                              "gkd.margin.gradient",
		`{"name": "snn", "margin": {"gradient": "differentiated"}}`:                              "snn.margin.gradient",
	} {
		var c Config
		if err := json.Unmarshal([]byte(text), &c); err != nil {
			t.Fatal(err)
		}
		if got := section(t, c, key); got != `"exact"` {
			t.Errorf("%s is read as %s", text, got)
		}
	}
}

// A table of many vectors takes no longer in a step than the rows that it looks at.
func TestSampledGradientIsSmall(t *testing.T) {
	e := torchtest.Open(t)
	s := torchtest.Scope(t, e)
	o := labelsOf(t, s, config(t, "arcface", "sample: 0.01"), labelsEnv(5000, 8))
	p := newProblem(4, 6, 8)
	rng := rand.New(rand.NewPCG(1, 2))
	for i := range p.labels {
		p.labels[i] = rng.Int32N(5000)
	}
	value, _ := o.Step(s, p.batch(s, torch.FromData(s, "cpu", p.student, p.n, p.d)))
	s.Backward(value)
	if shape := s.Shape(o.Params()[0].Gradient(s)); !slices.Equal(shape, []int{50, 8}) || !s.Grad(o.Params()[0].Tensor()).IsNone() {
		t.Errorf("the gradient has shape %v", shape)
	}
}
