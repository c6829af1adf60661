package data

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"

	"facepipe/store"
)

// The ways in which batches are drawn.
const (
	// Uniform goes through all crops once an epoch.
	Uniform = "uniform"
	// ClassBalanced makes a batch of identities, with as many crops of each.
	ClassBalanced = "class-balanced"
	// Mixed draws the first half of a batch uniformly and the second class-balanced, as
	// EKD does (Huang et al., Evaluation-oriented Knowledge Distillation for Deep Face
	// Recognition, CVPR 2022): pairs of one person in every batch, without a bias to
	// people with few crops in all of it.
	Mixed = "mixed"
)

// Samplers lists the names that [Options] takes.
func Samplers() []string { return []string{Uniform, ClassBalanced, Mixed} }

// uniform is the number of crops of a batch that are drawn uniformly.
func (o *Options) uniform() int {
	switch o.Sampler {
	case ClassBalanced:
		return 0
	case Mixed:
		return o.Batch - o.Batch/2
	}
	return o.Batch
}

// pick is a crop's place in a batch.
type pick struct {
	row  int // global
	flip bool
}

// classes draws the class-balanced crops of batches.
//
// An epoch goes through the identities again and again, each time in a new order, and
// leaves out in each pass those too few for a batch; so identities are drawn equally
// often, whatever the number of their crops, and never twice in a batch. Of an identity
// with enough crops different ones are drawn; those of a smaller one are repeated, each
// mirrored or not on its own. Crops without an identity are never drawn.
//
// A batch follows from the seed, the epoch and its number, as windows do. The table takes
// 4 bytes a crop and 8 an identity.
type classes struct {
	seed       uint64
	flip       bool
	identities int // in a batch
	each       int // crops of one identity in a batch
	starts     []uint32
	rows       []uint32 // of identity k: rows[starts[k]:starts[k+1]]
	passes     map[passKey][]uint32
}

// passKey is a pass through the identities in an epoch.
type passKey struct{ epoch, number int }

// newClasses sorts the crops among rows, all if that is nil, by identity.
func newClasses(ds *store.Dataset, rows []int, o Options) (*classes, error) {
	balanced := o.Batch - o.uniform()
	if o.PerIdentity < 2 || balanced%o.PerIdentity != 0 || balanced == 0 {
		return nil, misfit("sampler %s: %d crops of a batch of %d are no whole number of identities with %d crops each, of which there must be 2 or more",
			o.Sampler, balanced, o.Batch, o.PerIdentity)
	}
	c := &classes{seed: o.Seed, flip: o.Flip, identities: balanced / o.PerIdentity, each: o.PerIdentity, passes: map[passKey][]uint32{}}
	if uint64(ds.Rows()) > 1<<32-1 {
		return nil, fmt.Errorf("sampler %s: the dataset %s has more than 2^32-1 crops", o.Sampler, ds.Dir())
	}
	labels, err := ds.Labels(context.Background())
	if err != nil {
		return nil, err
	}
	if rows != nil {
		keepOnly(labels, rows)
	}
	c.sort(labels, ds.Identities())
	if n := len(c.starts) - 1; n < c.identities {
		return nil, misfit("sampler %s: a batch of %d takes %d identities, the dataset %s has %d to train on", o.Sampler, o.Batch, c.identities, ds.Dir(), n)
	}
	return c, nil
}

// keepOnly takes the labels of all rows but some, which ascend, away.
func keepOnly(labels []int32, rows []int) {
	next := 0
	for row := range labels {
		if next < len(rows) && rows[next] == row {
			next++
			continue
		}
		labels[row] = store.NoLabel
	}
}

// sort groups the rows by label and drops labels that no row has.
func (c *classes) sort(labels []int32, n int) {
	ends := make([]uint32, n+1) // first the number of rows of each label, one place on
	for _, label := range labels {
		if label != store.NoLabel {
			ends[label+1]++
		}
	}
	for k := range n {
		ends[k+1] += ends[k]
	}
	c.rows = make([]uint32, ends[n])
	for row, label := range labels {
		if label != store.NoLabel {
			c.rows[ends[label]] = uint32(row)
			ends[label]++ // from the label's start to its end
		}
	}
	c.starts = slices.Compact(append([]uint32{0}, ends[:n]...))
}

// pass is the order of the identities in a pass.
func (c *classes) pass(key passKey) []uint32 {
	if order, ok := c.passes[key]; ok {
		return order
	}
	const few = 4 // batches in flight lie in one pass or two
	if len(c.passes) >= few {
		clear(c.passes)
	}
	order := make([]uint32, len(c.starts)-1)
	for k := range order {
		order[k] = uint32(k)
	}
	rng := rand.New(rand.NewPCG(c.seed^0x2545f4914f6cdd1d, uint64(key.epoch)<<32|uint64(key.number)))
	rng.Shuffle(len(order), func(a, b int) { order[a], order[b] = order[b], order[a] })
	c.passes[key] = order
	return order
}

// draw is the class-balanced part of an epoch's batch.
func (c *classes) draw(epoch, batch int) []pick {
	perPass := (len(c.starts) - 1) / c.identities
	order := c.pass(passKey{epoch, batch / perPass})
	picks := make([]pick, 0, c.identities*c.each)
	for i := range c.identities {
		k := order[batch%perPass*c.identities+i]
		rows := c.rows[c.starts[k]:c.starts[k+1]]
		rng := rand.New(rand.NewPCG(c.seed^0x94d049bb133111eb, uint64(epoch)<<40|uint64(batch*c.identities+i)))
		for _, at := range choose(rng, len(rows), c.each) {
			picks = append(picks, pick{int(rows[at]), c.flip && rng.Uint64()>>63 == 1})
		}
	}
	return picks
}

// choose draws k of n: different ones if there are so many (Floyd's algorithm: Bentley
// and Floyd, CACM 30(9), 1987), otherwise all of them again and again.
func choose(rng *rand.Rand, n, k int) []int {
	chosen := make([]int, 0, k)
	if n < k {
		order := rng.Perm(n)
		for i := range k {
			chosen = append(chosen, order[i%n])
		}
		return chosen
	}
	for last := n - k; last < n; last++ {
		at := rng.IntN(last + 1)
		if slices.Contains(chosen, at) {
			at = last
		}
		chosen = append(chosen, at)
	}
	return chosen
}
