package nearest

import (
	"cmp"
	"context"
	"math"
	"slices"

	"facepipe/internal/dots"
	"facepipe/internal/progress"
)

// panels are packed at a time: at 512 dimensions they take half a megabyte, which stays in a
// processor's own cache while queries pass by.
const panels = 8

// block is some queries and the best candidates that each has met.
type block struct {
	ctx     context.Context
	dim     int
	queries []int32 // rows
	units   []float32
	keep    int
	pools   []candidate // keep a query, a heap with the worst at its root
	filled  []int
	limits  []float32 // the score below which there is no use
	fits    func(query, row int32) bool

	packed [panels]dots.Panel
	ids    []int32 // of the packed
	row    []float32
	rows   [4][]float32
	bar    *progress.Bar
	shown  int // queries that the bar has counted
	offers int // how far, of a total that offer knows
}

// candidate is a vector that was compared with a query.
type candidate struct {
	score float32
	id    int32
}

// better says which of two comes first. Of equals it is the lower number, so that the order in
// which candidates come does not matter.
func (c candidate) better(than candidate) bool {
	return c.score > than.score || c.score == than.score && c.id < than.id
}

func newBlock(ctx context.Context, dim int, bar *progress.Bar) *block {
	b := &block{ctx: ctx, dim: dim, row: make([]float32, dim), bar: bar}
	for i := range b.packed {
		b.packed[i] = dots.NewPanel(dim)
	}
	for i := range b.rows {
		b.rows[i] = make([]float32, dim)
	}
	return b
}

// begin takes up queries.
func (b *block) begin(queries []int32, unit func(row int32, dst []float32) error) error {
	b.queries, b.shown, b.offers = queries, 0, 0
	b.units = slices.Grow(b.units[:0], len(queries)*b.dim)[:len(queries)*b.dim]
	for i, row := range queries {
		if err := unit(row, b.unit(i)); err != nil {
			return err
		}
	}
	return nil
}

// end counts what the bar has not.
func (b *block) end() { b.show(len(b.queries)) }

func (b *block) show(queries int) {
	b.bar.Add(int64(queries - b.shown))
	b.shown = queries
}

func (b *block) unit(place int) []float32 { return b.units[place*b.dim : (place+1)*b.dim] }

// all are the places of all queries.
func (b *block) all() []int32 {
	places := make([]int32, len(b.queries))
	for i := range places {
		places[i] = int32(i)
	}
	return places
}

// reset begins to look for keep candidates that fit a query; nil lets all fit.
func (b *block) reset(keep int, fits func(query, row int32) bool) {
	n := len(b.queries)
	b.keep, b.fits = keep, fits
	b.pools = slices.Grow(b.pools[:0], n*keep)[:n*keep]
	b.filled = slices.Grow(b.filled[:0], n)[:n]
	b.limits = slices.Grow(b.limits[:0], n)[:n]
	for i := range n {
		b.filled[i], b.limits[i] = 0, float32(math.Inf(-1))
	}
}

// offer compares the queries at some places, at least one, with candidates. Where the bar is to
// move, total is what all offers to this block come to, each the product of candidates and
// queries divided by the block's queries.
func (b *block) offer(ids []int32, unit func(id int32, dst []float32) error, places []int32, total int) error {
	for chunk := range slices.Chunk(ids, panels*dots.Columns) {
		if err := b.ctx.Err(); err != nil {
			return err
		}
		if err := b.pack(chunk, unit); err != nil {
			return err
		}
		b.compare(places)
		if total > 0 {
			b.offers += len(chunk) * len(places)
			b.show(min(len(b.queries), b.offers/total))
		}
	}
	return nil
}

// pack makes panels of candidates.
func (b *block) pack(ids []int32, unit func(id int32, dst []float32) error) error {
	b.ids = ids
	for i, id := range ids {
		if err := unit(id, b.row); err != nil {
			return err
		}
		b.packed[i/dots.Columns].Put(i%dots.Columns, b.row)
	}
	return nil
}

// compare takes the products of the queries at some places with the packed candidates.
func (b *block) compare(places []int32) {
	var tile dots.Tile
	var rows [dots.Rows][]float32
	for some := range slices.Chunk(places, dots.Rows) {
		for r := range rows {
			rows[r] = b.unit(int(some[min(r, len(some)-1)]))
		}
		for from := 0; from < len(b.ids); from += dots.Columns {
			tile.Multiply(&rows, b.packed[from/dots.Columns])
			ids := b.ids[from:min(from+dots.Columns, len(b.ids))]
			for r, place := range some {
				b.sift(int(place), tile[r][:len(ids)], ids)
			}
		}
	}
}

// sift takes what is good enough for a query.
func (b *block) sift(place int, scores []float32, ids []int32) {
	limit := b.limits[place]
	for i, score := range scores {
		if score >= limit {
			b.take(place, candidate{score, ids[i]})
			limit = b.limits[place]
		}
	}
}

func (b *block) take(place int, c candidate) {
	if b.fits != nil && !b.fits(b.queries[place], c.id) {
		return
	}
	pool, n := b.pools[place*b.keep:(place+1)*b.keep], b.filled[place]
	switch {
	case n < b.keep:
		b.filled[place]++
		rise(pool, n, c)
	case c.better(pool[0]):
		sink(pool, c)
	}
	if b.filled[place] == b.keep {
		b.limits[place] = pool[0].score
	}
}

// rise puts a candidate in the empty place i of a heap.
func rise(pool []candidate, i int, c candidate) {
	for i > 0 {
		above := (i - 1) / 2
		if !pool[above].better(c) {
			break
		}
		pool[i] = pool[above]
		i = above
	}
	pool[i] = c
}

// sink replaces the worst of a heap.
func sink(pool []candidate, c candidate) {
	i := 0
	for {
		below := 2*i + 1
		if below >= len(pool) {
			break
		}
		if below+1 < len(pool) && pool[below].better(pool[below+1]) {
			below++
		}
		if !c.better(pool[below]) {
			break
		}
		pool[i] = pool[below]
		i = below
	}
	pool[i] = c
}

// best are the candidates of the query at a place, the best first.
func (b *block) best(place int) []candidate {
	pool := b.pools[place*b.keep:][:b.filled[place]]
	slices.SortFunc(pool, func(x, y candidate) int {
		return cmp.Or(cmp.Compare(y.score, x.score), cmp.Compare(x.id, y.id))
	})
	return pool
}

// rank orders each query's candidates by their cosines in double precision, and writes the first
// down; row first is the first of what is found.
func (b *block) rank(s *Search, found *Neighbours, first int) error {
	cosines := make([]float64, b.keep)
	order := make([]int, b.keep)
	for place, query := range b.queries {
		pool := b.best(place)
		if _, err := s.v.Row(int(query), b.row); err != nil {
			return err
		}
		if err := b.cosines(s, pool, s.inverse[query], cosines); err != nil {
			return err
		}
		order := order[:len(pool)]
		for i := range order {
			order[i] = i
		}
		slices.SortFunc(order, func(x, y int) int {
			return cmp.Or(cmp.Compare(cosines[y], cosines[x]), cmp.Compare(pool[x].id, pool[y].id))
		})
		at := int(query) - first
		found.counts[at] = min(len(order), found.k)
		rows, values := found.Of(at)
		for i := range rows {
			rows[i], values[i] = pool[order[i]].id, float32(cosines[order[i]])
		}
	}
	return nil
}

// cosines are those of the candidates to the vector in b.row, whose norm is given inverted.
func (b *block) cosines(s *Search, pool []candidate, inverse float64, dst []float64) error {
	for from := 0; from < len(pool); from += len(b.rows) {
		some := pool[from:min(from+len(b.rows), len(pool))]
		for i, c := range some {
			if _, err := s.v.Row(int(c.id), b.rows[i]); err != nil {
				return err
			}
		}
		products := dotFour(b.row, &b.rows)
		for i, c := range some {
			dst[from+i] = min(1, max(-1, float64(products[i]*inverse)*s.inverse[c.id]))
		}
	}
	return nil
}

// dotFour are the scalar products of a with four vectors as vec.Dot gives them, the sums of one
// not waiting for those of another.
func dotFour(a []float32, b *[4][]float32) [4]float64 {
	b0, b1, b2, b3 := b[0][:len(a)], b[1][:len(a)], b[2][:len(a)], b[3][:len(a)]
	var s0, s1, s2, s3 float64
	for i, x := range a {
		x := float64(x)
		s0 += float64(x * float64(b0[i]))
		s1 += float64(x * float64(b1[i]))
		s2 += float64(x * float64(b2[i]))
		s3 += float64(x * float64(b3[i]))
	}
	return [4]float64{s0, s1, s2, s3}
}
