package loss

import (
	"math"
	"slices"
	"testing"

	"facepipe/student/torch"
	"facepipe/student/torch/torchtest"
)

// taken are the triplets that a step mines of a problem, as (a, p, n).
func taken(t *testing.T, s *torch.Scope, c tripletSettings, p problem) [][3]int {
	t.Helper()
	v := p.view(s)
	return listed(t, p, c.mine(v.unit(), s.Floats(v.grams().student), p.step))
}

func listed(t *testing.T, p problem, mined triplets) [][3]int {
	t.Helper()
	var list [][3]int
	for k, place := range mined.positive {
		a, other := int(place)/p.n, int(mined.negative[k])
		if other/p.n != a {
			t.Fatalf("a triplet has the anchors %d and %d", a, other/p.n)
		}
		list = append(list, [3]int{a, int(place) % p.n, other % p.n})
	}
	return list
}

func squared(a, b []float64) (sum float64) {
	for k := range a {
		sum += (a[k] - b[k]) * (a[k] - b[k])
	}
	return sum
}

// allowed are the semi-hard negatives of a pair, by definition.
func allowed(p problem, alpha float64, a, positive int) []int {
	x := unitRows(p.student, p.n)
	var list []int
	for k := range p.n {
		near, far := squared(x[a], x[positive]), squared(x[a], x[k])
		if p.labels[k] >= 0 && p.labels[k] != p.labels[a] && near < far && far < near+alpha {
			list = append(list, k)
		}
	}
	return list
}

// Every pair of one identity makes a triplet in one of its two directions, with a semi-hard
// negative, unless the drawn anchor has none.
func TestMinedTripletsAreSemiHard(t *testing.T) {
	e := torchtest.Open(t)
	for _, alpha := range []float64{0.05, 0.35, 2} {
		s := torchtest.Scope(t, e)
		c := tripletSettings{Alpha: alpha}
		p := apprentice(5, 24, 8, 6)
		p.labels[3], p.labels[9] = -1, -1
		p.samples[18] = p.samples[0] // of the same identity
		list := taken(t, s, c, p)
		seen := map[[2]int]bool{}
		for _, x := range list {
			a, positive, negative := x[0], x[1], x[2]
			if p.labels[a] < 0 || p.labels[a] != p.labels[positive] || p.samples[a] == p.samples[positive] ||
				!slices.Contains(allowed(p, alpha, a, positive), negative) {
				t.Errorf("α = %g: %v is no semi-hard triplet", alpha, x)
			}
			pair := [2]int{min(a, positive), max(a, positive)}
			if seen[pair] {
				t.Errorf("α = %g: the pair %v comes twice", alpha, pair)
			}
			seen[pair] = true
		}
		for i := range p.n {
			for j := range i {
				pair := [2]int{j, i}
				could := p.labels[i] >= 0 && p.labels[i] == p.labels[j] && p.samples[i] != p.samples[j]
				must := could && len(allowed(p, alpha, i, j)) > 0 && len(allowed(p, alpha, j, i)) > 0
				if (must && !seen[pair]) || (!could && seen[pair]) {
					t.Errorf("α = %g: is pair %v a triplet: %t", alpha, pair, seen[pair])
				}
			}
		}
		if len(list) == 0 {
			t.Errorf("α = %g: no triplets", alpha)
		}
	}
}

// Over the steps each semi-hard negative is drawn as often as the others, and each of a pair
// is its anchor half of the time. A step draws the same whenever it is taken.
func TestTripletsAreDrawnEvenly(t *testing.T) {
	e := torchtest.Open(t)
	s := torchtest.Scope(t, e)
	c := tripletSettings{Alpha: 2}
	p := apprentice(6, 24, 8, 6)
	counts, anchored := map[int]float64{}, 0.0
	const steps = 2000
	v := p.view(s)
	cosines := s.Floats(v.grams().student)
	for step := range steps {
		list := listed(t, p, c.mine(v.unit(), cosines, step))
		if step%500 == 0 && !slices.Equal(list, listed(t, p, c.mine(v.unit(), cosines, step))) {
			t.Fatal("a step has drawn twice, and not the same")
		}
		for _, x := range list {
			if x[0] == 0 && x[1] == 6 {
				anchored++
				counts[x[2]]++
			}
		}
	}
	if math.Abs(anchored-steps/2) > 5*math.Sqrt(steps)/2 {
		t.Errorf("anchor of a pair in %g of %d steps", anchored, steps)
	}
	list := allowed(p, c.Alpha, 0, 6)
	for _, k := range list {
		want := anchored / float64(len(list))
		if math.Abs(counts[k]-want) > 5*math.Sqrt(want) {
			t.Errorf("negative %d was drawn %g times, of %d negatives each %g", k, counts[k], len(list), want)
		}
	}
	if len(list) < 4 || len(counts) != len(list) {
		t.Errorf("%d negatives were drawn of %v", len(counts), list)
	}
}

// plainTriplet is the loss of triplets by definition.
func plainTriplet(p problem, list [][3]int, distance func(x, y []float64) float64) float64 {
	s, t := unitRows(p.student, p.n), unitRows(p.teacher, p.n)
	d, most := make([]float64, len(list)), 0.0
	for k, x := range list {
		d[k] = math.Max(0, distance(t[x[0]], t[x[2]])-distance(t[x[0]], t[x[1]]))
		most = math.Max(most, d[k])
	}
	sum := 0.0
	for k, x := range list {
		margin := 0.2
		if most > 0 {
			margin += (0.5 - 0.2) / most * d[k]
		}
		sum += math.Max(0, distance(s[x[0]], s[x[1]])-distance(s[x[0]], s[x[2]])+margin)
	}
	return sum / float64(len(list))
}

func TestTripletIsItsDefinition(t *testing.T) {
	e := torchtest.Open(t)
	for name, distance := range map[string]func(x, y []float64) float64{
		"l2":     squared,
		"arccos": func(x, y []float64) float64 { return math.Acos(inner(x, y)) },
	} {
		for what, change := range map[string]func(*problem){
			"as it is": func(*problem) {},
			"the teacher tells nobody apart": func(p *problem) { // max D is 0
				for i := range p.n {
					copy(p.teacher[i*p.d:(i+1)*p.d], []float64{1, 0, 0, 0, 0, 0, 0, 0})
				}
			},
		} {
			s := torchtest.Scope(t, e)
			p := apprentice(7, 24, 8, 6)
			change(&p)
			list := taken(t, s, tripletSettings{Alpha: 0.35}, p)
			want := plainTriplet(p, list, distance)
			got, g, figures := p.run(t, s, objective(t, "triplet", "triplet: {distance: "+name+"}"))
			if math.Abs(got-want) > 1e-9 || want == 0 || figures["triplet.triplets"] != float64(len(list)) {
				t.Errorf("%s, %s: %.12g of %v, by definition %.12g of %d triplets", name, what, got, figures, want, len(list))
			}
			if slices.ContainsFunc(g, math.IsNaN) {
				t.Errorf("%s, %s: gradient %v", name, what, g)
			}
		}
	}
}

// Without a triplet there is nothing to learn, and two students at one place have a finite
// gradient.
func TestTripletsThatAreNone(t *testing.T) {
	e := torchtest.Open(t)
	for what, change := range map[string]func(*problem){
		"one identity":   func(p *problem) { clear(p.labels) },
		"no positives":   func(p *problem) { p.labels = []int32{0, 1, 2, 3, 4, 5} },
		"no identities":  func(p *problem) { p.labels = []int32{-1, -1, -1, -1, -1, -1} },
		"only one known": func(p *problem) { p.labels = []int32{0, 0, 0, -1, -1, -1} },
		"one face":       func(p *problem) { clear(p.samples) },
		"all at one place": func(p *problem) {
			for i := range p.n {
				copy(p.student[i*p.d:(i+1)*p.d], p.student)
			}
		},
		"students are zero": func(p *problem) { clear(p.student) },
	} {
		s := torchtest.Scope(t, e)
		p := newProblem(8, 6, 8)
		change(&p)
		v, g, figures := p.run(t, s, objective(t, "triplet", "triplet: {alpha: 4, distance: arccos}"))
		if v != 0 || figures["triplet.triplets"] != 0 || slices.ContainsFunc(g, func(x float64) bool { return x != 0 }) {
			t.Errorf("%s: loss %g, gradient %v, %v", what, v, g, figures)
		}
	}
	s := torchtest.Scope(t, e)
	p := apprentice(8, 6, 8, 3)
	copy(p.student[3*p.d:4*p.d], p.student[:p.d]) // 0 and 3 are of one identity
	if v, g, _ := p.run(t, s, objective(t, "triplet", "triplet: {alpha: 4, distance: arccos}")); v == 0 || slices.ContainsFunc(g, math.IsNaN) {
		t.Errorf("two at one place: loss %g, gradient %v", v, g)
	}
}
