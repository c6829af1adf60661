package loss

import (
	"cmp"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"facepipe/student/torch"
	"facepipe/student/torch/torchtest"
)

// row is the i-th of n vectors of length d, one after the other.
func row(v []float64, i, d int) []float64 { return v[i*d : (i+1)*d] }

func less(a, b []float64) []float64 {
	c := make([]float64, len(a))
	for k := range a {
		c[k] = a[k] - b[k]
	}
	return c
}

// direction is v with length 1, or zeros of zeros.
func direction(v []float64) []float64 {
	length := math.Sqrt(inner(v, v))
	u := make([]float64, len(v))
	for k := range v {
		if length > 0 {
			u[k] = v[k] / length
		}
	}
	return u
}

// cosines are those of all pairs of n vectors.
func cosines(v []float64, n int) [][]float64 {
	d, all := len(v)/n, make([][]float64, n)
	for i := range n {
		for j := range n {
			all[i] = append(all[i], inner(direction(row(v, i, d)), direction(row(v, j, d))))
		}
	}
	return all
}

// meanOf is the mean of f over all i, j < n.
func meanOf(n int, f func(i, j int) float64) float64 {
	sum := 0.0
	for i := range n {
		for j := range n {
			sum += f(i, j)
		}
	}
	return sum / float64(n*n)
}

func square(x float64) float64 { return x * x }

func smoothL1(e float64) float64 {
	if e = math.Abs(e); e > 1 {
		return e - 0.5
	}
	return e * e / 2
}

// The definitions, word for word, of student and teacher vectors.
func plainSP(s, t []float64, n int) float64 {
	a, b := cosines(s, n), cosines(t, n)
	return meanOf(n, func(i, j int) float64 { return square(a[i][j] - b[i][j]) })
}

func plainCCKD(gamma float64, order int) func(s, t []float64, n int) float64 {
	kernel := func(x float64) float64 {
		sum, term := 0.0, 1.0
		for p := range order {
			sum += term
			term *= 2 * gamma * x / float64(p+1)
		}
		return math.Exp(-2*gamma) * sum
	}
	return func(s, t []float64, n int) float64 {
		a, b := cosines(s, n), cosines(t, n)
		return meanOf(n, func(i, j int) float64 { return square(kernel(a[i][j]) - kernel(b[i][j])) })
	}
}

func plainPKT(s, t []float64, n int) float64 {
	const epsilon = 1e-6
	likely := func(x [][]float64) [][]float64 {
		for i := range x {
			sum := 0.0
			for j := range x[i] {
				x[i][j] = (x[i][j] + 1) / 2
				sum += x[i][j]
			}
			for j := range x[i] {
				x[i][j] /= sum
			}
		}
		return x
	}
	p, q := likely(cosines(s, n)), likely(cosines(t, n))
	return meanOf(n, func(i, j int) float64 { return q[i][j] * math.Log((q[i][j]+epsilon)/(p[i][j]+epsilon)) })
}

func plainRKDDistance(s, t []float64, n int) float64 {
	relative := func(v []float64) func(i, j int) float64 {
		d := len(v) / n
		distance := func(i, j int) float64 {
			e := less(row(v, i, d), row(v, j, d))
			return math.Sqrt(inner(e, e))
		}
		some := meanOf(n, func(i, j int) float64 {
			if distance(i, j) > 0 {
				return 1
			}
			return 0
		})
		mean := meanOf(n, distance) / some
		return func(i, j int) float64 { return distance(i, j) / mean }
	}
	a, b := relative(s), relative(t)
	return meanOf(n, func(i, j int) float64 { return smoothL1(a(i, j) - b(i, j)) })
}

func plainRKDAngle(s, t []float64, n int) float64 {
	d := len(s) / n
	edges := func(v []float64, i int) [][]float64 {
		var all [][]float64
		for j := range n {
			all = append(all, direction(less(row(v, j, d), row(v, i, d))))
		}
		return all
	}
	sum := 0.0
	for i := range n {
		a, b := edges(s, i), edges(t, i)
		sum += meanOf(n, func(j, k int) float64 { return smoothL1(inner(a[j], a[k]) - inner(b[j], b[k])) })
	}
	return sum / float64(n)
}

func plainRKD(s, t []float64, n int) float64 {
	return 25*plainRKDDistance(s, t, n) + 50*plainRKDAngle(s, t, n)
}

func plainDarkRank(alpha, beta float64, most int) func(s, t []float64, n int) float64 {
	return func(s, t []float64, n int) float64 {
		d, near, sum := len(s)/n, cosines(t, n), 0.0
		for i := range n {
			var order []int
			for j := range n {
				if j != i {
					order = append(order, j)
				}
			}
			slices.SortFunc(order, func(a, b int) int { return cmp.Compare(near[i][b], near[i][a]) })
			order = order[:min(most, len(order))]
			score := func(j int) float64 {
				e := less(direction(row(s, i, d)), direction(row(s, j, d)))
				return -alpha * math.Pow(math.Sqrt(inner(e, e)), beta)
			}
			for k, j := range order {
				rest := 0.0
				for _, m := range order[k:] {
					rest += math.Exp(score(m))
				}
				sum -= score(j) - math.Log(rest)
			}
		}
		return sum / float64(n)
	}
}

// relations are losses of all pairs of a batch, with what defines them.
var relations = map[string]struct {
	loss, section string
	plain         func(s, t []float64, n int) float64
}{
	"sp":                 {"sp", "{}", plainSP},
	"cckd":               {"cckd", "{}", plainCCKD(0.4, 2)},
	"cckd of order 5":    {"cckd", "{kernel_gamma: 0.7, kernel_order: 5}", plainCCKD(0.7, 5)},
	"rkd":                {"rkd", "{}", plainRKD},
	"rkd, distance only": {"rkd", "{distance_weight: 1, angle_weight: 0}", plainRKDDistance},
	"rkd, angle only":    {"rkd", "{distance_weight: 0, angle_weight: 1}", plainRKDAngle},
	"pkt":                {"pkt", "{}", plainPKT},
	"darkrank":           {"darkrank", "{}", plainDarkRank(3, 3, 3)},
	"darkrank of 5":      {"darkrank", "{score_alpha: 2, score_beta: 1.5, ranked: 5}", plainDarkRank(2, 1.5, 5)},
}

// Each is its definition, in value and, by central differences, in gradient.
func TestRelationsAreTheirDefinitions(t *testing.T) {
	e := torchtest.Open(t)
	for name, r := range relations {
		t.Run(name, func(t *testing.T) {
			c := config(t, r.loss, r.section)
			for _, n := range []int{2, 3, 9} {
				p := newProblem(uint64(20+n), n, 8)
				got, analytic := p.value(t, e, builder(t, c, p.d))
				if want := r.plain(p.student, p.teacher, n); math.Abs(got-want) > 1e-10*(1+want) {
					t.Errorf("of %d samples it is %.12g, want %.12g", n, got, want)
				}
				if far, length := distanceToDifferences(p, analytic, r.plain); far > 1e-6*length+1e-8 {
					t.Errorf("of %d samples the gradient, of length %g, is off by %g", n, length, far)
				}
			}
		})
	}
}

// distanceToDifferences is how far a gradient lies from that of central differences of plain,
// and how long this is.
func distanceToDifferences(p problem, gradient []float64, plain func(s, t []float64, n int) float64) (far, length float64) {
	const eps = 1e-5
	for i, g := range gradient {
		at := func(delta float64) float64 {
			moved := slices.Clone(p.student)
			moved[i] += delta
			return plain(moved, p.teacher, p.n)
		}
		numeric := (at(eps) - at(-eps)) / (2 * eps)
		far, length = math.Hypot(far, numeric-g), math.Hypot(length, numeric)
	}
	return far, length
}

// Of so many samples the angles are looked at in several blocks, the last of which is smaller.
func TestAnglesOfSeveralBlocks(t *testing.T) {
	e := torchtest.Open(t)
	const n = 77
	if size := blockOn("cpu") / (n * n); size >= n || n%size == 0 {
		t.Fatalf("blocks of %d", size)
	}
	p := newProblem(31, n, 4)
	copy(row(p.student, 7, p.d), row(p.student, 70, p.d)) // equal embeddings have no angle
	copy(row(p.teacher, 8, p.d), row(p.teacher, 71, p.d))
	got, gradient := p.value(t, e, builder(t, config(t, "rkd", "{distance_weight: 0, angle_weight: 1}"), p.d))
	if want := plainRKDAngle(p.student, p.teacher, n); math.Abs(got-want) > 1e-10 {
		t.Errorf("it is %.12g, want %.12g", got, want)
	}
	// Along a random direction in which the equal ones stay together.
	rng, along := rand.New(rand.NewPCG(1, 1)), make([]float64, len(gradient))
	for i := range along {
		along[i] = rng.NormFloat64()
	}
	copy(row(along, 7, p.d), row(along, 70, p.d))
	at := func(eps float64) float64 {
		moved := slices.Clone(p.student)
		for i := range moved {
			moved[i] += eps * along[i]
		}
		return plainRKDAngle(moved, p.teacher, n)
	}
	const eps = 1e-5
	if numeric, g := (at(eps)-at(-eps))/(2*eps), inner(gradient, along); math.Abs(numeric-g) > 1e-6*math.Abs(numeric) {
		t.Errorf("the slope is %g, want %g", g, numeric)
	}
}

// With its defaults CCKD is linear in the cosines, and so a multiple of SP.
func TestCCKDIsAMultipleOfSP(t *testing.T) {
	e := torchtest.Open(t)
	p := newProblem(32, 12, 8)
	sp, ofSP := p.value(t, e, builder(t, Config{Name: "sp"}, p.d))
	cckd, ofCCKD := p.value(t, e, builder(t, Config{Name: "cckd"}, p.d))
	factor := square(0.8 * math.Exp(-0.8))
	if math.Abs(factor-0.1292138) > 1e-7 || math.Abs(cckd-factor*sp) > 1e-14 {
		t.Errorf("CCKD is %g, %g times SP, want %g times", cckd, cckd/sp, factor)
	}
	for i := range ofSP {
		if math.Abs(ofCCKD[i]-factor*ofSP[i]) > 1e-14 {
			t.Errorf("gradient %d is %g, want %g", i, ofCCKD[i], factor*ofSP[i])
		}
	}
}

// Relations within the student's embeddings do not see a rotation of them all; RKD's, which
// are of differences, no shift and no common factor either.
func TestRelationsStay(t *testing.T) {
	e := torchtest.Open(t)
	for name, r := range relations {
		p := newProblem(33, 9, 8)
		c := config(t, r.loss, r.section)
		before, _ := p.value(t, e, builder(t, c, p.d))
		moved := p
		moved.student = slices.Clone(p.student)
		sin, cos := math.Sincos(0.9)
		for i := range p.n {
			v := row(moved.student, i, p.d)
			for k := 0; k < p.d; k += 2 {
				v[k], v[k+1] = cos*v[k]-sin*v[k+1], sin*v[k]+cos*v[k+1]
			}
			for k := range v {
				if r.loss == "rkd" {
					v[k] = 3*v[k] + float64(k)
				}
			}
		}
		if after, _ := moved.value(t, e, builder(t, c, p.d)); math.Abs(after-before) > 1e-11*(1+before) {
			t.Errorf("%s moved from %g to %g", name, before, after)
		}
	}
}

// Where embeddings are equal, in the student, the teacher or both, a relation and its gradient
// are finite, and a step along the gradient is a sane one.
func TestRelationsOfEqualEmbeddings(t *testing.T) {
	e := torchtest.Open(t)
	for name, r := range relations {
		for what, spoil := range map[string]func(p problem, v []float64){
			"two equal": func(p problem, v []float64) { copy(row(v, 1, p.d), row(v, 0, p.d)) },
			"all equal": func(p problem, v []float64) {
				for i := range p.n {
					copy(row(v, i, p.d), row(v, 0, p.d))
				}
			},
			"two nearly equal": func(p problem, v []float64) {
				copy(row(v, 1, p.d), row(v, 0, p.d))
				v[0] += 1e-9
			},
		} {
			for who := 1; who <= 3; who++ {
				p := newProblem(34, 6, 8)
				if who&1 > 0 {
					spoil(p, p.student)
				}
				if who&2 > 0 {
					spoil(p, p.teacher)
				}
				v, g := p.value(t, e, builder(t, config(t, r.loss, r.section), p.d))
				if length := math.Sqrt(inner(g, g)); !finite(v, length) || length > 100 {
					t.Errorf("%s, %s of %d: loss %g, gradient of length %g", name, what, who, v, length)
				}
			}
		}
	}
}

// The losses are computed in the type of the embeddings, or in float32 where that is too
// narrow, and come near what float64 gives. (Unit vectors in float16 are for other devices.)
func TestLossesInNarrowTypes(t *testing.T) {
	e := torchtest.Open(t)
	for _, name := range []string{"hfc", "angular", "unit-l2", "sp", "cckd", "rkd", "pkt", "darkrank"} {
		c := Config{Name: name}
		p := newProblem(35, 12, 16)
		want, _ := p.value(t, e, builder(t, c, p.d))
		for dtype, off := range map[torch.DType]float64{torch.Float32: 1e-4, torch.BFloat16: 0.05} {
			s := torchtest.Scope(t, e)
			student := s.To(torch.FromData(s, "cpu", p.student, p.n, p.d), dtype)
			s.RequireGrad(student, true)
			value, _ := builder(t, c, p.d)(s).Step(s, p.batch(s, student))
			s.Backward(value)
			g := s.Floats(s.Grad(student))
			if s.Err() != nil {
				t.Errorf("%s in %s: %v", name, dtype, s.Err())
				continue
			}
			if got := s.Scalar(value); math.Abs(got-want) > off*want {
				t.Errorf("%s in %s: %g, want %g", name, dtype, got, want)
			}
			for _, x := range g {
				if !finite(float64(x)) {
					t.Errorf("%s in %s: gradient %g", name, dtype, x)
					break
				}
			}
		}
	}
}
