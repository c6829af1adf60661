package nearest

import (
	"cmp"
	"context"
	"errors"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"

	"facepipe/internal/vec"
)

// people are vectors about the directions of people, nil for none.
type people [][]float32

func (p people) Len() int { return len(p) }
func (p people) Dim() int { return len(p[0]) }

func (p people) Row(i int, dst []float32) (bool, error) {
	return copy(dst, p[i]) > 0, nil
}

// draw makes n vectors of people, perPerson each, whose directions lie in a space of few
// dimensions; every 11th is nobody's and every 17th is missing.
func drawPeople(n, dim, perPerson, few int) (people, []int32) {
	rng := rand.New(rand.NewPCG(3, uint64(n)))
	normal := func(n int) []float32 {
		v := make([]float32, n)
		for i := range v {
			v[i] = float32(rng.NormFloat64())
		}
		return v
	}
	axes := make([][]float32, few)
	for i := range axes {
		axes[i] = normal(dim)
	}
	p, labels := make(people, n), make([]int32, n)
	var person []float32
	for i := range p {
		if i%perPerson == 0 {
			person = make([]float32, dim)
			for k, x := range normal(few) {
				for j, y := range axes[k] {
					person[j] += x * y
				}
			}
		}
		p[i], labels[i] = normal(dim), int32(i/perPerson)
		for j := range p[i] {
			p[i][j] += person[j]
		}
		if i%11 == 5 {
			labels[i] = NoLabel
		}
		if i%17 == 3 && i > 0 {
			p[i] = nil
		}
	}
	return p, labels
}

// plainly are the neighbours by the definition.
func plainly(p people, labels []int32, k, query int, same bool) (rows []int32, cosines []float64) {
	if p[query] == nil {
		return nil, nil
	}
	all := make([]float64, len(p))
	for i, v := range p {
		is := labels[i] == labels[query] && labels[i] != NoLabel
		if v == nil || i == query || is != same {
			continue
		}
		rows, all[i] = append(rows, int32(i)), vec.Cosine(p[query], v)
	}
	slices.SortStableFunc(rows, func(x, y int32) int { return cmp.Compare(all[y], all[x]) })
	rows = rows[:min(k, len(rows))]
	for _, row := range rows {
		cosines = append(cosines, all[row])
	}
	return rows, cosines
}

func newSearch(t testing.TB, p people, labels []int32, o Options) *Search {
	t.Helper()
	s, err := New(t.Context(), p, labels, o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func find(t testing.TB, s *Search) (others, same *Neighbours) {
	t.Helper()
	others, err := s.Others(t.Context(), 0, s.v.Len(), nil)
	if err != nil {
		t.Fatal(err)
	}
	same, err = s.Same(t.Context(), 0, s.v.Len(), nil)
	if err != nil {
		t.Fatal(err)
	}
	return others, same
}

// Where all are compared, what is found is what the definition says.
func TestExact(t *testing.T) {
	for _, c := range []struct{ n, dim, k, perPerson int }{
		{1, 8, 3, 1}, {2, 8, 3, 1}, {2, 8, 3, 2}, {40, 3, 5, 4}, {300, 24, 1, 7}, {700, 33, 20, 9}, {600, 48, 10, 600}, {120, 16, 200, 8},
	} {
		p, labels := drawPeople(c.n, c.dim, c.perPerson, 4)
		copy(p[c.n-1], p[0]) // twice the same, under another label or the same
		s := newSearch(t, p, labels, Options{K: c.k, ExactUpTo: c.n})
		if !s.Method().Exact() || s.Method().Recall != 1 {
			t.Errorf("method %+v", s.Method())
		}
		others, same := find(t, s)
		for i := range p {
			for _, list := range []struct {
				found *Neighbours
				same  bool
			}{{others, false}, {same, true}} {
				rows, cosines := list.found.Of(i)
				wantRows, want := plainly(p, labels, c.k, i, list.same)
				if !slices.Equal(rows, wantRows) {
					t.Fatalf("%+v, row %d, same %t: %v, want %v", c, i, list.same, rows, wantRows)
				}
				for k, x := range cosines {
					if x-float32(want[k]) > 1e-6 || float32(want[k])-x > 1e-6 {
						t.Fatalf("%+v, row %d: cosine %g, want %g", c, i, x, want[k])
					}
				}
			}
		}
	}
}

// Neither the number of workers nor the stretch that is asked for makes a difference, whichever
// way is taken.
func TestSameWhoeverWorks(t *testing.T) {
	p, labels := drawPeople(900, 16, 6, 4)
	for _, upTo := range []int{900, 0} {
		s := newSearch(t, p, labels, Options{K: 8, ExactUpTo: upTo, Workers: 1})
		others, same := find(t, s)
		for _, workers := range []int{2, 5, 64} {
			s := newSearch(t, p, labels, Options{K: 8, ExactUpTo: upTo, Workers: workers})
			again, sameAgain := find(t, s)
			if !reflect.DeepEqual(again, others) || !reflect.DeepEqual(sameAgain, same) {
				t.Errorf("up to %d, %d workers find something else", upTo, workers)
			}
			part, err := s.Others(t.Context(), 100, 333, nil)
			if err != nil {
				t.Fatal(err)
			}
			for i := range 233 {
				rows, _ := part.Of(i)
				if want, _ := others.Of(100 + i); !slices.Equal(rows, want) {
					t.Fatalf("row %d by itself: %v, want %v", 100+i, rows, want)
				}
			}
		}
	}
}

// Lists find what they say that they find, and look at few.
func TestLists(t *testing.T) {
	p, labels := drawPeople(6000, 32, 5, 3)
	exact, _ := find(t, newSearch(t, p, labels, Options{K: 10, ExactUpTo: len(p)}))
	s := newSearch(t, p, labels, Options{K: 10})
	m := s.Method()
	if m.Exact() || m.Lists != 300 || m.Probes < 1 || m.Probes > 100 || m.Recall < 0.95 || m.Recall == 1 || m.Sample != recallSample {
		t.Fatalf("method %+v", m)
	}
	others, same := find(t, s)
	hits, n := 0, 0
	for i := range p {
		rows, _ := others.Of(i)
		want, _ := exact.Of(i)
		for _, row := range want {
			n++
			if slices.Contains(rows, row) {
				hits++
			}
		}
		mine, _ := same.Of(i)
		if want, _ := plainly(p, labels, 10, i, true); !slices.Equal(mine, want) {
			t.Fatalf("row %d: %v of its own, want %v", i, mine, want)
		}
	}
	if all := float64(hits) / float64(n); all < m.Recall-0.02 || all > m.Recall+0.02 {
		t.Errorf("recall %.3f of all, %.3f of the sample", all, m.Recall)
	}
}

// Vectors without any order are compared with all: lists would save nothing.
func TestListsOfNoise(t *testing.T) {
	p, labels := drawPeople(2000, 64, 1, 64)
	s := newSearch(t, p, labels, Options{K: 10})
	if m := s.Method(); !m.Exact() || m.Recall != 1 {
		t.Errorf("method %+v", m)
	}
	others, _ := find(t, s)
	rows, _ := others.Of(7)
	if want, _ := plainly(p, labels, 10, 7, false); !slices.Equal(rows, want) {
		t.Errorf("%v, want %v", rows, want)
	}
}

// Degenerate sets have few neighbours or none.
func TestNothingNear(t *testing.T) {
	one := []float32{1, 2}
	for name, c := range map[string]struct {
		p            people
		labels       []int32
		others, same int
	}{
		"alone":     {people{one}, []int32{0}, 0, 0},
		"missing":   {people{nil, nil}, []int32{0, 0}, 0, 0},
		"one label": {people{one, one, one}, []int32{2, 2, 2}, 0, 2},
		"nobody's":  {people{one, one, one}, []int32{NoLabel, NoLabel, NoLabel}, 2, 0},
		"zero":      {people{one, {0, 0}, one}, []int32{0, 0, 1}, 1, 0},
	} {
		for _, upTo := range []int{10, 0} {
			s, err := New(t.Context(), twoDims{c.p}, c.labels, Options{K: 4, ExactUpTo: upTo})
			if err != nil {
				t.Fatal(name, err)
			}
			others, same := find(t, s)
			rows, _ := others.Of(0)
			mine, _ := same.Of(0)
			if len(rows) != c.others || len(mine) != c.same {
				t.Errorf("%s: others %v, same %v", name, rows, mine)
			}
		}
	}
}

type twoDims struct{ people }

func (twoDims) Dim() int { return 2 }

// broken fails at a row, or when it is asked for the n-th time.
type broken struct {
	people
	err error
	row int
}

func (b broken) Row(i int, dst []float32) (bool, error) {
	if i == b.row {
		return false, b.err
	}
	return b.people.Row(i, dst)
}

func TestErrors(t *testing.T) {
	p, labels := drawPeople(100, 8, 4, 4)
	bad := errors.New("bad sector")
	if _, err := New(t.Context(), broken{p, bad, 77}, labels, Options{K: 3, ExactUpTo: 100}); !errors.Is(err, bad) {
		t.Errorf("a row that cannot be read: %v", err)
	}
	s := newSearch(t, p, labels, Options{K: 3, ExactUpTo: 100})
	s.v = broken{p, bad, 77}
	if _, err := s.Others(t.Context(), 0, 50, nil); !errors.Is(err, bad) {
		t.Errorf("a row that cannot be read any more: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.Others(ctx, 0, 50, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

func TestDotFour(t *testing.T) {
	p, _ := drawPeople(8, 131, 1, 4)
	got := dotFour(p[0], &[4][]float32{p[1], p[2], p[4], p[5]})
	for i, v := range []int{1, 2, 4, 5} {
		if got[i] != vec.Dot(p[0], p[v]) {
			t.Errorf("product %d is %g, want %g", i, got[i], vec.Dot(p[0], p[v]))
		}
	}
}

func BenchmarkOthers(b *testing.B) {
	p, labels := drawPeople(20000, 512, 20, 32)
	for i := range p {
		if p[i] == nil {
			p[i] = p[0]
		}
	}
	s := newSearch(b, p, labels, Options{K: 64, ExactUpTo: len(p)})
	for b.Loop() {
		if _, err := s.Others(b.Context(), 0, len(p), nil); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.N)*float64(len(p))*float64(len(p))*512/b.Elapsed().Seconds()/1e9, "Gproducts/s")
}
