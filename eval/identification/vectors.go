package identification

import (
	"context"
	"runtime"

	"golang.org/x/sync/errgroup"

	"facepipe/internal/vec"
)

// Vectors are embeddings of one dimension and any length: only directions count.
type Vectors interface {
	Len() int
	Dim() int
	// Row copies embedding i to dst, of length Dim; ok is false where there is none. It is called
	// by several goroutines at a time.
	Row(i int, dst []float32) (ok bool, err error)
}

// Rows are vectors in memory. One that is nil is not there.
type Rows [][]float32

// Len is their number.
func (r Rows) Len() int { return len(r) }

// Dim is the length of the first that is there.
func (r Rows) Dim() int {
	for _, v := range r {
		if v != nil {
			return len(v)
		}
	}
	return 0
}

// Row copies one.
func (r Rows) Row(i int, dst []float32) (ok bool, err error) {
	copy(dst, r[i])
	return r[i] != nil, nil
}

// processors is the number of goroutines that an option asks for, 0 for one a processor.
func processors(n int) int {
	if n > 0 {
		return n
	}
	return runtime.GOMAXPROCS(0)
}

// norms are those of some vectors, 0 where there is none that has a direction.
func norms(ctx context.Context, v Vectors, workers int) ([]float64, error) {
	all := make([]float64, v.Len())
	err := inParts(ctx, v.Len(), workers, func(from, to int) error {
		row := make([]float32, v.Dim())
		for i := from; i < to; i++ {
			ok, err := v.Row(i, row)
			if err != nil {
				return err
			}
			if norm := vec.Norm(row); ok && vec.HasDirection(norm) {
				all[i] = norm
			}
		}
		return nil
	})
	return all, err
}

// inParts calls do for parts of n things, one goroutine each.
func inParts(ctx context.Context, n, workers int, do func(from, to int) error) error {
	workers = processors(workers)
	group, ctx := errgroup.WithContext(ctx)
	const parts = 8 // for each, so that a slow one does not hold up all
	part := (n + workers*parts - 1) / (workers * parts)
	group.SetLimit(workers)
	for from := 0; from < n; from += part {
		group.Go(func() error {
			if err := ctx.Err(); err != nil {
				return err
			}
			return do(from, min(from+part, n))
		})
	}
	return group.Wait()
}
