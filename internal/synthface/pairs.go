package synthface

import (
	"bytes"
	"fmt"
)

// folds and maxPairsPerFold follow the LFW protocol (Huang et al., "Labeled Faces
// in the Wild", 2007): 10 folds of 300 pairs of one person and 300 of two.
const (
	folds           = 10
	maxPairsPerFold = 300
)

// pair is two pictures, given by person and picture; the first one sorts first.
type pair struct{ i1, j1, i2, j2 int }

// foldPeople is the range of people from whom a fold's pairs are drawn. With
// enough of them, no person is in two folds.
func (o FolderOptions) foldPeople(fold int) (first, end int) {
	if o.Identities < 2*folds {
		return 0, o.Identities
	}
	return fold * o.Identities / folds, (fold + 1) * o.Identities / folds
}

// pairsPerFold is the number of pairs of one person in a fold, and of those of
// two: as many as the smallest fold has, at most maxPairsPerFold.
func (o FolderOptions) pairsPerFold() int {
	n := maxPairsPerFold
	for fold := range folds {
		first, end := o.foldPeople(fold)
		people := min(end-first, maxPairsPerFold)
		each := min(o.PerIdentity, maxPairsPerFold)
		n = min(n, people*each*(each-1)/2, people*(people-1)/2*each*each)
	}
	return n
}

// pairs is the list of pairs in the format of LFW's pairs.txt: folds and pairs of
// each kind, then for each fold the lines "name n1 n2" and "name1 n1 name2 n2".
func (o FolderOptions) pairs() []byte {
	n := o.pairsPerFold()
	var out bytes.Buffer
	fmt.Fprintf(&out, "%d\t%d\n", folds, n)
	for fold := range folds {
		r := newStream(o.Seed, "pairs", o.FirstIdentity, fold)
		first, end := o.foldPeople(fold)
		for _, p := range distinct(n, func() pair { return o.samePair(r, first, end) }) {
			fmt.Fprintf(&out, "%s\t%d\t%d\n", name(p.i1), p.j1+1, p.j2+1)
		}
		for _, p := range distinct(n, func() pair { return o.differentPair(r, first, end) }) {
			fmt.Fprintf(&out, "%s\t%d\t%s\t%d\n", name(p.i1), p.j1+1, name(p.i2), p.j2+1)
		}
	}
	return out.Bytes()
}

// distinct draws until it has n different pairs. There must be as many.
func distinct(n int, draw func() pair) []pair {
	seen := make(map[pair]bool, n)
	list := make([]pair, 0, n)
	for len(list) < n {
		if p := draw(); !seen[p] {
			seen[p] = true
			list = append(list, p)
		}
	}
	return list
}

func (o FolderOptions) samePair(r *stream, first, end int) pair {
	i := o.FirstIdentity + first + r.pick(end-first)
	j1, j2 := twoOf(r, o.PerIdentity)
	return pair{i, j1, i, j2}
}

func (o FolderOptions) differentPair(r *stream, first, end int) pair {
	i1, i2 := twoOf(r, end-first)
	offset := o.FirstIdentity + first
	return pair{offset + i1, r.pick(o.PerIdentity), offset + i2, r.pick(o.PerIdentity)}
}

// twoOf draws two different numbers below n, the smaller one first.
func twoOf(r *stream, n int) (int, int) {
	a, b := r.pick(n), r.pick(n-1)
	if b >= a {
		return a, b + 1
	}
	return b, a
}
