package uncertainty

import "facepipe/eval/verification"

// pair has the identities of a trial, numbered from 0; the two are equal if there is one.
type pair struct{ a, b int32 }

// Kinds of trials.
const (
	different = 0
	same      = 1
)

// people are the identities of trials.
type people struct {
	count int
	// of has the pair of each trial, by kind, in the order of the scores.
	of [2][]pair
	// met is how many identities trials of each kind have.
	met [2]int
}

// meet numbers the identities of scores. The images of a same-person trial are of one identity,
// also where each has a number of its own, for want of a name.
func meet(s *verification.Scores) people {
	columns := [2]verification.Column{s.Column(false), s.Column(true)}
	places := map[int32]int32{}
	var parent []int32
	place := func(number int32) int32 {
		at, ok := places[number]
		if !ok {
			at = int32(len(parent))
			places[number], parent = at, append(parent, at)
		}
		return at
	}
	root := func(at int32) int32 {
		for parent[at] != at {
			parent[at] = parent[parent[at]]
			at = parent[at]
		}
		return at
	}
	var p people
	for kind, c := range columns {
		p.of[kind] = make([]pair, len(c.First))
		for i := range c.First {
			p.of[kind][i] = pair{place(c.First[i]), place(c.Second[i])}
		}
	}
	for _, t := range p.of[same] {
		parent[root(t.a)] = root(t.b)
	}
	number := make([]int32, len(parent))
	for at := range parent {
		if root(int32(at)) == int32(at) {
			number[at] = int32(p.count)
			p.count++
		}
	}
	for kind, pairs := range p.of {
		met := make([]bool, p.count)
		for i, t := range pairs {
			pairs[i] = pair{number[root(t.a)], number[root(t.b)]}
			met[pairs[i].a], met[pairs[i].b] = true, true
		}
		for _, is := range met {
			if is {
				p.met[kind]++
			}
		}
	}
	return p
}
