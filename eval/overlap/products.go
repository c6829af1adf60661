package overlap

import (
	"context"
	"runtime"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"facepipe/internal/dots"
	"facepipe/internal/nearest"
	"facepipe/internal/progress"
	"facepipe/internal/vec"
)

// Bounds of what is in memory at a time: vectors of a block, a worker each, and panels that
// stay in a processor's own cache while a block passes by.
const (
	blockBytes = 32 << 20
	panels     = 8
)

// sight takes the cosines of vector i with the vectors of some numbers.
type sight func(i int, with []int32, cosines []float32)

// products takes the cosine of every vector of a with every one of b, on all processors; a
// vector without a direction has none. begin is called once by each worker, what it returns by
// that worker alone. b is read again for each block of a, so a is better the larger.
func products(ctx context.Context, a, b nearest.Vectors, bar *progress.Bar, begin func() sight) error {
	group, ctx := errgroup.WithContext(ctx)
	workers := min(runtime.GOMAXPROCS(0), max(1, a.Len()/dots.Rows))
	size := max(1, min(blockBytes/(4*a.Dim()+1), (a.Len()+workers-1)/workers))
	var next atomic.Int64
	for range workers {
		w := &block{ctx: ctx, b: b, see: begin(), bar: bar, row: make([]float32, a.Dim())}
		for i := range w.packed {
			w.packed[i] = dots.NewPanel(a.Dim())
		}
		group.Go(func() error {
			for {
				from := int(next.Add(int64(size))) - size
				if from >= a.Len() {
					return nil
				}
				if err := w.run(a, from, min(from+size, a.Len())); err != nil {
					return err
				}
			}
		})
	}
	return group.Wait()
}

// block is some vectors of a, in memory, on their way past all of b.
type block struct {
	ctx    context.Context
	b      nearest.Vectors
	see    sight
	bar    *progress.Bar
	ids    []int // of the vectors
	units  []float32
	row    []float32
	packed [panels]dots.Panel
	with   []int32 // of b, packed
}

func (w *block) run(a nearest.Vectors, from, to int) error {
	w.ids, w.units = w.ids[:0], w.units[:0]
	for i := from; i < to; i++ {
		ok, err := unit(a, i, w.row)
		if err != nil {
			return err
		}
		if ok {
			w.ids, w.units = append(w.ids, i), append(w.units, w.row...)
		}
	}
	for j := 0; j < w.b.Len(); {
		if err := w.ctx.Err(); err != nil {
			return err
		}
		var err error
		if j, err = w.pack(j); err != nil {
			return err
		}
		w.multiply()
	}
	w.bar.Add(int64(to - from))
	return nil
}

// pack makes panels of vectors of b from j on, and returns the number after the last.
func (w *block) pack(j int) (next int, err error) {
	w.with = w.with[:0]
	for ; j < w.b.Len() && len(w.with) < panels*dots.Columns; j++ {
		ok, err := unit(w.b, j, w.row)
		if err != nil {
			return j, err
		}
		if ok {
			n := len(w.with)
			w.packed[n/dots.Columns].Put(n%dots.Columns, w.row)
			w.with = append(w.with, int32(j))
		}
	}
	return j, nil
}

// multiply compares the block with the panels.
func (w *block) multiply() {
	var tile dots.Tile
	var rows [dots.Rows][]float32
	dim := len(w.row)
	for from := 0; from < len(w.ids); from += dots.Rows {
		n := min(dots.Rows, len(w.ids)-from)
		for r := range rows {
			at := from + min(r, n-1)
			rows[r] = w.units[at*dim:][:dim]
		}
		for column := 0; column < len(w.with); column += dots.Columns {
			tile.Multiply(&rows, w.packed[column/dots.Columns])
			with := w.with[column:min(column+dots.Columns, len(w.with))]
			for r := range n {
				w.see(w.ids[from+r], with, tile[r][:len(with)])
			}
		}
	}
}

// unit copies vector i, scaled to length one, to dst; ok is false where it has no direction.
func unit(v nearest.Vectors, i int, dst []float32) (ok bool, err error) {
	if ok, err = v.Row(i, dst); err != nil || !ok {
		return false, err
	}
	return scale(dst), nil
}

// scale makes v as long as one; ok is false where it has no direction.
func scale(v []float32) (ok bool) {
	norm := vec.Norm(v)
	if !vec.HasDirection(norm) {
		return false
	}
	for i := range v {
		v[i] = float32(float64(v[i]) / norm)
	}
	return true
}
