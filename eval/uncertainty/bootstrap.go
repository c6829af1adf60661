package uncertainty

import (
	"cmp"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
)

// descending numbers values from the largest to the least.
func descending(values []float64) []int {
	order := make([]int, len(values))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(i, j int) int { return cmp.Compare(values[j], values[i]) })
	return order
}

// replicates are the figures of models, measured on the same halves of the identities.
type replicates struct {
	// values are those of each model and figure, one a replicate that can be used.
	values [][][]float64
	unused int // had no trial of a kind
}

// sizes are the numbers of trials in cells.
func sizes(c celled) []uint32 {
	var n []uint32
	for i := range max(len(c.begin), 1) - 1 {
		n = append(n, uint32(c.begin[i+1]-c.begin[i]))
	}
	return n
}

// bootstrap measures n halves of so many identities. All models have the same trials.
func bootstrap(models []model, people, n int, seed uint64) replicates {
	blocks := (n + lanes - 1) / lanes
	found := make([][lanes][][]float64, blocks) // by block, lane, model
	next := make(chan int, blocks)
	for block := range blocks {
		next <- block
	}
	close(next)
	var group sync.WaitGroup
	for range min(runtime.GOMAXPROCS(0), blocks) {
		group.Go(func() {
			c := newCounter(models, people)
			for block := range next {
				c.measure(seed, block, &found[block])
			}
		})
	}
	group.Wait()
	r := replicates{values: make([][][]float64, len(models))}
	for i, m := range models {
		r.values[i] = make([][]float64, m.figures())
	}
	for replicate := range n {
		figures := found[replicate/lanes][replicate%lanes]
		if figures == nil {
			r.unused++
			continue
		}
		for i := range models {
			for k, value := range figures[i] {
				r.values[i][k] = append(r.values[i][k], value)
			}
		}
	}
	return r
}

// counter measures blocks of replicates.
type counter struct {
	models []model
	keep   []uint64 // by identity
	counts [][4]cellCounts
	sample sample
}

func newCounter(models []model, people int) *counter {
	c := &counter{models: models, keep: make([]uint64, people), counts: make([][4]cellCounts, len(models))}
	for i, m := range models {
		for j, of := range m.groups() {
			c.counts[i][j] = make(cellCounts, max(len(of.begin), 1)-1)
		}
	}
	return c
}

// groups are the trials by kind and cell, then by kind and fold.
func (m model) groups() [4]celled {
	return [4]celled{m.byCell[0], m.byCell[1], m.byFold[0], m.byFold[1]}
}

// measure fills in the figures of each model in a block of replicates; nil where a replicate
// cannot be used.
func (c *counter) measure(seed uint64, block int, into *[lanes][][]float64) {
	source := rand.NewPCG(seed, uint64(block))
	for i := range c.keep {
		c.keep[i] = source.Uint64()
	}
	for i, m := range c.models {
		for j, of := range m.groups() {
			of.count(c.keep, c.counts[i][j])
		}
		for lane := range lanes {
			s := c.lane(i, lane)
			if !s.usable() {
				continue
			}
			figures := make([]float64, m.figures())
			m.measure(s, figures)
			into[lane] = append(into[lane], figures)
		}
	}
}

// lane is the sample of one replicate and model. It is overwritten by the next.
func (c *counter) lane(model, lane int) sample {
	s := &c.sample
	for kind := range s.byCell {
		s.byCell[kind] = column(c.counts[model][kind], lane, s.byCell[kind])
		s.byFold[kind] = column(c.counts[model][2+kind], lane, s.byFold[kind])
		s.all[kind], s.kept[kind] = float64(len(c.models[model].byCell[kind].pairs)), 0
		for _, n := range s.byCell[kind] {
			s.kept[kind] += float64(n)
		}
	}
	return *s
}

// column copies the counts of one lane.
func column(counts cellCounts, lane int, into []uint32) []uint32 {
	into = into[:0]
	for i := range counts {
		into = append(into, counts[i][lane])
	}
	return into
}
