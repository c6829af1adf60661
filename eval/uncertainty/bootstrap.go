package uncertainty

import (
	"cmp"
	"fmt"
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
	asked  int // 0 where there are too few identities for any
	unused int // of those had no trial of a kind
}

// enough says whether most replicates could be used.
func (r replicates) enough() bool { return 2*r.unused < r.asked }

// notes say what is missing for want of people or trials.
func (r replicates) notes(p people) []string {
	switch {
	case r.asked == 0:
		return []string{fmt.Sprintf("intervals of accuracy, AUC, EER and FNMR at an FMR are not measurable: need %d identities, there are %d",
			minIdentities, p.count)}
	case r.unused == 0:
		return nil
	case !r.enough():
		return []string{fmt.Sprintf("intervals of accuracy, AUC, EER and FNMR at an FMR are not measurable: %d of %d replicates of the bootstrap had no comparison of a kind",
			r.unused, r.asked)}
	}
	return []string{fmt.Sprintf("%d of %d replicates of the bootstrap had no comparison of a kind and were left out", r.unused, r.asked)}
}

// resample runs the bootstrap if there are people enough. All models have the same trials.
func resample(models []model, p people, o Options) replicates {
	if p.count < minIdentities {
		return replicates{}
	}
	return bootstrap(models, p.count, o.Replicates, o.Seed)
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
	r := replicates{values: make([][][]float64, len(models)), asked: n}
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
	keep   []uint64         // by identity
	counts [][4]*cellCounts // by model, like [model.groups]
}

func newCounter(models []model, people int) *counter {
	c := &counter{models: models, keep: make([]uint64, people), counts: make([][4]*cellCounts, len(models))}
	for i, m := range models {
		for j, of := range m.groups() {
			c.counts[i][j] = newCellCounts(of.cells())
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
			if s := c.sample(i, lane); s.usable() {
				figures := make([]float64, m.figures())
				m.measure(s, figures)
				into[lane] = append(into[lane], figures)
			}
		}
	}
}

// sample is that of one model in one replicate. It is overwritten by the next block.
func (c *counter) sample(model, lane int) (s sample) {
	for kind := range s.byCell {
		s.byCell[kind], s.byFold[kind] = c.counts[model][kind][lane], c.counts[model][2+kind][lane]
		s.all[kind] = float64(len(c.models[model].byCell[kind].pairs))
		kept := 0
		for _, n := range s.byCell[kind] {
			kept += int(n)
		}
		s.kept[kind] = float64(kept)
	}
	return s
}
