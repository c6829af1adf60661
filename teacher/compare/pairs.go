package compare

import (
	"math/rand/v2"

	"facepipe/store"
)

// pairKind says what is known of the people on a pair of crops.
type pairKind int

const (
	nobodyKnown pairKind = iota
	samePerson
	twoPeople
)

// pair is two rows of a dataset.
type pair struct {
	a, b int
	kind pairKind
}

// pairDeck draws pairs of crops.
type pairDeck struct {
	labels []int32
	// named are the rows with an identity, grouped by it. The first repeated ones are of
	// identities with several crops, the others of those with one.
	named    []uint32
	repeated int
	groups   []group // by label
	people   int
}

// group is where an identity's rows lie in named.
type group struct{ from, to uint32 }

// newPairDeck groups the rows by their labels, by counting: 4 bytes a row and 8 an
// identity.
func newPairDeck(labels []int32) *pairDeck {
	d := &pairDeck{labels: labels}
	for _, l := range labels {
		for int(l) >= len(d.groups) {
			d.groups = append(d.groups, group{})
		}
		if l != store.NoLabel {
			d.groups[l].to++
		}
	}
	at := uint32(0)
	for _, several := range []bool{true, false} {
		for i, g := range d.groups {
			// Those laid out already are empty until their rows are in.
			if crops := g.to - g.from; crops > 0 && (crops > 1) == several {
				d.groups[i] = group{at, at}
				at += crops
				d.people++
			}
		}
		if several {
			d.repeated = int(at)
		}
	}
	d.named = make([]uint32, at)
	for row, l := range labels {
		if l != store.NoLabel {
			d.named[d.groups[l].to] = uint32(row)
			d.groups[l].to++
		}
	}
	return d
}

// draw draws n pairs: half of one identity, half of two, or all of one kind if there is only
// that. If there is neither they are of any two crops. Each partner of a crop is as likely as
// any other. There is no pair of a single crop.
func (d *pairDeck) draw(n int, seed uint64) []pair {
	rng := rand.New(rand.NewPCG(seed, 1))
	same := n / 2
	switch {
	case d.repeated == 0 && d.people < 2:
		return d.any(n, rng)
	case d.repeated == 0:
		same = 0
	case d.people < 2:
		same = n
	}
	pairs := make([]pair, 0, n)
	for i := range n {
		if i < same {
			pairs = append(pairs, d.same(rng))
		} else {
			pairs = append(pairs, d.different(rng))
		}
	}
	return pairs
}

// same is a crop and another of its identity.
func (d *pairDeck) same(rng *rand.Rand) pair {
	a := rng.IntN(d.repeated)
	g := d.groupOf(a)
	b := int(g.from) + rng.IntN(int(g.to-g.from)-1)
	if b >= a {
		b++
	}
	return pair{int(d.named[a]), int(d.named[b]), samePerson}
}

// different is a crop and another of another identity.
func (d *pairDeck) different(rng *rand.Rand) pair {
	a := rng.IntN(len(d.named))
	g := d.groupOf(a)
	size := int(g.to - g.from)
	b := rng.IntN(len(d.named) - size)
	if b >= int(g.from) {
		b += size
	}
	return pair{int(d.named[a]), int(d.named[b]), twoPeople}
}

func (d *pairDeck) groupOf(named int) group { return d.groups[d.labels[d.named[named]]] }

// any are pairs of any two crops.
func (d *pairDeck) any(n int, rng *rand.Rand) []pair {
	rows := len(d.labels)
	if rows < 2 {
		return nil
	}
	var pairs []pair
	for range n {
		a, b := rng.IntN(rows), rng.IntN(rows-1)
		if b >= a {
			b++
		}
		pairs = append(pairs, pair{a, b, nobodyKnown})
	}
	return pairs
}
