package loss

import (
	"math"
	"slices"
	"testing"

	"facepipe/student/torch"
	"facepipe/student/torch/torchtest"
)

// plainEKD is the definition in plain numbers: what the loss is after it has seen batches.
type plainEKD struct {
	start            string
	batches          int
	student, teacher [6]float64
}

func unitRows(v []float64, n int) [][]float64 {
	v = append([]float64(nil), v...)
	normalise(v, n)
	return slices.Collect(slices.Chunk(v, len(v)/n))
}

// see takes a batch with positives and negatives, and gives both terms.
func (l *plainEKD) see(p problem) (positive, negative float64) {
	type couple struct{ s, t float64 }
	var same, other []couple
	student, teacher := unitRows(p.student, p.n), unitRows(p.teacher, p.n)
	for i := range p.n {
		for j := range i {
			c := couple{inner(student[i], student[j]), inner(teacher[i], teacher[j])}
			if p.labels[i] == p.labels[j] {
				same = append(same, c)
			} else {
				other = append(other, c)
			}
		}
	}
	l.batches++
	threshold := func(of func(couple) float64, k int) float64 {
		var all []float64
		for _, c := range other {
			all = append(all, of(c))
		}
		slices.Sort(all)
		slices.Reverse(all)
		return all[int(float64(len(all))/math.Pow(10, float64(k)))]
	}
	var anchors [2][6]float64
	for k := range 6 {
		for which, of := range []func(couple) float64{func(c couple) float64 { return c.s }, func(c couple) float64 { return c.t }} {
			mean, now := &l.student[k], threshold(of, k+1)
			if which == 1 {
				mean = &l.teacher[k]
			}
			if l.start == "first" && l.batches == 1 {
				*mean = now
			} else {
				*mean = 0.01*now + 0.99**mean
			}
			anchors[which][k] = *mean
			if l.start == "unbiased" {
				anchors[which][k] /= 1 - math.Pow(0.99, float64(l.batches))
			}
		}
	}
	rank := func(x float64, anchors [6]float64) (r float64) {
		for _, a := range anchors {
			r += 1 / (1 + math.Exp(-(x-a)/0.01))
		}
		return r
	}
	term := func(pairs []couple) (sum float64) {
		for _, c := range pairs {
			sum += math.Pow(rank(c.s, anchors[0])-rank(c.t, anchors[1]), 2) / float64(len(pairs))
		}
		return sum
	}
	slices.SortFunc(other, func(a, b couple) int {
		if a.s > b.s {
			return -1
		}
		return 1
	})
	return term(same), term(other[:min(2000, len(other))])
}

// apprentice is a batch whose student is near its teacher.
func apprentice(seed uint64, n, d, identities int) problem {
	p := newProblem(seed, n, d)
	for i := range p.student {
		p.student[i] = p.teacher[i] + 0.5*p.student[i]
	}
	for i := range p.labels {
		p.labels[i] = int32(i % identities)
	}
	return p
}

// run takes a step of a loss on a problem, and gives the value, the gradient and the figures.
func (p problem) run(t *testing.T, s *torch.Scope, o *Objective) (float64, []float64, map[string]float64) {
	t.Helper()
	student := torch.FromData(s, "cpu", p.student, p.n, p.d)
	s.RequireGrad(student, true)
	value, parts := o.Step(s, p.batch(s, student))
	s.Backward(value)
	figures := Means(s, []Parts{parts})
	return s.Scalar(value), torch.ToData[float64](s, s.Grad(student)), figures
}

func objective(t *testing.T, name, section string) *Objective {
	t.Helper()
	o, err := New(config(t, name, section), Env{Device: "cpu", Dim: 8, OwnDim: 8, Classes: 100})
	if err != nil {
		t.Fatal(err)
	}
	return o
}

// With 70 samples there are more pairs of two identities than the hardest 2,000, and fewer
// than most false positive rates ask for.
func TestEKDIsItsDefinition(t *testing.T) {
	e := torchtest.Open(t)
	for _, start := range []string{"zero", "first", "unbiased"} {
		s := torchtest.Scope(t, e)
		o, plain := objective(t, "ekd", "ekd: {start: "+start+"}"), plainEKD{start: start}
		for step := range 6 {
			p := apprentice(uint64(step), 70, 8, 12)
			positive, negative := plain.see(p)
			got, _, figures := p.run(t, s, o)
			if want := 0.02*positive + 0.01*negative; math.Abs(got-want) > 1e-9*want || want == 0 {
				t.Errorf("start %s, step %d: %.12g, by definition %.12g", start, step, got, want)
			}
			if math.Abs(figures["ekd.positive"]-positive) > 1e-9 || math.Abs(figures["ekd.negative"]-negative) > 1e-9 {
				t.Errorf("start %s, step %d: figures %v, want %g and %g", start, step, figures, positive, negative)
			}
		}
		if got := o.State(s)["ekd.anchors"].Float64; start != "unbiased" && math.Abs(got[3]-plain.student[3])+math.Abs(got[7]-plain.teacher[1]) > 1e-12 {
			t.Errorf("start %s: anchors %v, by definition %v %v", start, got, plain.student, plain.teacher)
		}
	}
}

// A weight of 0 leaves the other term.
func TestEKDWeights(t *testing.T) {
	e := torchtest.Open(t)
	s := torchtest.Scope(t, e)
	p := apprentice(1, 70, 8, 12)
	positive, negative := (&plainEKD{start: "first"}).see(p)
	for section, want := range map[string]float64{
		"ekd: {start: first, positive: 0, negative: 2}": 2 * negative,
		"ekd: {start: first, positive: 3, negative: 0}": 3 * positive,
		"ekd: {start: first, positive: 3, hardest: 0}":  3 * positive,
	} {
		if got, _, _ := p.run(t, s, objective(t, "ekd", section)); math.Abs(got-want) > 1e-9*want {
			t.Errorf("%s: %g, want %g", section, got, want)
		}
	}
}

// Ranks of a student that is its teacher are its teacher's from the first batch on.
func TestEKDOfPerfectStudentIsZero(t *testing.T) {
	e := torchtest.Open(t)
	for _, start := range []string{"zero", "first", "unbiased"} {
		s := torchtest.Scope(t, e)
		o := objective(t, "ekd", "ekd: {start: "+start+"}")
		for step := range 3 {
			p := apprentice(uint64(step), 20, 8, 6)
			copy(p.student, p.teacher)
			if v, g, _ := p.run(t, s, o); v > 1e-20 || math.Abs(slices.Max(g)) > 1e-10 || math.Abs(slices.Min(g)) > 1e-10 {
				t.Errorf("start %s, step %d: loss %g, gradient %v", start, step, v, g)
			}
		}
	}
}

// Without pairs of two identities the anchors stay where they are; without anchors or pairs
// there is nothing to learn.
func TestEKDWithoutPairs(t *testing.T) {
	e := torchtest.Open(t)
	one, apart, unknown := apprentice(1, 6, 8, 1), apprentice(1, 6, 8, 6), apprentice(1, 6, 8, 1)
	for i := range unknown.labels {
		unknown.labels[i] = -1
	}
	for name, tt := range map[string]struct {
		p                  problem
		start              string
		positive, negative bool // which terms there are
		moved              bool
	}{
		"one identity":                {one, "zero", true, false, false},
		"one identity before anchors": {one, "first", false, false, false},
		"no positives":                {apart, "unbiased", false, true, true},
		"no labels":                   {unknown, "zero", false, false, false},
		"one sample":                  {first(one, 1), "zero", false, false, false},
	} {
		s := torchtest.Scope(t, e)
		o := objective(t, "ekd", "ekd: {temperature: 0.5, start: "+tt.start+"}")
		v, g, figures := tt.p.run(t, s, o)
		_, positive := figures["ekd.positive"]
		_, negative := figures["ekd.negative"]
		if positive != tt.positive || negative != tt.negative || (v > 0) != (positive || negative) {
			t.Errorf("%s: loss %g of %v", name, v, figures)
		}
		if slices.ContainsFunc(g, math.IsNaN) || slices.ContainsFunc(g, func(x float64) bool { return x != 0 }) != (v > 0) {
			t.Errorf("%s: gradient %v", name, g)
		}
		anchors := o.State(s)["ekd.anchors"].Float64
		if moved := slices.ContainsFunc(anchors, func(a float64) bool { return a != 0 }); moved != tt.moved {
			t.Errorf("%s: anchors %v", name, anchors)
		}
	}
}

// A later batch without pairs of two identities is judged by the anchors that there are.
func TestEKDKeepsAnchors(t *testing.T) {
	e := torchtest.Open(t)
	s := torchtest.Scope(t, e)
	o := objective(t, "ekd", "ekd: {start: unbiased}")
	apprentice(1, 20, 8, 6).run(t, s, o)
	before := o.State(s)
	if v, _, _ := apprentice(2, 20, 8, 1).run(t, s, o); v == 0 {
		t.Error("positives alone have no loss")
	}
	after := o.State(s)
	if !slices.Equal(before["ekd.anchors"].Float64, after["ekd.anchors"].Float64) || after["ekd.weight"].Float64[0] != before["ekd.weight"].Float64[0] {
		t.Errorf("anchors went from %v to %v", before, after)
	}
}

func TestEKDRestoreRefusesOtherThresholds(t *testing.T) {
	s := torchtest.Scope(t, torchtest.Open(t))
	if err := objective(t, "ekd", "{}").Restore(s, objective(t, "ekd", "ekd: {thresholds: 3}").State(s)); err == nil {
		t.Error("6 thresholds restored from 3")
	}
}

// Embeddings in half precision have the loss of the same numbers in float32.
func TestRanksInHalfPrecision(t *testing.T) {
	e := torchtest.Open(t)
	for name, section := range map[string]string{"ekd": "ekd: {start: first, temperature: 0.1}", "triplet": "triplet: {distance: arccos}"} {
		for _, dtype := range []torch.DType{torch.Float16, torch.BFloat16} {
			s := torchtest.Scope(t, e)
			p := apprentice(3, 40, 8, 8)
			run := func(student torch.Tensor) (float64, []float32) {
				s.RequireGrad(student, true)
				v, _ := objective(t, name, section).Step(s, p.batch(s, student))
				s.Backward(v)
				return s.Scalar(v), s.Floats(s.Grad(student))
			}
			rounded := s.To(torch.FromData(s, "cpu", p.student, p.n, p.d), dtype)
			half, g := run(s.Clone(rounded))
			if single, _ := run(s.To(rounded, torch.Float32)); half != single || single == 0 {
				t.Errorf("%s of %v: %g, in float32 %g", name, dtype, half, single)
			}
			if slices.ContainsFunc(g, func(x float32) bool { return math.IsNaN(float64(x)) || math.IsInf(float64(x), 0) }) {
				t.Errorf("%s of %v: gradient %v", name, dtype, g)
			}
		}
	}
}

func TestRankLossesRefuse(t *testing.T) {
	for section, name := range map[string]string{
		"ekd: {start: warm}": "ekd", "ekd: {thresholds: 10}": "ekd", "ekd: {temperature: -1}": "ekd", "ekd: {hardest: -1}": "ekd",
		"ekd: {momentum: 1.1}": "ekd", "ekd: {positive: -1}": "ekd", "ekd: {negative: .nan}": "ekd", "ekd: {temperature: .nan}": "ekd",
		"triplet: {distance: cos}": "triplet", "triplet: {alpha: .inf}": "triplet", "triplet: {min_margin: -0.1}": "triplet",
		"triplet: {min_margin: 0.6}": "triplet", "triplet: {max_margin: .inf}": "triplet",
	} {
		if err := config(t, name, section).Validate(); err == nil {
			t.Errorf("%s is taken", section)
		}
	}
}

// Students are compared with students: as they are exported, whatever the teacher's size.
func TestRankLossesLookAtTheStudentsOwn(t *testing.T) {
	e := torchtest.Open(t)
	for _, name := range []string{"ekd", "triplet"} {
		s := torchtest.Scope(t, e)
		p, own := apprentice(1, 20, 8, 6), apprentice(2, 20, 8, 6)
		b := p.batch(s, torch.FromData(s, "cpu", p.student, p.n, p.d))
		b.Own = torch.FromData(s, "cpu", own.student, p.n, p.d)
		o := objective(t, name, "{}")
		bridged, _ := o.Step(s, b)
		b.Student, b.Own = b.Own, torch.Tensor{}
		alone, _ := objective(t, name, "{}").Step(s, b)
		if got, want := s.Scalar(bridged), s.Scalar(alone); !o.LooksAtOwn() || got != want || want == 0 {
			t.Errorf("%s is %g beside a bridge, %g without", name, got, want)
		}
	}
}
