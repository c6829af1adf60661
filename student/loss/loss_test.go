package loss

import (
	"cmp"
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"facepipe/student/net/layer"
	"facepipe/student/torch"
	"facepipe/student/torch/torchtest"
)

// problem is a small batch in double precision.
type problem struct {
	n, d             int
	student, teacher []float64
	samples          []int64
	labels           []int32
	step             int
}

func newProblem(seed uint64, n, d int) problem {
	rng := rand.New(rand.NewPCG(seed, 1))
	p := problem{n: n, d: d, step: 5000}
	for range n * d {
		p.student = append(p.student, rng.NormFloat64())
		p.teacher = append(p.teacher, rng.NormFloat64())
	}
	for i := range n {
		p.samples = append(p.samples, int64(i))
		p.labels = append(p.labels, int32(i%3))
	}
	return p
}

// batch is the problem with a student's embeddings in the engine.
func (p problem) batch(s *torch.Scope, student torch.Tensor) Batch {
	usable := make([]float32, len(p.teacher))
	for i, v := range p.teacher {
		usable[i] = float32(v)
	}
	return Batch{Student: student, Teacher: torch.FromData(s, "cpu", p.teacher, p.n, p.d), Usable: Usable(usable, p.n),
		Samples: p.samples, Labels: p.labels, Step: p.step}
}

// view is the problem as a term sees it.
func (p problem) view(s *torch.Scope) *view {
	return &view{Batch: p.batch(s, torch.FromData(s, "cpu", p.student, p.n, p.d)), s: s}
}

// value runs a fresh copy of a loss, prepared by ready, on the problem. It returns
// the loss and its gradient with respect to the student's embeddings.
func (p problem) value(t *testing.T, e *torch.Engine, build func(*torch.Scope) *Objective) (float64, []float64) {
	t.Helper()
	s := torchtest.Scope(t, e)
	l := build(s)
	student := torch.FromData(s, "cpu", p.student, p.n, p.d)
	s.RequireGrad(student, true)
	value, _ := l.Step(s, p.batch(s, student))
	v := s.Scalar(value)
	s.Backward(value)
	return v, torch.ToData[float64](s, s.Grad(student))
}

// builder makes a loss whose bank already holds another batch of the same size.
func builder(t *testing.T, c Config, d int) func(*torch.Scope) *Objective {
	return func(s *torch.Scope) *Objective {
		l, err := New(c, testEnv(d))
		if err != nil {
			t.Fatal(err)
		}
		materialise(t, s, l)
		before := newProblem(99, 12, d)
		for i := range before.samples {
			before.samples[i] += 100
		}
		// Students near their teachers, so that errors fall on both sides of β and δ.
		for i := range before.student {
			before.student[i] = before.teacher[i] + 0.3*before.student[i]
		}
		before.step = 0
		l.Step(s, before.batch(s, torch.FromData(s, "cpu", before.student, 12, d)))
		return l
	}
}

// config is a loss with settings, written as in a config.
func config(t testing.TB, name, section string) Config {
	t.Helper()
	c := Config{Name: name}
	if err := yaml.Unmarshal([]byte(section), &c); err != nil {
		t.Fatal(err)
	}
	return c
}

// allLosses are the configurations that every property is checked on: each loss of the
// registry, and those of the unified one. Banks are small enough to fill, margins are
// differentiated exactly.
func allLosses(t testing.TB) map[string]Config {
	t.Helper()
	tuned := map[string]string{
		"arcface": "margin: {scale: 4, gradient: exact}",
		"cosface": "margin: {scale: 4}",
		"triplet": "triplet: {alpha: 2}",
		"ekd":     "ekd: {temperature: 0.2, hardest: 4}",
		"hfc":     "hardness_weights: differentiated",
		"adaface": "margin: {scale: 4}",
		"magface": "magface: {scale: 4, l_a: 1, u_a: 6}",
	}
	maps.Copy(tuned, tunedClasses)
	all := map[string]Config{}
	for _, name := range Names() {
		all[name] = config(t, name, tuned[name])
	}
	all["triplet of angles"] = config(t, "triplet", "triplet: {alpha: 2, distance: arccos}")
	all["ekd from the first"] = config(t, "ekd", "ekd: {temperature: 0.2, hardest: 4, start: first}")
	all["ekd unbiased"] = config(t, "ekd", "ekd: {temperature: 0.2, hardest: 4, start: unbiased}")
	for _, name := range []string{"softmax", "arcface", "adaface", "magface"} {
		all["sampled "+name] = config(t, name, "{sample: 0.5, "+cmp.Or(tuned[name], "name: "+name)+"}")
	}
	for name, section := range map[string]string{
		"unified":               "{}",
		"unified topk":          "iled: {mode: topk}",
		"unified softmax":       "iled: {mode: softmax}",
		"unified student bank":  "rpsd: {relation: student}",
		"unified no bank":       "rpsd: {bank: 0}",
		"unified with arcface":  "{classifier: arcface, margin: {gradient: exact}}",
		"unified small beta":    "rpsd: {beta: 0.01}",
		"unified keeping all δ": "rpsd: {delta: 0}",
		"unified neighbours":    "rpsd: {pool: neighbours}",
		"unified centres":       "rpsd: {positives_from: centres}",
		"unified without bank":  "rpsd: {pool: neighbours, positives_from: centres, proxies: classifier}",
		"unified quality":       "{iled: {quality: norm, schedule: {from: 0.5}}, rpsd: {schedule: {to: 0, begin: 1, end: 1, shape: cosine}}}",
	} {
		c := config(t, "unified", "{iled: {warmup: 0}, rpsd: {bank: 12, negatives: 6, positives: 2, ramp: 0}}")
		if err := yaml.Unmarshal([]byte(section), &c); err != nil {
			t.Fatal(err)
		}
		all[name] = c
	}
	addClassLosses(t, all)
	return all
}

// directional are those of allLosses that look at directions only.
func directional(t testing.TB) map[string]Config {
	all := allLosses(t)
	maps.DeleteFunc(all, func(name string, _ Config) bool {
		return slices.Contains([]string{"l2", "rkd"}, name) || slices.ContainsFunc([]string{"softmax", "adaface", "magface"},
			func(byLength string) bool { return strings.HasSuffix(name, byLength) })
	})
	return all
}

// The analytic gradient of every loss agrees with central differences. What is
// chosen without a gradient (weights, mined pairs) has no kink at this point, but
// its weights and EKD's anchors do move with the student; so ILED's weights are held by
// comparing at the first batch's statistics through a step small enough not to reach them,
// and the anchors by a momentum of 0.
func TestGradientsByFiniteDifferences(t *testing.T) {
	e := torchtest.Open(t)
	const eps = 1e-6
	for name, c := range allLosses(t) {
		t.Run(name, func(t *testing.T) {
			p := newProblem(3, 5, 8)
			if name == "icd" {
				p.labels = []int32{0, -1, 1, -1, 2} // pairs of the batch have a gradient at one end only
			}
			if c.Name == "adadistill" {
				p.turnAway() // so that the centres do not depend on the student
			}
			build := builder(t, c, p.d)
			frozen := frozenWeights(t, e, p, build)
			_, analytic := p.value(t, e, frozen)
			worst := 0.0
			for i := range p.student {
				at := func(delta float64) float64 {
					q := p
					q.student = append([]float64(nil), p.student...)
					q.student[i] += delta
					v, _ := q.value(t, e, frozen)
					return v
				}
				numeric := (at(eps) - at(-eps)) / (2 * eps)
				worst = max(worst, math.Abs(numeric-analytic[i]))
			}
			if worst > 2e-6 { // loss values reach 30, so differences keep about 9 digits
				t.Errorf("largest difference between numeric and analytic gradient: %g", worst)
			}
		})
	}
}

// frozenWeights wraps build so that ILED's weights and adaface's q stay what they are at p, and
// EKD's anchors what they are.
func frozenWeights(t *testing.T, e *torch.Engine, p problem, build func(*torch.Scope) *Objective) func(*torch.Scope) *Objective {
	t.Helper()
	s := torchtest.Scope(t, e)
	first := build(s).terms[0].term
	if _, ok := first.(*ekd); ok {
		return func(s *torch.Scope) *Objective {
			o := build(s)
			o.terms[0].term.(*ekd).c.Momentum = 0
			return o
		}
	}
	if a, ok := first.(*adaface); ok {
		q := a.qualities(lengths(p))
		return func(s *torch.Scope) *Objective {
			o := build(s)
			o.terms[0].term.(*adaface).fixed = q
			return o
		}
	}
	u, ok := first.(*unified)
	if !ok {
		return build
	}
	d := s.To(p.view(s).distance(), torch.Float64)
	u.iled.observe(s, d)
	weights := torch.ToData[float64](s, u.iled.weights(s, d, p.samples, p.step))
	return func(s *torch.Scope) *Objective {
		o := build(s)
		o.terms[0].term.(*unified).iled.fixed = weights
		return o
	}
}

// s_i · dL/ds_i = 0.
func TestGradientIsOrthogonalToEmbedding(t *testing.T) {
	e := torchtest.Open(t)
	for name, c := range directional(t) {
		p := newProblem(4, 6, 8)
		_, g := p.value(t, e, builder(t, c, p.d))
		for i := range p.n {
			dot := 0.0
			for k := range p.d {
				dot += p.student[i*p.d+k] * g[i*p.d+k]
			}
			if math.Abs(dot) > 1e-9 {
				t.Errorf("%s: embedding %d has a radial gradient of %g", name, i, dot)
			}
		}
	}
}

func TestPositiveScalingLeavesLoss(t *testing.T) {
	e := torchtest.Open(t)
	for name, c := range directional(t) {
		p := newProblem(5, 6, 8)
		want, _ := p.value(t, e, builder(t, c, p.d))
		for i := range p.student {
			p.student[i] *= 1 + float64(i/p.d)
		}
		if got, _ := p.value(t, e, builder(t, c, p.d)); math.Abs(got-want) > 1e-9 {
			t.Errorf("%s: scaled embeddings give %g, want %g", name, got, want)
		}
	}
}

func TestBatchPermutationLeavesLoss(t *testing.T) {
	e := torchtest.Open(t)
	for name, c := range allLosses(t) {
		p := newProblem(6, 6, 8)
		want, _ := p.value(t, e, builder(t, c, p.d))
		q := p
		q.student, q.teacher, q.samples, q.labels = nil, nil, nil, nil
		for _, i := range []int{3, 0, 5, 1, 4, 2} {
			q.student = append(q.student, p.student[i*p.d:(i+1)*p.d]...)
			q.teacher = append(q.teacher, p.teacher[i*p.d:(i+1)*p.d]...)
			q.samples, q.labels = append(q.samples, p.samples[i]), append(q.labels, p.labels[i])
		}
		if got, _ := q.value(t, e, builder(t, c, q.d)); math.Abs(got-want) > 1e-7 { // the bank keeps float32
			t.Errorf("%s: permuted batch gives %g, want %g", name, got, want)
		}
	}
}

// A student that equals its teacher has nothing to learn.
func TestPerfectStudentHasZeroLoss(t *testing.T) {
	e := torchtest.Open(t)
	for name, c := range allLosses(t) {
		if c.Needs("")&TeacherEmbedding == 0 || name == "unified with arcface" || learnsLabels(name) {
			continue
		}
		if slices.Contains([]string{"unified student bank", "icd", "darkrank"}, name) {
			continue // it holds imperfect students; a likelihood of orders is below 1
		}
		if c.Name == "triplet" || c.Name == "ekd" {
			continue // margins are left to a perfect student; anchors are of imperfect ones
		}
		p := newProblem(7, 6, 8)
		copy(p.student, p.teacher)
		v, g := p.value(t, e, builder(t, c, p.d))
		if math.Abs(v) > 1e-7 { // the bank keeps float32
			t.Errorf("%s: loss %g", name, v)
		}
		for _, x := range g {
			if math.Abs(x) > 1e-6 {
				t.Errorf("%s: gradient %g", name, x)
				break
			}
		}
	}
}

// Rotating all students leaves what compares students with students, and changes
// what compares students with teachers.
func TestRotation(t *testing.T) {
	e := torchtest.Open(t)
	p := newProblem(8, 6, 2)
	rotated := p
	rotated.student = make([]float64, len(p.student))
	sin, cos := math.Sincos(0.7)
	for i := range p.n {
		x, y := p.student[2*i], p.student[2*i+1]
		rotated.student[2*i], rotated.student[2*i+1] = cos*x-sin*y, sin*x+cos*y
	}
	inBatch := func(p problem) float64 {
		s := torchtest.Scope(t, e)
		of := p.view(s)
		return s.Scalar(newRPSD(rpsdDefaults, 2).batchTerm(s, of, columnsOf(s, of.unit()).samples))
	}
	if a, b := inBatch(p), inBatch(rotated); math.Abs(a-b) > 1e-12 {
		t.Errorf("in-batch RPSD moved from %g to %g", a, b)
	}
	for name, c := range map[string]Config{"cosine": {Name: "cosine"}, "cross bank": allLosses(t)["unified"]} {
		a, _ := p.value(t, e, builder(t, c, 2))
		if b, _ := rotated.value(t, e, builder(t, c, 2)); math.Abs(a-b) < 1e-3 {
			t.Errorf("%s did not notice the rotation (%g, %g)", name, a, b)
		}
	}
}

// |ŝ - t̂|² = 2 (1 - c).
func TestUnitL2IsTwiceCosine(t *testing.T) {
	e := torchtest.Open(t)
	p := newProblem(9, 6, 8)
	normalise(p.student, p.n)
	normalise(p.teacher, p.n)
	cos, _ := p.value(t, e, builder(t, Config{Name: "cosine"}, p.d))
	l2, _ := p.value(t, e, builder(t, Config{Name: "l2"}, p.d))
	if got := l2 * float64(p.d); math.Abs(got-2*cos) > 1e-9 { // l2 is the mean over elements
		t.Errorf("unit L2 is %g, 2·cosine %g", got, 2*cos)
	}
}

func normalise(v []float64, n int) {
	d := len(v) / n
	for i := range n {
		sum := 0.0
		for _, x := range v[i*d : (i+1)*d] {
			sum += x * x
		}
		for k := range d {
			v[i*d+k] /= math.Sqrt(sum)
		}
	}
}

// The two ways to differentiate arcface's margin give the same loss and different
// gradients.
func TestMarginGradients(t *testing.T) {
	e := torchtest.Open(t)
	p := newProblem(10, 6, 8)
	run := func(gradient string) (float64, []float64) {
		return p.value(t, e, builder(t, config(t, "arcface", "margin: {scale: 4, gradient: "+gradient+"}"), p.d))
	}
	v1, g1 := run("straight-through")
	v2, g2 := run("exact")
	if math.Abs(v1-v2) > 1e-12 {
		t.Errorf("losses %g and %g differ", v1, v2)
	}
	apart := 0.0
	for i := range g1 {
		apart = max(apart, math.Abs(g1[i]-g2[i]))
	}
	if apart < 1e-3 {
		t.Error("the gradients do not differ")
	}
}

// Bad rows are left out and counted; nothing turns into NaN.
func TestDegenerateBatches(t *testing.T) {
	e := torchtest.Open(t)
	directions := directional(t)
	for name, c := range allLosses(t) {
		for what, spoil := range map[string]func(*problem){
			"teacher NaN":   func(p *problem) { p.teacher[0] = math.NaN() },
			"endless":       func(p *problem) { p.teacher[0] = math.Inf(1) },
			"teacher zero":  func(p *problem) { clear(p.teacher[:p.d]) },
			"no teacher":    func(p *problem) { clear(p.teacher) },
			"student zero":  func(p *problem) { clear(p.student[:p.d]) },
			"one sample":    func(p *problem) { *p = first(*p, 1) },
			"one identity":  func(p *problem) { clear(p.labels) },
			"no identity":   func(p *problem) { p.labels = []int32{-1, -1, -1, -1, -1} },
			"the same face": func(p *problem) { clear(p.samples) },
		} {
			p := newProblem(11, 5, 8)
			spoil(&p)
			v, g := p.value(t, e, builder(t, c, p.d))
			_, directed := directions[name]
			if math.IsNaN(v) || math.IsInf(v, 0) {
				t.Errorf("%s, %s: loss %g", name, what, v)
			}
			for i, x := range g {
				if math.IsNaN(x) || (what == "student zero" && directed && i < p.d && x != 0) {
					t.Errorf("%s, %s: gradient %d is %g", name, what, i, x)
					break
				}
			}
		}
	}
}

func first(p problem, n int) problem {
	p.student, p.teacher = p.student[:n*p.d], p.teacher[:n*p.d]
	p.samples, p.labels, p.n = p.samples[:n], p.labels[:n], n
	return p
}

// A loss that is taken apart at a step and put together again goes on the same.
func TestStateRoundTrip(t *testing.T) {
	e := torchtest.Open(t)
	for name, c := range allLosses(t) {
		if err := yaml.Unmarshal([]byte("iled: {trim: 0.9}"), &c); err != nil {
			t.Fatal(err)
		}
		s := torchtest.Scope(t, e)
		build := builder(t, c, 8)
		one := build(s)
		two, err := New(c, testEnv(8))
		if err != nil {
			t.Fatal(err)
		}
		materialise(t, s, two)
		e.NoGrad(func() {
			for i, p := range two.Params() {
				s.Copy(p.Tensor(), one.Params()[i].Tensor())
			}
		})
		if err := two.Restore(s, one.State(s)); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		p := newProblem(12, 5, 8)
		a, ga := p.value(t, e, func(*torch.Scope) *Objective { return one })
		b, gb := p.value(t, e, func(*torch.Scope) *Objective { return two })
		if a != b {
			t.Errorf("%s: %g after the round trip, want %g", name, b, a)
		}
		for i := range ga {
			if ga[i] != gb[i] {
				t.Errorf("%s: gradient %d differs after the round trip", name, i)
				break
			}
		}
	}
}

func TestRestoreRefusesForeignState(t *testing.T) {
	e := torchtest.Open(t)
	s := torchtest.Scope(t, e)
	for name, change := range map[string]func(State){
		"missing":      func(st State) { delete(st, "bank.sample") },
		"other size":   func(st State) { st["bank.teacher"] = Array{Shape: []int{1}, Float32: []float32{1}} },
		"out of range": func(st State) { st["bank.ring"] = Array{Shape: []int{2}, Int64: []int64{13, 0}} },
	} {
		l := builder(t, allLosses(t)["unified"], 8)(s)
		st := l.State(s)
		change(st)
		if err := l.Restore(s, st); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

// materialise gives the parameters of an objective their values.
func materialise(t testing.TB, s *torch.Scope, o *Objective) {
	t.Helper()
	if err := layer.Materialise(s, "cpu", 7, o.Params()); err != nil {
		t.Fatal(err)
	}
}
