package loss

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"facepipe/student/torch"
	"facepipe/student/torch/torchtest"
)

// people draws unit vectors around the centres of identities; every ninth has no label.
type people struct {
	rng     *rand.Rand
	centres [][]float64
}

func newPeople(dim, n int) *people {
	p := &people{rng: rand.New(rand.NewPCG(5, 6))}
	for range n {
		p.centres = append(p.centres, p.vector(dim))
	}
	return p
}

func (p *people) vector(dim int) []float64 {
	v := make([]float64, dim)
	for i := range v {
		v[i] = p.rng.NormFloat64()
	}
	return v
}

// batch draws n pairs; samples are numbered from first.
func (p *people) batch(s *torch.Scope, n int, first int64) pair {
	var u pair
	dim := len(p.centres[0])
	student, teacher := make([]float32, 0, n*dim), make([]float32, 0, n*dim)
	for i := range n {
		who := p.rng.IntN(len(p.centres))
		label := int32(who)
		if i%9 == 8 {
			label = -1
		}
		t := p.vector(dim)
		for k, c := range p.centres[who] {
			t[k] += c
		}
		for k, e := range p.vector(dim) {
			teacher, student = append(teacher, float32(t[k])), append(student, float32(t[k]+e))
		}
		u.samples, u.labels = append(u.samples, first+int64(i)), append(u.labels, label)
	}
	u.student = s.Unit(torch.FromData(s, "cpu", student, n, dim))
	u.teacher = s.Unit(torch.FromData(s, "cpu", teacher, n, dim))
	return u
}

// together moves embeddings so that they lie around one direction.
func together(s *torch.Scope, p pair, spread float64) pair {
	if spread > 0 {
		dim := s.Shape(p.student)[1]
		direction := torch.FromData(s, "cpu", slices.Concat([]float32{1}, make([]float32, dim-1)), 1, dim)
		p.student = s.Unit(s.Add(s.Scale(p.student, spread), direction))
		p.teacher = s.Unit(s.Add(s.Scale(p.teacher, spread), direction))
	}
	return p
}

// exactly are all similarities of a batch and the bank's vectors.
func exactly(s *torch.Scope, query, vectors torch.Tensor) []float32 {
	return s.Floats(s.MatMul(query, s.Transpose(vectors)))
}

// Mining among what a search found picks what mining among all entries would.
func TestSearchFindsWhatMiningPicks(t *testing.T) {
	const dim, n, capacity = 64, 32, 2048
	for name, tt := range map[string]struct {
		change func(*rpsdSettings)
		pushes int
		float  bool    // search in float32, whatever the processor has
		spread float64 // of embeddings that all lie together, 0 for embeddings that do not
	}{
		"full bank":         {change: func(*rpsdSettings) {}, pushes: 70},
		"in float32":        {change: func(*rpsdSettings) {}, pushes: 70, float: true},
		"student's own":     {change: func(c *rpsdSettings) { c.Relation = "student" }, pushes: 70},
		"half full":         {change: func(*rpsdSettings) {}, pushes: 30},
		"few":               {change: func(c *rpsdSettings) { c.Negatives = 8 }, pushes: 1},
		"lapsing":           {change: func(c *rpsdSettings) { c.MaxAge = 20 }, pushes: 70},
		"doubtful":          {change: func(c *rpsdSettings) { c.IgnoreAbove = 0.4 }, pushes: 70},
		"only positives":    {change: func(c *rpsdSettings) { c.Negatives, c.Delta = 0, 0 }, pushes: 70},
		"a young student's": {change: func(c *rpsdSettings) { c.Relation, c.Delta = "student", 0 }, pushes: 70, spread: 0.03},
		"just too alike":    {change: func(c *rpsdSettings) { c.IgnoreAbove, c.Delta = 0.99, 0 }, pushes: 70, spread: 0.1},
	} {
		t.Run(name, func(t *testing.T) {
			e := torchtest.Open(t)
			s := torchtest.Scope(t, e)
			c := rpsdDefaults
			c.Bank = capacity
			tt.change(&c)
			l := newRPSD(c, dim)
			crowd := newPeople(dim, 40)
			for step := range tt.pushes {
				l.bank.push(s, together(s, crowd.batch(s, n, int64(step*n)), tt.spread), step)
			}
			if tt.float {
				clear(l.bank.searched)
			}
			p := together(s, crowd.batch(s, n, int64((tt.pushes-1)*n)), tt.spread) // of the last batch's samples
			reference := l.bank.teacher
			if l.bank.keepStudent {
				reference = l.bank.student
			}
			rs, rt := exactly(s, p.student, reference), exactly(s, p.teacher, l.bank.teacher)
			found := l.search(s, p, columnsOf(s, p), tt.pushes)
			entries := torch.ToData[int64](s, found)
			if s.Err() != nil {
				t.Fatal(s.Err())
			}
			missed, picked := 0, 0
			width := len(entries) / n
			for i := range n {
				row := func(j []int64) (c offered) {
					for _, j := range j {
						c.entry, c.rs, c.rt = append(c.entry, j), append(c.rs, rs[i*capacity+int(j)]), append(c.rt, rt[i*capacity+int(j)])
					}
					return c
				}
				all := make([]int64, l.bank.filled)
				for j := range all {
					all[j] = int64(j)
				}
				names := func(c offered) (picked []int64) {
					for _, k := range l.mineRow(p.samples[i], p.labels[i], c, tt.pushes) {
						picked = append(picked, c.entry[k])
					}
					return picked
				}
				got, want := names(row(entries[i*width:(i+1)*width])), names(row(all))
				picked += len(want)
				for _, j := range want {
					if !slices.Contains(got, j) {
						missed++
					}
				}
			}
			if picked == 0 || missed > 0 {
				t.Errorf("%d of %d pairs were not found", missed, picked)
			}
		})
	}
}

// What a search looks at follows the bank through a checkpoint.
func TestSearchAfterRestore(t *testing.T) {
	e := torchtest.Open(t)
	s := torchtest.Scope(t, e)
	c := rpsdDefaults
	c.Bank, c.Relation, c.MaxAge, c.Negatives = 96, "student", 2, 8
	crowd := newPeople(16, 6)
	before, after := newRPSD(c, 16), newRPSD(c, 16)
	for step := range 4 {
		before.bank.push(s, crowd.batch(s, 32, int64(32*step)), step)
	}
	st := State{}
	before.bank.state(s, st)
	if err := after.bank.restore(s, "cpu", st); err != nil {
		t.Fatal(err)
	}
	p := crowd.batch(s, 32, 1000)
	a, b := torch.ToData[int64](s, before.search(s, p, columnsOf(s, p), 4)), torch.ToData[int64](s, after.search(s, p, columnsOf(s, p), 4))
	if s.Err() != nil || len(a) == 0 || !slices.Equal(a, b) {
		t.Errorf("%v: %d and %d candidates", s.Err(), len(a), len(b))
	}
}

func TestWithSpare(t *testing.T) {
	for _, c := range []struct{ k, most, want int }{{32, math.MaxInt, 44}, {4, 1000, 9}, {32, 33, 33}, {0, 10, 0}, {-1, 10, 0}} {
		if got := withSpare(c.k, c.most); got != c.want {
			t.Errorf("withSpare(%d, %d) = %d, want %d", c.k, c.most, got, c.want)
		}
	}
}
