package identification

import (
	"context"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"facepipe/internal/dots"
	"facepipe/internal/nearest"
	"facepipe/internal/progress"
)

// Sizes of the blocks of a product. At 512 dimensions the rows of a block are 16 MB, and the panels
// that are packed at a time half a megabyte, which stays in a processor's own cache while the rows
// pass by.
const (
	blockSize = 8192 // rows and columns
	packed    = 8
)

// side is the vectors on one side of a product, in an order of its own. Each has a direction.
type side struct {
	v     nearest.Vectors
	rows  []int32 // of v
	norms []float64
}

// newSide takes the vectors at rows that have a direction, by their norms.
func newSide(v nearest.Vectors, rows []int32, norms []float64) side {
	s := side{v: v, norms: norms}
	for _, row := range rows {
		if norms[row] > 0 {
			s.rows = append(s.rows, row)
		}
	}
	return s
}

func (s side) unit(place int, dst []float32) error {
	row := s.rows[place]
	if _, err := s.v.Row(int(row), dst); err != nil {
		return err
	}
	scale(dst, s.norms[row])
	return nil
}

// product multiplies every row with every column.
type product struct {
	rows, columns side
	// upper leaves out tiles all of whose columns come before its rows, or are these.
	upper   bool
	workers int
	size    int           // of blocks, 0 for blockSize
	bar     *progress.Bar // counts rows times columns, in blocks
}

// visitor takes the tiles of one goroutine: the products of n rows from row on with m columns from
// column on.
type visitor func(t *dots.Tile, row, n, column, m int)

// run calls the visitors of several goroutines, one each.
func (p product) run(ctx context.Context, visitors func() visitor) error {
	if p.size == 0 {
		p.size = blockSize
	}
	across := (len(p.columns.rows) + p.size - 1) / p.size
	blocks := across * ((len(p.rows.rows) + p.size - 1) / p.size)
	var next atomic.Int64
	group, ctx := errgroup.WithContext(ctx)
	for range processors(p.workers) {
		group.Go(func() error {
			b := newBlock(p, visitors())
			for i := int(next.Add(1)) - 1; i < blocks; i = int(next.Add(1)) - 1 {
				if err := b.multiply(ctx, i/across*p.size, i%across*p.size); err != nil {
					return err
				}
			}
			return nil
		})
	}
	return group.Wait()
}

// block is what one goroutine multiplies at a time.
type block struct {
	p      product
	visit  visitor
	dim    int
	first  int // row, -1 before any
	units  []float32
	panels [packed]dots.Panel
	one    []float32
}

func newBlock(p product, visit visitor) *block {
	b := &block{p: p, visit: visit, dim: p.rows.v.Dim(), first: -1}
	b.one = make([]float32, b.dim)
	for i := range b.panels {
		b.panels[i] = dots.NewPanel(b.dim)
	}
	return b
}

// multiply takes the block that begins at a row and a column.
func (b *block) multiply(ctx context.Context, row, column int) error {
	rows, end := min(b.p.size, len(b.p.rows.rows)-row), min(column+b.p.size, len(b.p.columns.rows))
	defer b.p.bar.Add(int64(rows) * int64(end-column))
	if b.p.upper && end <= row+1 {
		return nil
	}
	if err := b.read(row, rows); err != nil {
		return err
	}
	for ; column < end; column += packed * dots.Columns {
		if err := ctx.Err(); err != nil {
			return err
		}
		n := min(packed*dots.Columns, end-column)
		if b.p.upper && column+n <= row+1 {
			continue
		}
		if err := b.pack(column, n); err != nil {
			return err
		}
		b.tiles(row, rows, column, n)
	}
	return nil
}

// read takes up the rows of a block.
func (b *block) read(row, n int) error {
	if b.first == row {
		return nil
	}
	if b.units == nil {
		b.units = make([]float32, min(b.p.size, len(b.p.rows.rows))*b.dim)
	}
	b.first = row
	for i := range n {
		if err := b.p.rows.unit(row+i, b.units[i*b.dim:(i+1)*b.dim]); err != nil {
			return err
		}
	}
	return nil
}

func (b *block) pack(column, n int) error {
	for i := range n {
		if err := b.p.columns.unit(column+i, b.one); err != nil {
			return err
		}
		b.panels[i/dots.Columns].Put(i%dots.Columns, b.one)
	}
	return nil
}

func (b *block) tiles(row, rows, column, n int) {
	var tile dots.Tile
	var twelve [dots.Rows][]float32
	for r := 0; r < rows; r += dots.Rows {
		for i := range twelve {
			at := min(r+i, rows-1)
			twelve[i] = b.units[at*b.dim : (at+1)*b.dim]
		}
		for c := 0; c < n; c += dots.Columns {
			m := min(dots.Columns, n-c)
			if b.p.upper && column+c+m <= row+r+1 {
				continue
			}
			tile.Multiply(&twelve, b.panels[c/dots.Columns])
			b.visit(&tile, row+r, min(dots.Rows, rows-r), column+c, m)
		}
	}
}
