package loss

import (
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	"facepipe/student/torch"
	"facepipe/student/torch/torchtest"
)

// crops is a batch of samples of a small dataset; their teacher embeddings count pushes.
func crops(s *torch.Scope, rng *rand.Rand, n, samples, step int) pair {
	var p pair
	data := make([]float32, 0, 2*n)
	for i := range n {
		p.samples, p.labels = append(p.samples, rng.Int64N(int64(samples))), append(p.labels, int32(i))
		p.mirrored = append(p.mirrored, rng.IntN(2) == 1)
		data = append(data, float32(step), float32(i))
	}
	p.student, p.teacher = torch.FromData(s, "cpu", data, n, 2), torch.FromData(s, "cpu", data, n, 2)
	return p
}

// An image has one entry, its last one; the oldest places go first.
func TestBankReplacesRepeats(t *testing.T) {
	e := torchtest.Open(t)
	for name, tt := range map[string]struct{ capacity, batch, samples int }{
		"more room than images":    {64, 8, 10},
		"as much":                  {20, 8, 10},
		"less":                     {12, 8, 10},
		"batch larger than a bank": {6, 16, 10},
	} {
		t.Run(name, func(t *testing.T) {
			s := torchtest.Scope(t, e)
			rng := rand.New(rand.NewPCG(7, 8))
			b := newBank(tt.capacity, 2, true).replacing()
			latest := map[image][2]float32{}
			for step := range 30 {
				p := crops(s, rng, tt.batch, tt.samples, step)
				b.push(s, p, step)
				for i, sample := range p.samples {
					latest[image{sample, p.mirrored[i]}] = [2]float32{float32(step), float32(i)}
				}
				if step == 20 {
					st := State{}
					b.state(s, st)
					b = newBank(tt.capacity, 2, true).replacing()
					if err := b.restore(s, "cpu", st); err != nil {
						t.Fatal(err)
					}
				}
			}
			if want := min(tt.capacity, 2*tt.samples); b.filled != want || len(b.place) != want {
				t.Errorf("%d entries of %d images, want %d", b.filled, len(b.place), want)
			}
			student, teacher := s.Floats(b.student), s.Floats(b.teacher)
			for i := range b.filled {
				of := image{b.sample[i], b.mirrored[i]}
				want := latest[of]
				if b.place[of] != i || !slices.Equal(student[2*i:2*i+2], want[:]) || !slices.Equal(teacher[2*i:2*i+2], want[:]) ||
					b.step[i] != int64(want[0]) || b.label[i] != int32(want[1]) {
					t.Errorf("entry %d of %+v holds %v of step %d, label %d, want %v", i, of, teacher[2*i:2*i+2], b.step[i], b.label[i], want)
				}
			}
			if searched := torch.ToData[int64](s, b.columns.samples)[:b.filled]; !slices.Equal(searched, b.sample[:b.filled]) {
				t.Errorf("searched are %v of %v", searched, b.sample)
			}
		})
	}
}

// Runs of older versions go on with an image's entries beside each other.
func TestBankKeepsRepeats(t *testing.T) {
	s := torchtest.Scope(t, torchtest.Open(t))
	rng := rand.New(rand.NewPCG(7, 8))
	b := newBank(12, 2, false)
	for step := range 4 {
		b.push(s, crops(s, rng, 8, 1, step), step)
	}
	if b.filled != 12 || b.next != 8 || !slices.Equal(b.step, []int64{3, 3, 3, 3, 3, 3, 3, 3, 2, 2, 2, 2}) {
		t.Errorf("%d entries, next %d, of steps %v", b.filled, b.next, b.step)
	}
	b = newBank(6, 2, false)
	b.push(s, crops(s, rng, 8, 1, 0), 0) // of which the end stays
	if b.next != 0 || !slices.Equal(b.label, []int32{2, 3, 4, 5, 6, 7}) {
		t.Errorf("next %d, labels %v", b.next, b.label)
	}
}

// What is mined of a few faces that come again and again differs.
func TestFewFacesAreMinedOnce(t *testing.T) {
	s := torchtest.Scope(t, torchtest.Open(t))
	c := rpsdDefaults
	c.Bank, c.Delta = 4096, 0
	l := newRPSD(c, 16)
	crowd := newPeople(16, 8)
	all := crowd.batch(s, 64, 0)
	for step := range 20 {
		l.bank.push(s, all, step)
	}
	pairs, taken := 0, map[int64]bool{}
	found := torch.ToData[int64](s, l.search(s, all, columnsOf(s, all), 20))
	rs, rt := exactly(s, all.student, l.bank.teacher), exactly(s, all.teacher, l.bank.teacher)
	row := offered{entry: found[:len(found)/64]}
	for _, j := range row.entry {
		row.rs, row.rt = append(row.rs, rs[j]), append(row.rt, rt[j])
	}
	for _, k := range l.mineRow(all.samples[0], all.labels[0], row, 20) {
		pairs++
		taken[l.bank.sample[row.entry[k]]] = true
	}
	if s.Err() != nil || pairs < 40 || len(taken) != pairs {
		t.Errorf("%v: %d pairs with %d faces", s.Err(), pairs, len(taken))
	}
}

// A bank without room for all negatives is used with what it has.
func TestSmallBankIsUsed(t *testing.T) {
	s := torchtest.Scope(t, torchtest.Open(t))
	for repeats, want := range map[string]bool{"replace": true, "keep": false} {
		o, err := New(config(t, "unified", "rpsd: {bank: 6, repeats: "+repeats+"}"), Env{Device: "cpu", Dim: 8, OwnDim: 8})
		if err != nil {
			t.Fatal(err)
		}
		var parts Parts
		for step := range 2 {
			p := newProblem(uint64(step), 5, 8)
			for i := range p.samples {
				p.samples[i] += int64(5 * step)
			}
			_, parts = o.Step(s, p.batch(s, torch.FromData(s, "cpu", p.student, p.n, p.d)))
		}
		if pairs := Means(s, []Parts{parts})["pairs"]; s.Err() != nil || (pairs > 0) != want {
			t.Errorf("%s: %v: %g pairs of a small bank", repeats, s.Err(), pairs)
		}
	}
}

// However little room there is, no image is there twice and no identity more often than it may
// be, and the bank knows where they are.
func TestBankLimitsIdentities(t *testing.T) {
	e := torchtest.Open(t)
	const most, people = 3, 4
	for name, capacity := range map[string]int{"room for all": most * people, "less": 7, "more": 20} {
		t.Run(name, func(t *testing.T) {
			s := torchtest.Scope(t, e)
			rng := rand.New(rand.NewPCG(9, 8))
			b := newBank(capacity, 2, true).limiting(most)
			for step := range 30 {
				p := crops(s, rng, 9, 40, step)
				for i, sample := range p.samples {
					p.labels[i] = int32(sample % people)
				}
				b.push(s, p, step)
				if step == 15 {
					st := State{}
					b.state(s, st)
					b = newBank(capacity, 2, true).limiting(most)
					if err := b.restore(s, "cpu", st); err != nil {
						t.Fatal(err)
					}
				}
				own, images := owned{}, map[image]int{}
				for j := range b.filled {
					own.add(b.label[j], j)
					images[image{b.sample[j], b.mirrored[j]}] = j
					if b.label[j] != int32(b.sample[j]%people) {
						t.Fatalf("step %d: entry %d of sample %d has label %d", step, j, b.sample[j], b.label[j])
					}
				}
				for label, entries := range own {
					if len(entries) > most {
						t.Fatalf("step %d: identity %d has entries %v", step, label, entries)
					}
				}
				if !maps.EqualFunc(own, b.own, slices.Equal) || !maps.Equal(images, b.place) || len(images) != b.filled {
					t.Fatalf("step %d: entries %v at %v, known as %v at %v", step, own, images, b.own, b.place)
				}
			}
			if b.filled != min(capacity, most*people) {
				t.Errorf("%d entries", b.filled)
			}
		})
	}
}
