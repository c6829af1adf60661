package uncertainty

import (
	"slices"

	"facepipe/eval/verification"
)

// Kinds of trials.
const (
	different = 0
	same      = 1
)

// people are the identities of trials.
type people struct {
	count int
	// of has the identities of each trial, by kind, in the order of the scores.
	of [2]pairs
	// met is how many identities trials of each kind have.
	met [2]int
}

// pair has the identities of a trial, from 0; the two are equal if there is one.
type pair struct{ a, b int32 }

// pairs are those of trials.
type pairs struct {
	first, second []int32 // as the scores number them
	*numbering
}

func (p pairs) count() int { return len(p.first) }

func (p pairs) at(i int) pair { return pair{p.of(p.first[i]), p.of(p.second[i])} }

// numbering gives numbers from 0 to numbers of any kind.
type numbering struct {
	least  int32
	dense  []int32         // by number - least
	sparse map[int32]int32 // in place of dense where numbers are far apart
}

// newNumbering is for numbers out of two columns; nothing is numbered yet.
func newNumbering(columns [2]verification.Column) *numbering {
	var n numbering
	most, count := int32(0), 0
	for _, c := range columns {
		for _, numbers := range [][]int32{c.First, c.Second} {
			if len(numbers) > 0 {
				n.least, most = min(n.least, slices.Min(numbers)), max(most, slices.Max(numbers))
				count += len(numbers)
			}
		}
	}
	if size := int64(most) - int64(n.least) + 1; size <= 4*int64(count)+1<<16 {
		n.dense = slices.Repeat([]int32{-1}, int(size))
	} else {
		n.sparse = map[int32]int32{}
	}
	return &n
}

// of is the number that was given; -1 if none was, which is so of no number once all are numbered.
func (n *numbering) of(number int32) int32 {
	if n.dense != nil {
		return n.dense[number-n.least]
	}
	if place, ok := n.sparse[number]; ok {
		return place
	}
	return -1
}

func (n *numbering) set(number, place int32) {
	if n.dense != nil {
		n.dense[number-n.least] = place
	} else {
		n.sparse[number] = place
	}
}

// groups are sets that are joined two at a time; each names a member of its set, and in the end the
// same one.
type groups []int32

func (g groups) root(of int32) int32 {
	for g[of] != of {
		g[of] = g[g[of]]
		of = g[of]
	}
	return of
}

// meet numbers the identities of scores. The images of a same-person trial are of one identity,
// also where each has a number of its own, for want of a name.
func meet(s *verification.Scores) people {
	columns := [2]verification.Column{s.Column(false), s.Column(true)}
	n := newNumbering(columns)
	var joined groups
	var numbers []int32 // as the scores number them
	for _, c := range columns {
		for _, column := range [][]int32{c.First, c.Second} {
			for _, number := range column {
				if n.of(number) < 0 {
					n.set(number, int32(len(joined)))
					joined, numbers = append(joined, int32(len(joined))), append(numbers, number)
				}
			}
		}
	}
	for i, first := range columns[same].First {
		joined[joined.root(n.of(first))] = joined.root(n.of(columns[same].Second[i]))
	}
	var p people
	place := make([]int32, len(joined))
	for of := range joined {
		if joined.root(int32(of)) == int32(of) {
			place[of] = int32(p.count)
			p.count++
		}
	}
	for of, number := range numbers {
		n.set(number, place[joined.root(int32(of))])
	}
	for kind, c := range columns {
		p.of[kind] = pairs{c.First, c.Second, n}
		p.met[kind] = p.of[kind].identities(p.count)
	}
	return p
}

// identities is how many of all are in the trials.
func (p pairs) identities(all int) (count int) {
	met := make([]bool, all)
	for i := range p.count() {
		t := p.at(i)
		met[t.a], met[t.b] = true, true
	}
	for _, is := range met {
		if is {
			count++
		}
	}
	return count
}
