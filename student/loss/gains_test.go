package loss

import (
	"errors"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"go.yaml.in/yaml/v3"

	"facepipe/student/torch"
	"facepipe/student/torch/torchtest"
)

// crowd is of how many crops randomNeighbours chooses.
const crowd = 30

// randomNeighbours gives every sample neighbours at random, and every seventh none.
func randomNeighbours(dim int) func(k int) (func([]int64) (Near, error), error) {
	return func(k int) (func([]int64) (Near, error), error) {
		return func(samples []int64) (Near, error) {
			near := Near{Vectors: noise(rand.New(rand.NewPCG(5, uint64(dim))), crowd*dim)}
			for j := range crowd {
				near.Known = append(near.Known, j%4 != 0)
			}
			for _, sample := range samples {
				places := rand.New(rand.NewPCG(uint64(sample), 6)).Perm(crowd)[:min(k, crowd-int(sample%5))]
				if sample%7 == 2 {
					places = nil
				}
				near.Of = append(near.Of, places)
			}
			return near, nil
		}, nil
	}
}

func huber(e, beta float64) float64 {
	if e = math.Abs(e); e <= beta {
		return e * e / 2
	}
	return beta * (e - beta/2)
}

// plainRPSD is L_RPSD with neighbours and centres by its definition.
func plainRPSD(t *testing.T, p problem, c rpsdSettings, env Env) (value float64, pairs int) {
	t.Helper()
	student, teacher := rowsOf(p.student, p.n), rowsOf(p.teacher, p.n)
	batch, n := 0.0, 0
	for i := range p.n {
		for j := range i {
			batch += huber(inner(student[i], student[j])-inner(teacher[i], teacher[j]), c.Beta)
			n++
		}
	}
	mined := 0.0
	add := func(i int, to []float64, different bool) {
		u := unitOf(to)
		rs, rt := inner(student[i], u), inner(teacher[i], u)
		if math.Abs(rs-rt) < c.Delta || different && c.IgnoreAbove > 0 && rt > c.IgnoreAbove {
			return
		}
		mined += huber(rs-rt, c.Beta)
		pairs++
	}
	row := func(v []float32, k int) (out []float64) {
		for _, x := range v[k*p.d : (k+1)*p.d] {
			out = append(out, float64(x))
		}
		return out
	}
	if c.Pool == "neighbours" {
		of, _ := env.Neighbours(c.Negatives)
		near, _ := of(p.samples)
		for i, places := range near.Of {
			for _, place := range places {
				add(i, row(near.Vectors, place), p.labels[i] >= 0 && near.Known[place])
			}
		}
	}
	if c.PositivesFrom == "centres" {
		vectors, _ := env.Proxies(c.Proxies)
		for i, y := range p.labels {
			if v := row(vectors.Vectors, max(0, int(y))); y >= 0 && inner(v, v) > 0 {
				add(i, v, false)
			}
		}
	}
	return (batch/float64(n) + mined/float64(max(pairs, 1))) / 2, pairs
}

// Neighbours and centres enter as they are defined.
func TestNeighboursAndCentresMatchDefinition(t *testing.T) {
	e := torchtest.Open(t)
	for name, change := range map[string]func(c *rpsdSettings, p *problem){
		"neighbours": func(c *rpsdSettings, _ *problem) { c.Positives = 0 },
		"both":       func(c *rpsdSettings, _ *problem) { c.PositivesFrom = "centres" },
		"centres":    func(c *rpsdSettings, _ *problem) { c.Pool, c.PositivesFrom, c.Bank = "bank", "centres", 0 },
		"ignoring":   func(c *rpsdSettings, _ *problem) { c.PositivesFrom, c.IgnoreAbove = "centres", 0.2 },
		"all errors": func(c *rpsdSettings, _ *problem) { c.PositivesFrom, c.Delta = "centres", 0 },
		"no labels": func(c *rpsdSettings, p *problem) {
			c.PositivesFrom, p.labels = "centres", slices.Repeat([]int32{-1}, p.n)
		},
		"one identity": func(c *rpsdSettings, p *problem) { c.PositivesFrom, p.labels = "centres", make([]int32, p.n) },
		"alone": func(c *rpsdSettings, p *problem) {
			c.Positives, p.samples = 0, []int64{2, 9, 16, 23, 30, 37, 44, 51, 58}
		},
	} {
		c := rpsdDefaults
		c.Pool, c.Negatives = "neighbours", 7
		p := newProblem(21, 9, 8)
		p.labels[4], p.labels[5] = -1, 2
		change(&c, &p)
		env := testEnv(p.d)
		env.Proxies = func(source string) (Proxies, error) {
			v, err := randomProxies(3, p.d)(source)
			clear(v.Vectors[2*p.d:]) // nobody knows identity 2
			return v, err
		}
		l := newRPSD(c, p.d)
		if err := l.ask(env); err != nil {
			t.Fatal(err)
		}
		s := torchtest.Scope(t, e)
		got, figures := l.step(s, p.view(s))
		v, parts := s.Scalar(got), Means(s, []Parts{figures})
		want, pairs := plainRPSD(t, p, c, env)
		if s.Err() != nil || math.Abs(v-want) > 1e-7 || int(parts["pairs"]) != pairs || l.bank.filled > 0 {
			t.Errorf("%s: %g of %g pairs, want %g of %d (%v; bank %d)", name, v, parts["pairs"], want, pairs, s.Err(), l.bank.filled)
		}
	}
}

// Positives are mined of the bank beside neighbours, and negatives beside centres.
func TestBankBesideTheOthers(t *testing.T) {
	e := torchtest.Open(t)
	for section, want := range map[string]string{
		"{pool: neighbours, negatives: 4, positives: 3}":        "own",
		"{positives_from: centres, negatives: 4, positives: 3}": "others",
	} {
		s := torchtest.Scope(t, e)
		o, err := New(config(t, "unified", "rpsd: "+section[:len(section)-1]+", delta: 0, bank: 40}"), testEnv(8))
		if err != nil {
			t.Fatal(err)
		}
		l := o.terms[0].term.(*unified).rpsd
		for step := range 3 {
			p := newProblem(uint64(step), 9, 8)
			for i := range p.samples {
				p.samples[i] += int64(9 * step)
			}
			o.Step(s, p.batch(s, torch.FromData(s, "cpu", p.student, p.n, p.d)))
		}
		p := newProblem(7, 9, 8).view(s).unit()
		own := columnsOf(s, p)
		mined := torch.ToData[float32](s, s.To(l.ofBank(s, p, own, 9).mined, torch.Float32))
		entries := torch.ToData[int64](s, l.search(s, p, own, 9))
		if s.Err() != nil {
			t.Fatal(s.Err())
		}
		width := len(entries) / len(p.samples)
		for i := range p.samples {
			pairs := 0
			for k, is := range mined[i*width : (i+1)*width] {
				if is == 0 {
					continue
				}
				pairs++
				if own := l.bank.label[entries[i*width+k]] == p.labels[i]; own != (want == "own") {
					t.Errorf("%s: sample %d of %d has a pair of identity %d", section, i, p.labels[i], l.bank.label[entries[i*width+k]])
				}
			}
			if most := map[string]int{"own": 3, "others": 4}[want]; pairs != most {
				t.Errorf("%s: sample %d has %d pairs", section, i, pairs)
			}
		}
	}
}

// What cannot be had, or cannot be read, is an error.
func TestNeighboursFail(t *testing.T) {
	c := config(t, "unified", "rpsd: {pool: neighbours}")
	env := testEnv(8)
	env.Neighbours = nil
	if _, err := New(c, env); err == nil {
		t.Error("without a teacher: no error")
	}
	broken := errors.New("broken")
	env.Neighbours = func(int) (func([]int64) (Near, error), error) { return nil, broken }
	if _, err := New(c, env); !errors.Is(err, broken) {
		t.Errorf("without tables: %v", err)
	}
	env.Neighbours = func(int) (func([]int64) (Near, error), error) {
		return func([]int64) (Near, error) { return Near{}, broken }, nil
	}
	o, err := New(c, env)
	if err != nil {
		t.Fatal(err)
	}
	s := torchtest.Open(t).NewScope()
	defer s.Close()
	p := newProblem(1, 5, 8)
	if o.Step(s, p.batch(s, torch.FromData(s, "cpu", p.student, p.n, p.d))); !errors.Is(s.Err(), broken) {
		t.Errorf("damaged tables: %v", s.Err())
	}
	env = testEnv(8)
	env.Proxies = nil
	if _, err := New(config(t, "unified", "rpsd: {positives_from: centres}"), env); err == nil {
		t.Error("centres without a teacher: no error")
	}
}

func TestQuality(t *testing.T) {
	s := torchtest.Scope(t, torchtest.Open(t))
	c := iledDefaults
	c.Quality = "norm"
	ones := []float64{1, 1, 1, 1}
	sigma := math.Sqrt(1.25)
	for name, tt := range map[string]struct{ norms, weights, want []float64 }{
		"by the norm": {[]float64{1, 2, 3, 4}, ones, []float64{1 - 0.33*1.5/sigma, 1 - 0.33*0.5/sigma, 1 + 0.33*0.5/sigma, 1 + 0.33*1.5/sigma}},
		"limits":      {[]float64{1, 20, 20, 20, 20, 20, 20, 20, 20, 20, 20}, slices.Repeat(ones[:1], 11), append([]float64{0.5}, slices.Repeat([]float64{1 + 0.33/math.Sqrt(10)}, 10)...)},
		"hardness":    {[]float64{1, 3}, []float64{0, 2}, []float64{0, 2.66}},
		"one length":  {[]float64{1, 1.0001, 0.9999, 1}, ones, ones},
		"one sample":  {[]float64{7}, ones[:1], ones[:1]},
	} {
		got := torch.ToData[float64](s, newILED(c).qualified(s, vector(s, tt.weights), vector(s, tt.norms)))
		for i := range tt.want {
			if math.Abs(got[i]-tt.want[i]) > 1e-12 {
				t.Errorf("%s: got %v, want %v", name, got, tt.want)
				break
			}
		}
	}
	l := newILED(c)
	l.qualified(s, vector(s, ones), vector(s, []float64{1, 2, 3, 4}))
	l.qualified(s, vector(s, ones), vector(s, []float64{5, 5, 5, 5}))
	if want, mean := 2.5+0.01*2.5, l.norms.numbers(s)[1]; math.Abs(mean-want) > 1e-12 {
		t.Errorf("the running mean is %g, want %g", mean, want)
	}
	st := State{}
	l.state(s, st)
	delete(st, "iled.norms")
	if err := l.restore(s, vector(s, ones), st); err == nil {
		t.Error("restored without the norms' statistics")
	}
}

// The loss weighs by the teacher's raw length, whatever was left out of the batch.
func TestQualityInTheLoss(t *testing.T) {
	s := torchtest.Scope(t, torchtest.Open(t))
	c := iledDefaults
	c.Quality, c.Warmup = "norm", 1e6
	p := newProblem(31, 6, 8)
	clear(p.teacher[:8]) // a sample without a teacher's embedding
	l := newILED(c)
	got, _ := l.step(s, p.view(s))
	student, teacher := rowsOf(p.student, 6), rowsOf(p.teacher, 6)
	var norms []float64
	for i := 1; i < 6; i++ {
		norms = append(norms, math.Sqrt(inner(p.teacher[8*i:8*i+8], p.teacher[8*i:8*i+8])))
	}
	sum, total := 0.0, 0.0
	weights := torch.ToData[float64](s, newILED(c).qualified(s, vector(s, []float64{1, 1, 1, 1, 1}), vector(s, norms)))
	for i, w := range weights {
		sum, total = sum+w*(1-inner(student[i+1], teacher[i+1])), total+w
	}
	if v := s.Scalar(got); s.Err() != nil || len(weights) != 5 || math.Abs(v-sum/total) > 1e-9 {
		t.Errorf("%g, want %g (%v)", v, sum/total, s.Err())
	}
}

// Both weights follow their schedules.
func TestSchedulesOfTheWeights(t *testing.T) {
	e := torchtest.Open(t)
	const base = "{iled: {warmup: 0, weight: 1}, rpsd: {bank: 0, ramp: 0, weight: 1}}"
	value := func(section string, step int) float64 {
		c := config(t, "unified", base)
		if err := yaml.Unmarshal([]byte(section), &c); err != nil {
			t.Fatal(err)
		}
		p := newProblem(3, 5, 8)
		p.step = step
		s := torchtest.Scope(t, e)
		o, err := New(c, testEnv(8))
		if err != nil {
			t.Fatal(err)
		}
		v, _ := o.Step(s, p.batch(s, torch.FromData(s, "cpu", p.student, p.n, p.d)))
		return s.Scalar(v)
	}
	iled, rpsd := value("rpsd: {weight: 0}", 0), value("iled: {weight: 0}", 0)
	for section, want := range map[string]float64{
		"{}":                                  iled + rpsd,
		"iled: {schedule: {from: 0, end: 1}}": 0.25*iled + rpsd,
		"rpsd: {schedule: {from: 4, to: 0, begin: 0.25, end: 1}}":          iled + 4*rpsd,
		"{iled: {schedule: {to: 3}}, rpsd: {schedule: {to: 0, end: 0.2}}}": 3 * iled,
	} {
		if got := value(section, 250); math.Abs(got-want) > 1e-12 {
			t.Errorf("%s: %g, want %g", section, got, want)
		}
	}
}

// What the data must have follows from the settings.
func TestNeedsOfSettings(t *testing.T) {
	for section, want := range map[string]Needs{
		"{}":                                  TeacherEmbedding,
		"rpsd: {pool: neighbours}":            TeacherEmbedding | Neighbours,
		"rpsd: {positives_from: centres}":     TeacherEmbedding | Labels | IdentityVectors,
		"iled: {quality: norm}":               TeacherEmbedding | Norms,
		"unified: {rpsd: {pool: neighbours}}": TeacherEmbedding | Neighbours,
		"unified@b: {iled: {quality: norm}}":  TeacherEmbedding,
	} {
		if got := config(t, "unified", section).Needs(""); got != want {
			t.Errorf("%s needs %v, want %v", section, got, want)
		}
	}
	c := config(t, "unified@a + unified@b", "unified@b: {iled: {quality: norm}}")
	if a, b := c.Needs("a"), c.Needs("b"); a != TeacherEmbedding || b != TeacherEmbedding|Norms {
		t.Errorf("of two teachers: %v and %v", a, b)
	}
}

// A bank of which nothing is asked is not there, and a run says so.
func TestNoBankWithoutNeed(t *testing.T) {
	c, notes, err := config(t, "unified", "rpsd: {pool: neighbours, positives_from: centres, bank: 100000}").For(Run{Crops: 50, Steps: 90})
	if err != nil || len(notes) != 1 || notes[0] != "no bank; RPSD's ramp takes 10 and ILED's warm-up 10 of 90 steps" {
		t.Fatalf("notes %q, %v", notes, err)
	}
	o, err := New(c, testEnv(8))
	if err != nil {
		t.Fatal(err)
	}
	s := torchtest.Scope(t, torchtest.Open(t))
	if st := o.State(s); len(st) != 2 {
		t.Errorf("the state is %v", st)
	}
}

// A step with the dataset's neighbours in place of a bank.
func BenchmarkNeighbours(b *testing.B) {
	e := torchtest.Open(b)
	t := Trial{}.withDefaults()
	env := t.env()
	vectors := noise(rand.New(rand.NewPCG(1, 2)), t.Batch*64*t.Dim)
	env.Neighbours = func(k int) (func([]int64) (Near, error), error) {
		return func(samples []int64) (near Near, err error) {
			near.Vectors, near.Known = slices.Clone(vectors), make([]bool, t.Batch*64)
			for i := range samples {
				var places []int
				for j := range k {
					places = append(places, 64*i+j)
				}
				near.Of = append(near.Of, places)
			}
			return near, nil
		}, nil
	}
	o, err := New(config(b, "unified", "rpsd: {pool: neighbours, positives_from: centres}"), env)
	if err != nil {
		b.Fatal(err)
	}
	for step := 0; b.Loop(); step++ {
		if _, err := t.step(e, o, step); err != nil {
			b.Fatal(err)
		}
	}
}
