// Package nearest finds for each of many vectors those at the smallest angles to it.
//
// Candidates are told by products in single precision, in blocks; [Spare] more than are wanted
// are kept, and these are ordered by cosines in double precision. What is found does not depend
// on the number of processors, nor on how vectors come into blocks. Up to a number of vectors
// each is compared with all; beyond it with those in the lists next to it, as many lists as a
// sample of the vectors needs to find [Target] of what comparing with all finds.
//
// The vectors are read again for every block and stay where they are: memory grows by some 20
// bytes a vector.
package nearest

import (
	"context"
	"fmt"
	"io"
	"math"
	"runtime"
	"slices"

	"golang.org/x/sync/errgroup"

	"facepipe/internal/progress"
	"facepipe/internal/vec"
)

// Vectors are of one length Dim. They are read by several goroutines at a time.
type Vectors interface {
	Len() int
	Dim() int
	// Row copies vector i to dst, of length Dim; ok is false where there is none.
	Row(i int, dst []float32) (ok bool, err error)
}

// Part are the vectors at some places.
type Part[N int | int32] struct {
	Vectors
	Places []N
}

// Len is the number of places.
func (p Part[N]) Len() int { return len(p.Places) }

// Row copies the vector at the i-th of them to dst.
func (p Part[N]) Row(i int, dst []float32) (bool, error) {
	return p.Vectors.Row(int(p.Places[i]), dst)
}

// NoLabel is the label of a vector that is of nobody.
const NoLabel = -1

// Options adjust a [Search].
type Options struct {
	// K is how many neighbours are looked for.
	K int
	// ExactUpTo is the number of vectors up to which each is compared with all.
	ExactUpTo int
	// Workers is the number of goroutines; 0 takes one a processor.
	Workers int
	// Progress receives bars; nil is silent.
	Progress io.Writer
}

// Spare is how many candidates more than are wanted are compared in double precision.
const Spare = 16

// Method says how neighbours of other labels are looked for.
type Method struct {
	// Lists that the vectors lie in, of which those of Probes are compared with; both 0 where
	// each vector is compared with all.
	Lists  int `json:"lists,omitempty"`
	Probes int `json:"probes,omitempty"`
	// Recall is the share of what comparing with all finds, and Sample of how many vectors it
	// was measured; 1, and 0, where all are compared.
	Recall float64 `json:"recall"`
	Sample int     `json:"recall_sample,omitempty"`
}

// Exact says that each vector is compared with all.
func (m Method) Exact() bool { return m.Lists == 0 }

// Search looks for neighbours in a set of vectors. It is for one goroutine, and takes as many as
// it may itself.
type Search struct {
	v       Vectors
	labels  []int32
	o       Options
	inverse []float64 // of the norms; 0 where there is no vector
	valid   []int32   // those that there are, ascending
	same    groups    // by label
	lists   *lists    // nil if all are compared
	method  Method
}

// New prepares a search in vectors with labels, [NoLabel] or 0, 1, 2 ...
func New(ctx context.Context, v Vectors, labels []int32, o Options) (*Search, error) {
	if len(labels) != v.Len() {
		panic(fmt.Sprintf("nearest: %d labels of %d vectors", len(labels), v.Len()))
	}
	if v.Len() > math.MaxInt32 {
		return nil, fmt.Errorf("find neighbours: %d vectors, want at most %d", v.Len(), math.MaxInt32)
	}
	if o.Workers == 0 {
		o.Workers = runtime.GOMAXPROCS(0)
	}
	s := &Search{v: v, labels: labels, o: o, inverse: make([]float64, v.Len()), method: Method{Recall: 1}}
	if err := s.measure(ctx); err != nil {
		return nil, err
	}
	for i, x := range s.inverse {
		if x != 0 {
			s.valid = append(s.valid, int32(i))
		}
	}
	s.same = groupBy(s.valid, func(row int32) int32 { return labels[row] })
	if len(s.valid) > o.ExactUpTo {
		return s, s.approximate(ctx)
	}
	return s, nil
}

// measure takes the norms.
func (s *Search) measure(ctx context.Context) error {
	bar := progress.New(s.o.Progress, "read embeddings", int64(s.v.Len()))
	defer bar.Finish()
	const part = 4096
	return s.each(ctx, s.v.Len(), part, func() func(from, to int) error {
		row := make([]float32, s.v.Dim())
		return func(from, to int) error {
			for i := from; i < to; i++ {
				switch ok, err := s.v.Row(i, row); {
				case err != nil:
					return err
				case ok:
					if norm := vec.Norm(row); vec.HasDirection(norm) {
						s.inverse[i] = 1 / norm
					}
				}
			}
			bar.Add(int64(to - from))
			return nil
		}
	})
}

// each shares n items out in stretches, to workers that begin makes.
func (s *Search) each(ctx context.Context, n, stretch int, begin func() func(from, to int) error) error {
	todo := make(chan int)
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error {
		defer close(todo)
		for from := 0; from < n; from += stretch {
			select {
			case todo <- from:
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		return nil
	})
	for range min(s.o.Workers, (n+stretch-1)/stretch) {
		group.Go(func() error {
			work := begin()
			for from := range todo {
				if err := work(from, min(from+stretch, n)); err != nil {
					return err
				}
			}
			return nil
		})
	}
	return group.Wait()
}

// Method says how neighbours of other labels are looked for.
func (s *Search) Method() Method { return s.method }

// Missing is the number of vectors that there are not.
func (s *Search) Missing() int { return s.v.Len() - len(s.valid) }

// unit copies a vector, scaled to length one, to dst.
func (s *Search) unit(row int32, dst []float32) error {
	_, err := s.v.Row(int(row), dst)
	scale := float32(s.inverse[row])
	for i := range dst {
		dst[i] *= scale
	}
	return err
}

// Neighbours are those of consecutive rows, a few each.
type Neighbours struct {
	k       int
	counts  []int
	rows    []int32
	cosines []float32
}

func newNeighbours(n, k int) *Neighbours {
	return &Neighbours{k: k, counts: make([]int, n), rows: make([]int32, n*k), cosines: make([]float32, n*k)}
}

// Of are the neighbours of the i-th row, the nearest first and of equals the lower row, and the
// cosines to them.
func (n *Neighbours) Of(i int) (rows []int32, cosines []float32) {
	from, to := i*n.k, i*n.k+n.counts[i]
	return n.rows[from:to], n.cosines[from:to]
}

// Others finds, for the rows from .. to-1, the nearest of another label or of none. A row is no
// neighbour of itself. A nil bar is silent; it counts rows.
func (s *Search) Others(ctx context.Context, from, to int, bar *progress.Bar) (*Neighbours, error) {
	return s.find(ctx, s.stretch(from, to), from, to, bar, s.isOther, s.compareOthers)
}

// Same finds, for the rows from .. to-1, the nearest of the same label, by comparing all.
func (s *Search) Same(ctx context.Context, from, to int, bar *progress.Bar) (*Neighbours, error) {
	return s.find(ctx, s.stretch(from, to), from, to, bar, func(query, row int32) bool { return query != row }, s.compareSame)
}

func (s *Search) isOther(query, row int32) bool {
	label := s.labels[query]
	return query != row && (label == NoLabel || label != s.labels[row])
}

// stretch are the vectors among the rows from .. to-1.
func (s *Search) stretch(from, to int) []int32 {
	lo, _ := slices.BinarySearch(s.valid, int32(from))
	hi, _ := slices.BinarySearch(s.valid, int32(to))
	return s.valid[lo:hi]
}

// find finds the neighbours of queries among the rows from .. to-1 by comparing blocks of them
// with whatever compare offers.
func (s *Search) find(ctx context.Context, queries []int32, from, to int, bar *progress.Bar, fits func(query, row int32) bool, compare func(*block) error) (*Neighbours, error) {
	found := newNeighbours(to-from, s.o.K)
	bar.Add(int64(to - from - len(queries)))
	err := s.eachBlock(ctx, queries, bar, func(b *block, _ int) error {
		b.reset(s.o.K+Spare, fits)
		if err := compare(b); err != nil {
			return err
		}
		return b.rank(s, found, from)
	})
	return found, err
}

// Bounds of a block of queries, whose vectors and candidates stay in memory.
const (
	blockRows  = 1 << 14
	blockBytes = 64 << 20
)

// eachBlock visits queries in blocks, with the place of each block's first.
func (s *Search) eachBlock(ctx context.Context, queries []int32, bar *progress.Bar, visit func(b *block, at int) error) error {
	keep := s.o.K + Spare
	if s.lists != nil {
		keep = max(keep, s.lists.probes) // places of lists are looked for in the same way
	}
	rows := min(blockRows, 1+blockBytes/(4*s.v.Dim()+12*keep), 1+(len(queries)-1)/(2*s.o.Workers))
	return s.each(ctx, len(queries), max(1, rows), func() func(from, to int) error {
		b := newBlock(ctx, s.v.Dim(), bar)
		return func(from, to int) error {
			if err := b.begin(queries[from:to], s.unit); err != nil {
				return err
			}
			err := visit(b, from)
			b.end()
			return err
		}
	})
}

// compareOthers offers what may be of another label.
func (s *Search) compareOthers(b *block) error {
	if s.lists != nil {
		return s.lists.compare(s, b)
	}
	return b.offer(s.valid, s.unit, b.all(), len(s.valid))
}

// compareSame offers to each query the vectors of its label.
func (s *Search) compareSame(b *block) error {
	places := groupBy(b.all(), func(place int32) int32 { return s.labels[b.queries[place]] })
	for label := range places.len() {
		if who := places.of(label); len(who) > 0 {
			if err := b.offer(s.same.of(label), s.unit, who, 0); err != nil {
				return err
			}
		}
	}
	return nil
}

// groups are items by a number that they have.
type groups struct {
	items  []int32
	starts []int // one more than there are numbers
}

// groupBy sorts items by their numbers, keeping their order within one; those below 0 are left
// out.
func groupBy(items []int32, number func(item int32) int32) groups {
	highest := int32(-1)
	for _, item := range items {
		highest = max(highest, number(item))
	}
	g := groups{starts: make([]int, highest+2)}
	for _, item := range items {
		if n := number(item); n >= 0 {
			g.starts[n+1]++
		}
	}
	for n := range g.len() {
		g.starts[n+1] += g.starts[n]
	}
	next := slices.Clone(g.starts)
	g.items = make([]int32, g.starts[g.len()])
	for _, item := range items {
		if n := number(item); n >= 0 {
			g.items[next[n]] = item
			next[n]++
		}
	}
	return g
}

func (g groups) len() int { return len(g.starts) - 1 }

func (g groups) of(number int) []int32 { return g.items[g.starts[number]:g.starts[number+1]] }
