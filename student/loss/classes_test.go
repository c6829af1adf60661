package loss

import (
	"errors"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"facepipe/student/torch"
	"facepipe/student/torch/torchtest"
)

// testEnv is a run on three identities that have vectors.
func testEnv(dim int) Env {
	return Env{Device: "cpu", Dim: dim, OwnDim: dim, Classes: 3, Steps: 1000, Seed: 3, Proxies: randomProxies(3, dim),
		Neighbours: randomNeighbours(dim)}
}

// randomProxies gives vectors at random, of no particular length.
func randomProxies(classes, dim int) func(string) (Proxies, error) {
	return func(source string) (Proxies, error) {
		rng := rand.New(rand.NewPCG(uint64(classes), uint64(dim)))
		p := Proxies{Source: source, Dim: dim}
		for range classes * dim {
			p.Vectors = append(p.Vectors, float32(2*rng.NormFloat64()))
		}
		return p, nil
	}
}

// tunedClasses are settings of the losses on classes for the tests of all losses: logits
// that are not so steep.
var tunedClasses = map[string]string{
	"proxyless":     "margin: {scale: 4}",
	"margindistill": "margindistill: {scale: 4}",
	"adadistill":    "margin: {scale: 4}",
	"kd":            "margin: {scale: 4}",
	"gkd":           "{margin: {scale: 4}, gkd: {size: 2}}",
	"snn":           "margin: {scale: 4}",
}

// classContexts are settings on which defaults of these losses depend.
var classContexts = map[string][]string{
	"proxyless":  {"classifier: cosface"},
	"adadistill": {"classifier: cosface", "adadistill: {alpha: plain}"},
	"kd":         {"classifier: none"},
	"snn":        {"classifier: none"},
	"gkd":        {"gkd: {size: 2}"},
}

// addClassLosses adds other settings of them.
func addClassLosses(t testing.TB, all map[string]Config) {
	t.Helper()
	for name, section := range map[string]string{
		"proxyless cosface":     "classifier: cosface",
		"adadistill cosface":    "classifier: cosface",
		"adadistill plain":      "adadistill: {alpha: plain, start: centres}",
		"kd to the vectors":     "classifier: none",
		"kd cosface":            "classifier: cosface",
		"gkd adaptive":          "gkd: {group: adaptive, step: 1, mass: 0.6, secondary: 0.5}",
		"gkd to the vectors":    "{classifier: none, gkd: {secondary: 1}}",
		"gkd of all":            "gkd: {size: 10000, secondary: 1}",
		"snn to the vectors":    "classifier: none",
		"margindistill classes": "proxies: classifier",
	} {
		loss, _, _ := strings.Cut(name, " ")
		c := config(t, loss, tunedClasses[loss])
		if err := yaml.Unmarshal([]byte(section), &c); err != nil {
			t.Fatal(err)
		}
		all[name] = c
	}
}

func isClassLoss(name string) bool {
	loss, _, _ := strings.Cut(name, " ")
	_, ok := tunedClasses[loss]
	return ok
}

// learnsLabels is whether a loss on classes has a part that a student like its teacher does
// not bring to zero.
func learnsLabels(name string) bool {
	return isClassLoss(name) && !strings.HasSuffix(name, " to the vectors")
}

// turnAway has students that point away from their teachers.
func (p *problem) turnAway() {
	for i := range p.student {
		p.student[i] = 0.3*p.student[i] - p.teacher[i]
	}
}

// matrix is what independent implementations compute with: rows of numbers.
type matrix [][]float64

// rowsOf are n rows as unit vectors.
func rowsOf(v []float64, n int) matrix {
	d := len(v) / n
	var rows matrix
	for i := range n {
		rows = append(rows, unitOf(v[i*d:(i+1)*d]))
	}
	return rows
}

func unitOf(v []float64) []float64 {
	length := math.Sqrt(inner(v, v))
	u := make([]float64, len(v))
	for k := range v {
		u[k] = v[k] / length
	}
	return u
}

func inner(a, b []float64) float64 {
	sum := 0.0
	for k := range a {
		sum += a[k] * b[k]
	}
	return sum
}

func clip(v, lo, hi float64) float64 { return max(lo, min(hi, v)) }

// plainLogits are s·cos of each row of x to each of w, lowered at the labels.
func plainLogits(x, w matrix, labels []int32, scale float64, lower func(i int, cosine float64) float64) matrix {
	var z matrix
	for i := range x {
		var row []float64
		for k := range w {
			c := inner(x[i], unitOf(w[k]))
			if int(labels[i]) == k {
				c = lower(i, c)
			}
			row = append(row, scale*c)
		}
		z = append(z, row)
	}
	return z
}

func arc(m float64) func(int, float64) float64 {
	return func(_ int, c float64) float64 { return math.Cos(math.Acos(c) + m) }
}

func cosineLess(m float64) func(int, float64) float64 {
	return func(_ int, c float64) float64 { return c - m }
}

func softmaxOf(z []float64, temperature float64) []float64 {
	p, sum := make([]float64, len(z)), 0.0
	for k := range z {
		p[k] = math.Exp(z[k] / temperature)
		sum += p[k]
	}
	for k := range p {
		p[k] /= sum
	}
	return p
}

func plainCrossEntropy(z matrix, labels []int32) float64 {
	sum := 0.0
	for i := range z {
		sum -= math.Log(softmaxOf(z[i], 1)[labels[i]])
	}
	return sum / float64(len(z))
}

// kl is KL(q|p).
func kl(q, p []float64) float64 {
	sum := 0.0
	for k := range q {
		if q[k] > 0 {
			sum += q[k] * math.Log(q[k]/p[k])
		}
	}
	return sum
}

func testVectors(classes, dim int) matrix {
	p, _ := randomProxies(classes, dim)("centres")
	var rows matrix
	for k := range classes {
		var row []float64
		for _, x := range p.Vectors[k*dim : (k+1)*dim] {
			row = append(row, float64(x))
		}
		rows = append(rows, row)
	}
	return rows
}

// near compares to the digits that a table in float32 leaves.
func near(t *testing.T, what string, got, want float64) {
	t.Helper()
	if !(math.Abs(got-want) <= 2e-6*max(1, math.Abs(want))) {
		t.Errorf("%s is %.9g, want %.9g", what, got, want)
	}
}

// The losses to frozen vectors are what plain Go makes of their formulas.
func TestClassLossesAgainstPlainGo(t *testing.T) {
	e := torchtest.Open(t)
	const classes, d, scale = 7, 8, 6.0
	p := newProblem(21, 10, d)
	for i := range p.labels {
		p.labels[i] = int32(i * 3 % classes)
	}
	for i := range p.student {
		p.student[i] += p.teacher[i]
	}
	student, teacher, w := rowsOf(p.student, p.n), rowsOf(p.teacher, p.n), testVectors(classes, d)
	own := func(m func(int, float64) float64) (zs, zt matrix) {
		return plainLogits(student, w, p.labels, scale, m), plainLogits(teacher, w, p.labels, scale, m)
	}
	zs, zt := own(cosineLess(0))
	most := math.Inf(-1)
	for i, y := range p.labels {
		most = max(most, inner(teacher[i], unitOf(w[y])))
	}
	byTeacher := func(i int, c float64) float64 {
		return math.Cos(math.Acos(c) + (0.5-0.2)/most*inner(teacher[i], unitOf(w[p.labels[i]])) + 0.2)
	}
	soft, square := 0.0, 0.0
	for i := range zs {
		soft += 9 * kl(softmaxOf(zt[i], 3), softmaxOf(zs[i], 3)) / float64(p.n)
		for k := range zs[i] {
			square += (zs[i][k] - zt[i][k]) * (zs[i][k] - zt[i][k]) / float64(p.n*classes)
		}
	}
	for name, c := range map[string]struct {
		section string
		want    float64
	}{
		"proxyless":         {"{name: proxyless, margin: {scale: 6}}", plainCrossEntropy(plainLogits(student, w, p.labels, scale, arc(0.5)), p.labels)},
		"proxyless cosface": {"{name: proxyless, classifier: cosface, margin: {scale: 6}}", plainCrossEntropy(plainLogits(student, w, p.labels, scale, cosineLess(0.35)), p.labels)},
		"margindistill":     {"{name: margindistill, margindistill: {scale: 6}}", plainCrossEntropy(plainLogits(student, w, p.labels, scale, byTeacher), p.labels)},
		"kd":                {"{name: kd, classifier: none, margin: {scale: 6}, kd: {temperature: 3, weight: 2}}", 2 * soft},
		"snn":               {"{name: snn, classifier: none, margin: {scale: 6}, snn: {weight: 0.5}}", square / 2},
	} {
		got, _ := p.value(t, e, wide7(t, c.section, 1000))
		near(t, name, got, c.want)
	}
}

// wide7 makes a loss on seven identities.
func wide7(t *testing.T, section string, steps int) func(*torch.Scope) *Objective {
	return func(s *torch.Scope) *Objective {
		env := testEnv(8)
		env.Classes, env.Proxies, env.Steps = 7, randomProxies(7, 8), steps
		o, err := New(config(t, "", section), env)
		if err != nil {
			t.Fatal(err)
		}
		materialise(t, s, o)
		return o
	}
}

// headOf are the student's own centres as floats.
func headOf(s *torch.Scope, o *Objective, dim int) matrix {
	var rows matrix
	for chunk := range slices.Chunk(s.Floats(o.Params()[0].Tensor()), dim) {
		row := make([]float64, dim)
		for k, x := range chunk {
			row[k] = float64(x)
		}
		rows = append(rows, row)
	}
	return rows
}

// plainGKD is GKD by its formula, in probabilities and without logarithms of sums.
func plainGKD(zs, zt matrix, labels []int32, n int, temperature, binary, primary, secondary float64) float64 {
	total := 0.0
	for i := range zs {
		order := make([]int, len(zs[i]))
		for k := range order {
			order[k] = k
		}
		slices.SortFunc(order, func(a, b int) int {
			switch y := int(labels[i]); {
			case a == y || zs[i][a] > zs[i][b] && b != y:
				return -1
			default:
				return 1
			}
		})
		ps, pt := softmaxOf(zs[i], temperature), softmaxOf(zt[i], temperature)
		side := func(members []int) (p, q float64, within float64) {
			var a, b []float64
			for _, k := range members {
				p, q = p+ps[k], q+pt[k]
			}
			for _, k := range members {
				a, b = append(a, ps[k]/p), append(b, pt[k]/q)
			}
			return p, q, kl(b, a)
		}
		p, q, in := side(order[:n])
		_, _, out := side(order[n:])
		b := 0.0
		if n < len(order) {
			b = kl([]float64{q, 1 - q}, []float64{p, 1 - p})
		}
		total += temperature * temperature * (binary*b + primary*in + secondary*out)
	}
	return total / float64(len(zs))
}

// GKD with groups of both kinds is what plain Go makes of its formula, with the student's own
// centres, at three places of its ramp.
func TestGKDAgainstPlainGo(t *testing.T) {
	e := torchtest.Open(t)
	p := newProblem(22, 6, 8)
	for i := range p.labels {
		p.labels[i] = int32((5 * i) % 7)
	}
	student, teacher := rowsOf(p.student, p.n), rowsOf(p.teacher, p.n)
	for _, c := range []struct {
		section         string
		primary, second float64
		n               func(zs matrix) int
	}{
		{"gkd: {size: 3, secondary: 0.5}", 8, 0.5, func(matrix) int { return 3 }},
		{"gkd: {size: 1}", 8, 0, func(matrix) int { return 1 }},
		{"gkd: {size: 7}", 8, 0, func(matrix) int { return 7 }},
		{"gkd: {group: adaptive, step: 2, mass: 0.8}", 4, 0, func(zs matrix) int {
			sums := make([]float64, 7)
			for i := range zs {
				for k, v := range softmaxOf(zs[i], 1) {
					sums[k] += v
				}
			}
			slices.Sort(sums)
			slices.Reverse(sums)
			for n := 1; n < 7; n += 2 {
				sum := 0.0
				for _, v := range sums[:n] {
					sum += v
				}
				if sum >= 0.8*float64(len(zs)) {
					return n
				}
			}
			return 7
		}},
	} {
		for step, ramp := range map[int]float64{0: 0, 25: 0.25, 400: 1} {
			p.step = step
			var o *Objective
			var own matrix
			got, _ := p.value(t, e, func(s *torch.Scope) *Objective {
				o = wide7(t, "{name: gkd, margin: {scale: 6}}", 200)(s)
				o = wide7(t, strings.Replace("{name: gkd, margin: {scale: 6}, SECTION}", "SECTION", c.section, 1), 200)(s)
				own = headOf(s, o, 8)
				return o
			})
			zs := plainLogits(student, own, p.labels, 6, cosineLess(0.4))
			zt := plainLogits(teacher, testVectors(7, 8), p.labels, 6, cosineLess(0.4))
			want := plainCrossEntropy(zs, p.labels) + ramp*plainGKD(zs, zt, p.labels, c.n(zs), 4, 1, c.primary, c.second)
			near(t, c.section, got, want)
		}
	}
}

// A group that has all of the probability, so that none is left in numbers, leaves no infinite
// figure and no gradient that is no number.
func TestGKDOfCertainGroups(t *testing.T) {
	e := torchtest.Open(t)
	p := newProblem(23, 6, 8)
	for i, y := range p.labels { // students and teachers on their identities' vectors
		copy(p.student[i*8:], testVectors(7, 8)[y])
		copy(p.teacher[i*8:], testVectors(7, 8)[y])
		p.student[i*8] += 0.1
	}
	v, g := p.value(t, e, wide7(t, "{name: gkd, classifier: none, margin: {scale: 20000}, gkd: {size: 1, secondary: 1}}", 0))
	if math.IsNaN(v) || math.IsInf(v, 0) || slices.ContainsFunc(g, math.IsNaN) {
		t.Errorf("loss %g, gradient %v", v, g)
	}
}

// plainAdaDistill moves centres sample by sample and takes the loss.
func plainAdaDistill(student, teacher, w matrix, labels []int32, weighted bool, lower func(int, float64) float64, scale float64) float64 {
	for i, y := range labels {
		alpha := inner(student[i], teacher[i])
		if weighted {
			alpha *= clip(inner(unitOf(w[y]), teacher[i]), 1e-6, 1)
		}
		alpha = clip(alpha, 1e-6, 1)
		for k := range w[y] {
			w[y][k] = alpha*w[y][k] + (1-alpha)*teacher[i][k]
		}
	}
	return plainCrossEntropy(plainLogits(student, w, labels, scale, lower), labels)
}

// AdaDistill is what plain Go makes of its formula: over steps, with identities that come three
// times in a batch, in any order of the batch. Its centres start at random, or as it is told.
func TestAdaDistillAgainstPlainGo(t *testing.T) {
	e := torchtest.Open(t)
	for _, c := range []struct {
		section  string
		weighted bool
		lower    func(int, float64) float64
	}{
		{"{classifier: arcface}", true, arc(0.45)},
		{"{classifier: cosface, adadistill: {start: centres}}", true, cosineLess(0.35)},
		{"{classifier: arcface, adadistill: {alpha: plain}}", false, arc(0.45)},
		{"{classifier: cosface, adadistill: {alpha: plain, start: classifier}}", false, cosineLess(0.35)},
	} {
		s := torchtest.Scope(t, e)
		cfg := config(t, "adadistill", c.section)
		if err := yaml.Unmarshal([]byte("margin: {scale: 6}"), &cfg); err != nil {
			t.Fatal(err)
		}
		env := testEnv(8)
		env.Classes, env.Proxies = 7, randomProxies(7, 8)
		o, err := New(cfg, env)
		if err != nil {
			t.Fatal(err)
		}
		materialise(t, s, o)
		w := headOf(s, o, 8)
		if started := math.Abs(w[0][0]-testVectors(7, 8)[0][0]) < 1e-6; started != strings.Contains(c.section, "start") {
			t.Errorf("%s: the first centre is %v", c.section, w[0])
		}
		for step := range 3 {
			p := newProblem(uint64(30+step), 9, 8)
			for i := range p.student {
				p.student[i] = p.teacher[i] + 0.7*p.student[i]
			}
			want := plainAdaDistill(rowsOf(p.student, p.n), rowsOf(p.teacher, p.n), w, p.labels, c.weighted, c.lower, 6)
			got, _ := p.reordered([]int{8, 3, 1, 0, 7, 2, 6, 5, 4}).value(t, e, func(*torch.Scope) *Objective { return o })
			near(t, c.section, got, want)
		}
		for k, row := range headOf(s, o, 8) {
			for j, v := range row {
				if math.Abs(v-w[k][j]) > 1e-5 {
					t.Fatalf("%s: centre %d is %v, want %v", c.section, k, row, w[k])
				}
			}
		}
	}
}

// reordered is the problem with its samples in another order.
func (p problem) reordered(order []int) problem {
	q := p
	q.student, q.teacher, q.samples, q.labels = nil, nil, nil, nil
	for _, i := range order {
		q.student = append(q.student, p.student[i*p.d:(i+1)*p.d]...)
		q.teacher = append(q.teacher, p.teacher[i*p.d:(i+1)*p.d]...)
		q.samples, q.labels = append(q.samples, p.samples[i]), append(q.labels, p.labels[i])
	}
	return q
}

// An identity without a vector is no class, and its crops take no part: the rest has the loss
// that it has alone.
func TestIdentitiesWithoutVectors(t *testing.T) {
	e := torchtest.Open(t)
	const d = 8
	known := []int{0, 2, 3, 5, 6}
	all := testVectors(7, d)
	sparse := func(string) (Proxies, error) {
		p := Proxies{Source: "classifier", Dim: d, Vectors: make([]float32, 7*d), Missing: 2}
		for _, k := range known {
			for j, v := range all[k] {
				p.Vectors[k*d+j] = float32(v)
			}
		}
		return p, nil
	}
	dense := func(string) (Proxies, error) {
		p := Proxies{Source: "classifier", Dim: d}
		for _, k := range known {
			for _, v := range all[k] {
				p.Vectors = append(p.Vectors, float32(v))
			}
		}
		return p, nil
	}
	p := newProblem(40, 10, d)
	var rows []int
	for i := range p.labels {
		p.labels[i] = int32(i % 7)
		if slices.Contains(known, i%7) {
			rows = append(rows, i)
		}
	}
	q := p.reordered(rows)
	q.n = len(rows)
	for i, y := range q.labels {
		q.labels[i] = int32(slices.Index(known, int(y)))
	}
	for name, c := range allLosses(t) {
		if c.Needs("")&IdentityVectors == 0 || c.Name == "unified" {
			continue // to the unified loss such crops are without a positive
		}
		of := func(classes int, proxies func(string) (Proxies, error)) func(*torch.Scope) *Objective {
			return func(s *torch.Scope) *Objective {
				env := testEnv(d)
				env.Classes, env.Proxies = classes, proxies
				o, err := New(c, env)
				if err != nil {
					t.Fatal(err)
				}
				materialise(t, s, o)
				return o
			}
		}
		got, _ := p.value(t, e, of(7, sparse))
		want, _ := q.value(t, e, of(5, dense))
		if math.Abs(got-want) > 1e-12*math.Abs(want) {
			t.Errorf("%s: loss %g with identities left out, %g without them", name, got, want)
		}
		s := torchtest.Scope(t, e)
		_, parts := of(7, sparse)(s).Step(s, p.batch(s, torch.FromData(s, "cpu", p.student, p.n, d)))
		if n := Means(s, []Parts{parts})[c.Name+".without_vector"]; n != float64(p.n-q.n) {
			t.Errorf("%s: %g crops are said to have no vector, want %d", name, n, p.n-q.n)
		}
	}
}

// What vectors of identities cannot be used for is refused before the first step, with words
// that say what to do.
func TestRefusedVectors(t *testing.T) {
	of := func(p Proxies, err error) func(string) (Proxies, error) {
		return func(string) (Proxies, error) { return p, err }
	}
	few := Proxies{Source: "classifier", Dim: 8, Vectors: make([]float32, 5*8), Missing: 3}
	few.Vectors[0], few.Vectors[8] = 1, 1
	fewCentres := few
	fewCentres.Source = "centres"
	for name, c := range map[string]struct {
		change func(*Env)
		want   string
	}{
		"no teacher":   {func(e *Env) { e.Proxies = nil }, "name a --teacher"},
		"one identity": {func(e *Env) { e.Classes, e.Split = 1, "train" }, "at least 2 identities, the split train has 1"},
		"none there":   {func(e *Env) { e.Proxies = of(Proxies{}, errors.New("no such table")) }, "no such table"},
		"other size":   {func(e *Env) { e.Dim = 16 }, "embeddings of 16 numbers with the centres's vectors of 8"},
		"too short":    {func(e *Env) { e.Classes = 5 }, "labels up to 4, the centres has vectors of 3"},
		"too few":      {func(e *Env) { e.Classes, e.Proxies = 5, of(few, nil) }, "vectors of 2 of 5 identities"},
		"remedy":       {func(e *Env) { e.Classes, e.Proxies = 5, of(few, nil) }, "proxies: centres"},
		"few centres":  {func(e *Env) { e.Classes, e.Proxies = 5, of(fewCentres, nil) }, "precompute-teacher"},
	} {
		for _, loss := range []string{"proxyless", "margindistill", "kd", "gkd", "snn"} {
			env := testEnv(8)
			inner := env.Proxies
			env.Proxies = func(string) (Proxies, error) { return inner("centres") }
			c.change(&env)
			_, err := New(config(t, loss, "{}"), env)
			if err == nil || !strings.Contains(err.Error(), "loss "+loss) || !strings.Contains(strings.ReplaceAll(err.Error(), "  ", " "), c.want) {
				t.Errorf("%s, %s: %v, want %q", loss, name, err, c.want)
			}
		}
	}
}

// A label beyond the vectors is an error of the step.
func TestLabelBeyondTheVectors(t *testing.T) {
	e := torchtest.Open(t)
	for name := range tunedClasses {
		s := e.NewScope()
		defer s.Close()
		o, err := New(config(t, name, "{}"), testEnv(8))
		if err != nil {
			t.Fatal(err)
		}
		materialise(t, s, o)
		p := newProblem(50, 4, 8)
		p.labels[2] = 3
		o.Step(s, p.batch(s, torch.FromData(s, "cpu", p.student, p.n, p.d)))
		if s.Err() == nil || !strings.Contains(s.Err().Error(), "label 3") {
			t.Errorf("%s: %v", name, s.Err())
		}
	}
}

// Students in halves have their logits in float32.
func TestClassLossesOfHalves(t *testing.T) {
	e := torchtest.Open(t)
	for name, c := range allLosses(t) {
		if !isClassLoss(name) {
			continue
		}
		p := newProblem(51, 6, 8)
		want, _ := p.value(t, e, builder(t, c, p.d))
		for _, dtype := range []torch.DType{torch.BFloat16, torch.Float16, torch.Float32} {
			s := torchtest.Scope(t, e)
			o := builder(t, c, p.d)(s)
			student := s.To(torch.FromData(s, "cpu", p.student, p.n, p.d), dtype)
			b := p.batch(s, student)
			b.Teacher = s.To(b.Teacher, torch.Float32)
			value, _ := o.Step(s, b)
			if s.DType(value) != torch.Float32 || !(math.Abs(s.Scalar(value)-want) < 0.05*max(1, want)) {
				t.Errorf("%s in %v: %v, loss %g, want %g (%v)", name, dtype, s.DType(value), s.Scalar(value), want, s.Err())
			}
		}
	}
}

func TestInvalidClassSettings(t *testing.T) {
	for section, want := range map[string]string{
		"{name: proxyless, classifier: none}":            "classifier",
		"{name: proxyless, proxies: both}":               "proxies",
		"{name: margindistill, margindistill: {min: 1}}": "min 1 must be in [0, max]",
		"{name: margindistill, proxies: none}":           "proxies",
		"{name: adadistill, adadistill: {alpha: x}}":     "adadistill.alpha",
		"{name: adadistill, adadistill: {start: auto}}":  "adadistill.start",
		"{name: kd, kd: {temperature: -1}}":              "kd.temperature",
		"{name: kd, kd: {weight: -1}}":                   "kd.weight",
		"{name: kd, classifier: softmax}":                "classifier",
		"{name: snn, snn: {weight: .nan}}":               "snn.weight",
		"{name: gkd, gkd: {mass: 2}}":                    "gkd.mass",
		"{name: gkd, gkd: {ramp: 2}}":                    "gkd.ramp",
		"{name: gkd, gkd: {size: 0}}":                    "gkd.size",
		"{name: gkd, gkd: {group: some}}":                "gkd.group",
		"{name: gkd, gkd: {primary: -1}}":                "gkd.primary",
	} {
		if err := config(t, "", section).Validate(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", section, err)
		}
	}
}
