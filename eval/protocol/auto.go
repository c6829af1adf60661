package protocol

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"

	"facepipe/eval/faces"
	"facepipe/eval/pairlist"
	"facepipe/eval/verification"
	"facepipe/internal/nearest"
	"facepipe/store"
)

// AutoPairs is how many pairs [Auto] draws where nothing else is asked for, as LFW has.
const AutoPairs = 6000

// Auto draws pairs from the identities of a set.
//
// As many pairs are of one person as of two. Identities are dealt out to the folds of the
// cross-validation, each to one, and different pairs are of two identities of one fold, so that
// a threshold is never chosen by people that it is tried on. A fold's same pairs are spread
// evenly over its people, however many images they have. Faces without an identity are not used.
type Auto struct {
	// Pairs of both kinds together; 0 takes [AutoPairs], or as many as there are.
	Pairs int
	// Seed decides the draw.
	Seed uint64
	// Hard, unless nil, are embeddings of all faces of the set: different pairs are then those
	// that lie nearest to each other, one for two identities as far as these suffice.
	Hard Embeddings
	// Progress receives bars; nil is silent.
	Progress io.Writer
}

// ErrTooFewFaces marks a set from which no pairs can be drawn.
var ErrTooFewFaces = errors.New("too few faces to draw pairs from")

// Draw is a list of pairs with declared folds. [ErrTooFewFaces] with numbers.
func (a Auto) Draw(ctx context.Context, set faces.Set) (*pairlist.List, error) {
	labels, err := set.Labels(ctx)
	if err != nil {
		return nil, err
	}
	d := &draw{Auto: a, rng: rand.New(rand.NewPCG(a.Seed, 0x6661636573)), labels: labels}
	if err := d.deal(set.Identities()); err != nil {
		return nil, err
	}
	shares, err := d.shares()
	if err != nil {
		return nil, err
	}
	list, err := pairlist.Make(pairlist.Auto, func(add func(a, b string, same bool, set int) error) error {
		for i, f := range d.folds {
			same, different, err := d.pairsOf(ctx, f, shares[i])
			if err != nil {
				return err
			}
			for k, pair := range slices.Concat(same, different) {
				x, errX := set.Head(pair[0])
				y, errY := set.Head(pair[1])
				if err := errors.Join(errX, errY); err != nil {
					return err
				}
				if err := add(x.Key, y.Key, k < len(same), i); err != nil {
					return err
				}
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	list.Notes = d.notes
	_, err = list.Seal()
	return list, err
}

// draw is a draw under way.
type draw struct {
	Auto
	rng    *rand.Rand
	labels []int32
	folds  []*autoFold
	notes  []string
}

func (d *draw) note(format string, args ...any) {
	d.notes = append(d.notes, fmt.Sprintf(format, args...))
}

// deal shares the people out to folds.
func (d *draw) deal(identities int) error {
	people := make([][]int, identities)
	unknown, several := 0, 0
	for place, label := range d.labels {
		if label == store.NoLabel {
			unknown++
			continue
		}
		people[label] = append(people[label], place)
		if len(people[label]) == 2 {
			several++
		}
	}
	people = slices.DeleteFunc(people, func(places []int) bool { return len(places) == 0 })
	folds := min(verification.FoldCount, several, len(people)/2)
	if folds < 2 {
		return fmt.Errorf("%w: %d images of %d identities, %d of which have two or more, and %d images without an identity; 4 identities are needed, 2 of them with two images, better 20 and more (ingest a folder with a folder for each person)",
			ErrTooFewFaces, len(d.labels)-unknown, len(people), several, unknown)
	}
	if unknown > 0 {
		d.note("%d of %d crops have no identity and are not used", unknown, len(d.labels))
	}
	if folds < verification.FoldCount {
		d.note("there are %d folds, as of %d identities %d have two images or more", folds, len(people), several)
	}
	d.rng.Shuffle(len(people), func(i, j int) { people[i], people[j] = people[j], people[i] })
	slices.SortStableFunc(people, func(a, b []int) int { return cmp.Compare(len(b), len(a)) })
	for range folds {
		d.folds = append(d.folds, &autoFold{of: map[int]int{}})
	}
	for _, places := range people {
		slices.MinFunc(d.folds, func(a, b *autoFold) int { return a.compare(b, len(places) > 1) }).add(places)
	}
	return nil
}

// shares are how many pairs of each kind the folds give: as alike as they can.
func (d *draw) shares() ([]int, error) {
	caps, most := make([]int, len(d.folds)), 0
	for i, f := range d.folds {
		caps[i] = min(f.same, f.other)
		most += caps[i]
	}
	each := d.Pairs / 2
	switch {
	case d.Pairs == 0:
		each = min(AutoPairs/2, most)
	case each > most:
		return nil, fmt.Errorf("%w: %d pairs are wanted, and these have %d, half of one person and half of two of one fold", ErrTooFewFaces, d.Pairs, 2*most)
	case each < len(d.folds):
		return nil, fmt.Errorf("%d pairs are wanted, at least %d are needed for %d folds", d.Pairs, 2*len(d.folds), len(d.folds))
	}
	return d.spread(caps, each), nil
}

// spread gives out a total in rounds, one to each that has not had its cap, those of the last
// round by chance. The caps together are no less than the total.
func (d *draw) spread(caps []int, total int) []int {
	given := make([]int, len(caps))
	active := d.rng.Perm(len(caps))
	for total > 0 {
		active = slices.DeleteFunc(active, func(i int) bool { return given[i] == caps[i] })
		if total < len(active) {
			d.rng.Shuffle(len(active), func(i, j int) { active[i], active[j] = active[j], active[i] })
		}
		for _, i := range active[:min(total, len(active))] {
			given[i]++
			total--
		}
	}
	return given
}

// pairsOf are pairs of a fold's faces, by their places: n of one person and n of two.
func (d *draw) pairsOf(ctx context.Context, f *autoFold, n int) (same, different [][2]int, err error) {
	caps := make([]int, len(f.people))
	for i, places := range f.people {
		caps[i] = len(places) * (len(places) - 1) / 2
	}
	for i, q := range d.spread(caps, n) {
		for _, k := range d.distinct(q, caps[i]) {
			x, y := unrank(k)
			same = append(same, [2]int{f.people[i][x], f.people[i][y]})
		}
	}
	taken := map[[2]int]bool{}
	if d.Hard != nil {
		if different, err = d.hardPairs(ctx, f, n); err != nil {
			return nil, nil, err
		}
		for _, pair := range different {
			taken[pair] = true
		}
		if len(different) < n {
			d.note("%d of %d different pairs of a fold are drawn by chance, as so many neighbours were not found", n-len(different), n)
		}
	}
	return same, d.chancePairs(f, n, taken, different), nil
}

// chancePairs adds pairs of two people until there are n: of people by chance and of faces of
// theirs; where that does not find enough, of any two faces.
func (d *draw) chancePairs(f *autoFold, n int, taken map[[2]int]bool, pairs [][2]int) [][2]int {
	add := func(x, y int) {
		pair := [2]int{min(x, y), max(x, y)}
		if len(pairs) < n && !taken[pair] {
			taken[pair] = true
			pairs = append(pairs, pair)
		}
	}
	for range 4 * n {
		i, j := d.rng.IntN(len(f.people)), d.rng.IntN(len(f.people)-1)
		if j >= i {
			j++
		}
		add(f.people[i][d.rng.IntN(len(f.people[i]))], f.people[j][d.rng.IntN(len(f.people[j]))])
	}
	if len(pairs) < n { // of n others no more are taken than there are pairs
		for _, k := range d.distinct(n, f.other) {
			add(f.otherPair(k))
		}
	}
	return pairs
}

// distinct are n of the numbers below limit.
func (d *draw) distinct(n, limit int) []int {
	if limit <= 4*n {
		return d.rng.Perm(limit)[:n]
	}
	met := make(map[int]bool, n)
	numbers := make([]int, 0, n)
	for len(numbers) < n {
		if k := d.rng.IntN(limit); !met[k] {
			met[k] = true
			numbers = append(numbers, k)
		}
	}
	return numbers
}

// unrank is pair number k of 0-1, 0-2, 1-2, 0-3 ...
func unrank(k int) (x, y int) {
	for y = 1; k >= y; y++ {
		k -= y
	}
	return k, y
}

// autoFold is the people of a fold: the places of their faces.
type autoFold struct {
	people [][]int
	of     map[int]int // person by place
	before []int       // faces of the people before each
	upTo   []int       // different pairs of people up to each
	faces  int
	same   int // pairs that there are
	other  int
}

func (f *autoFold) add(places []int) {
	n := len(places)
	for _, place := range places {
		f.of[place] = len(f.people)
	}
	f.people, f.before = append(f.people, places), append(f.before, f.faces)
	f.other += n * f.faces
	f.same += n * (n - 1) / 2
	f.faces += n
	f.upTo = append(f.upTo, f.other)
}

// compare says which fold is to have the next person: one that lacks its second, then one with
// fewer same pairs, if the person has any, then one with fewer faces.
func (f *autoFold) compare(g *autoFold, several bool) int {
	order := cmp.Compare(min(len(f.people), 2), min(len(g.people), 2))
	if several {
		order = cmp.Or(order, cmp.Compare(f.same, g.same))
	}
	return cmp.Or(order, cmp.Compare(f.faces, g.faces))
}

// otherPair is different pair number k of a fold.
func (f *autoFold) otherPair(k int) (x, y int) {
	person, _ := slices.BinarySearch(f.upTo, k+1)
	k -= f.upTo[person-1] // the first person alone has none
	x = f.people[person][k/f.before[person]]
	face := k % f.before[person]
	other, found := slices.BinarySearch(f.before, face)
	if !found {
		other--
	}
	return x, f.people[other][face-f.before[other]]
}

// candidate is a different pair.
type candidate struct {
	pair   [2]int
	cosine float32
}

// hardPairs are up to n different pairs of a fold that lie near each other, the nearest first;
// a second pair of the same two people only where there are too few.
func (d *draw) hardPairs(ctx context.Context, f *autoFold, n int) ([][2]int, error) {
	candidates, err := d.neighbours(ctx, f, n)
	if err != nil {
		return nil, err
	}
	slices.SortFunc(candidates, func(a, b candidate) int {
		return cmp.Or(cmp.Compare(b.cosine, a.cosine), slices.Compare(a.pair[:], b.pair[:]))
	})
	var first, second [][2]int
	met, metPeople := map[[2]int]bool{}, map[[2]int]bool{}
	for _, c := range candidates {
		a, b := f.of[c.pair[0]], f.of[c.pair[1]]
		people := [2]int{min(a, b), max(a, b)}
		switch {
		case met[c.pair]:
		case metPeople[people]:
			second = append(second, c.pair)
		default:
			first = append(first, c.pair)
		}
		met[c.pair], metPeople[people] = true, true
	}
	all := append(first, second...)
	return all[:min(n, len(all))], nil
}

// neighbours are each face's nearest faces of others in the fold.
func (d *draw) neighbours(ctx context.Context, f *autoFold, n int) ([]candidate, error) {
	const fewest, most = 4, 64
	s := nearest.Part[int]{Vectors: d.Hard}
	var labels []int32
	for person, places := range f.people {
		for _, place := range places {
			s.Places, labels = append(s.Places, place), append(labels, int32(person))
		}
	}
	search, err := nearest.New(ctx, s, labels, nearest.Options{K: min(most, max(fewest, 4*n/f.faces)), ExactUpTo: 50_000})
	if err != nil {
		return nil, err
	}
	found, err := search.Others(ctx, 0, f.faces, nil)
	if err != nil {
		return nil, err
	}
	var all []candidate
	for i, x := range s.Places {
		rows, cosines := found.Of(i)
		for k, row := range rows {
			y := s.Places[row]
			all = append(all, candidate{[2]int{min(x, y), max(x, y)}, cosines[k]})
		}
	}
	return all, nil
}
