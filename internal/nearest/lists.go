package nearest

import (
	"context"
	"math"
	"math/rand/v2"
	"slices"

	"facepipe/internal/progress"
	"facepipe/internal/vec"
)

// Target is the share of the neighbours that comparing with all finds which lists are to find, by
// the vectors that decide how many lists are looked at. Others then show what they do find.
const Target = 0.97

const (
	seed = 1
	// listsPerRoot times the root of the number of vectors is the number of lists.
	listsPerRoot = 4
	// trainPerList vectors decide where the lists are, in so many rounds.
	trainPerList = 32
	trainRounds  = 8
	// Vectors that decide how many lists are looked at, and others that show what that finds.
	tuneSample   = 512
	recallSample = 1000
	// leastGain is by how much fewer lists must be looked at than there are.
	leastGain = 3
)

// lists hold each vector once, with others at small angles to it: an inverted file (Jégou, Douze,
// Schmid, "Product quantization for nearest neighbor search", 2011) of whole vectors.
type lists struct {
	dim     int
	centres []float32 // of length one
	members groups
	of      []int32 // by row
	probes  int
}

func (l *lists) len() int { return len(l.centres) / l.dim }

func (l *lists) centre(i int32, dst []float32) error {
	copy(dst, l.centres[int(i)*l.dim:])
	return nil
}

// all are the numbers of all lists.
func (l *lists) all() []int32 {
	ids := make([]int32, l.len())
	for i := range ids {
		ids[i] = int32(i)
	}
	return ids
}

// compare offers to each query the vectors of the lists next to it.
func (l *lists) compare(s *Search, b *block) error {
	b.reset(l.probes, nil)
	if err := b.offer(l.all(), l.centre, b.all(), 0); err != nil {
		return err
	}
	asking := make([][]int32, l.len())
	total := 0
	for place := range b.queries {
		for _, c := range b.pools[place*b.keep:][:b.filled[place]] {
			asking[c.id] = append(asking[c.id], int32(place))
			total += len(l.members.of(int(c.id)))
		}
	}
	b.reset(s.o.K+Spare, s.isOther)
	for i, places := range asking {
		if len(places) == 0 || i >= l.members.len() {
			continue
		}
		if err := b.offer(l.members.of(i), s.unit, places, 1+total/len(b.queries)); err != nil {
			return err
		}
	}
	return nil
}

// approximate puts the vectors in lists, unless that would save little.
func (s *Search) approximate(ctx context.Context) error {
	rng := rand.New(rand.NewPCG(seed, uint64(len(s.valid))))
	sample := draw(rng, s.valid, tuneSample+recallSample)
	rng.Shuffle(len(sample), func(i, j int) { sample[i], sample[j] = sample[j], sample[i] })
	bar := progress.New(s.o.Progress, "compare a sample", int64(len(sample)))
	truth, err := s.sampled(ctx, sample, bar)
	bar.Finish()
	if err != nil {
		return err
	}
	l, err := s.makeLists(ctx, rng)
	if err != nil {
		return err
	}
	tune := min(tuneSample, len(sample)/2)
	if l.probes, err = s.tune(ctx, l, sample[:tune], truth[:tune]); err != nil {
		return err
	}
	if leastGain*l.probes > l.len() {
		return nil
	}
	s.lists = l
	found, err := s.sampled(ctx, sample[tune:], nil)
	s.method = Method{Lists: l.len(), Probes: l.probes, Recall: recall(truth[tune:], found), Sample: len(sample) - tune}
	return err
}

// draw are n of some items, in their order; all if there are fewer.
func draw(rng *rand.Rand, items []int32, n int) []int32 {
	var drawn []int32
	for i, item := range items {
		if rng.IntN(len(items)-i) < n-len(drawn) {
			drawn = append(drawn, item)
		}
	}
	return drawn
}

// sampled finds the neighbours of other labels of some rows.
func (s *Search) sampled(ctx context.Context, rows []int32, bar *progress.Bar) ([][]int32, error) {
	all := make([][]int32, len(rows))
	err := s.eachBlock(ctx, rows, bar, func(b *block, at int) error {
		b.reset(s.o.K+Spare, s.isOther)
		if err := s.compareOthers(b); err != nil {
			return err
		}
		for place := range b.queries {
			found := b.best(place)
			for _, c := range found[:min(len(found), s.o.K)] {
				all[at+place] = append(all[at+place], c.id)
			}
		}
		return nil
	})
	return all, err
}

// recall is the share of truth that was found.
func recall(truth, found [][]int32) float64 {
	n, hits := 0, 0
	for i, rows := range truth {
		n += len(rows)
		for _, row := range rows {
			if slices.Contains(found[i], row) {
				hits++
			}
		}
	}
	if n == 0 {
		return 1
	}
	return float64(hits) / float64(n)
}

// tune is the number of lists that have to be looked at to find Target of the truth.
func (s *Search) tune(ctx context.Context, l *lists, rows []int32, truth [][]int32) (int, error) {
	found := make([][]int, len(rows)) // how many by the place of their lists
	err := s.eachBlock(ctx, rows, nil, func(b *block, at int) error {
		b.reset(l.len(), nil)
		if err := b.offer(l.all(), l.centre, b.all(), 0); err != nil {
			return err
		}
		places := make([]int, l.len())
		for place := range b.queries {
			for i, c := range b.best(place) {
				places[c.id] = i
			}
			counts := make([]int, l.len())
			for _, row := range truth[at+place] {
				counts[places[l.of[row]]]++
			}
			found[at+place] = counts
		}
		return nil
	})
	if err != nil {
		return 0, err
	}
	n := 0
	for _, rows := range truth {
		n += len(rows)
	}
	hits := 0
	for probes := range l.len() {
		for _, counts := range found {
			hits += counts[probes]
		}
		if float64(hits) >= Target*float64(n) {
			return probes + 1, nil
		}
	}
	return l.len(), nil
}

// makeLists finds centres by k-means on the sphere and gives each vector to the nearest.
func (s *Search) makeLists(ctx context.Context, rng *rand.Rand) (*lists, error) {
	dim := s.v.Dim()
	n := min(len(s.valid), int(listsPerRoot*math.Sqrt(float64(len(s.valid)))))
	l := &lists{dim: dim, centres: make([]float32, n*dim), of: make([]int32, s.v.Len())}
	train := draw(rng, s.valid, n*trainPerList)
	bar := progress.New(s.o.Progress, "make lists", int64(len(train)*trainRounds+len(s.valid)))
	defer bar.Finish()
	for i, at := range rng.Perm(len(train))[:n] {
		if err := s.unit(train[at], l.centres[i*dim:(i+1)*dim]); err != nil {
			return nil, err
		}
	}
	for range trainRounds {
		if err := s.assign(ctx, l, train, bar); err != nil {
			return nil, err
		}
		if err := s.centre(l, train); err != nil {
			return nil, err
		}
	}
	if err := s.assign(ctx, l, s.valid, bar); err != nil {
		return nil, err
	}
	l.members = groupBy(s.valid, func(row int32) int32 { return l.of[row] })
	return l, nil
}

// assign gives rows to the nearest lists.
func (s *Search) assign(ctx context.Context, l *lists, rows []int32, bar *progress.Bar) error {
	return s.eachBlock(ctx, rows, bar, func(b *block, _ int) error {
		b.reset(1, nil)
		if err := b.offer(l.all(), l.centre, b.all(), l.len()); err != nil {
			return err
		}
		for place, row := range b.queries {
			l.of[row] = b.pools[place].id
		}
		return nil
	})
}

// centre moves the lists' centres to where their rows are; one without rows stays.
func (s *Search) centre(l *lists, rows []int32) error {
	sums := make([]float64, len(l.centres))
	unit := make([]float32, l.dim)
	for _, row := range rows {
		if err := s.unit(row, unit); err != nil {
			return err
		}
		sum := sums[int(l.of[row])*l.dim:][:l.dim]
		for i, x := range unit {
			sum[i] += float64(x)
		}
	}
	for i := range l.len() {
		sum := sums[i*l.dim : (i+1)*l.dim]
		length := vec.Norm(sum)
		if length < vec.MinNorm {
			continue
		}
		for k, x := range sum {
			l.centres[i*l.dim+k] = float32(x / length)
		}
	}
	return nil
}
