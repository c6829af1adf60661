package identification

import (
	"context"
	"runtime"

	"golang.org/x/sync/errgroup"

	"facepipe/internal/nearest"
	"facepipe/internal/vec"
)

// processors is the number of goroutines that an option asks for, 0 for one a processor.
func processors(n int) int {
	if n > 0 {
		return n
	}
	return runtime.GOMAXPROCS(0)
}

// norms are those of some vectors, 0 where there is none that has a direction.
func norms(ctx context.Context, v nearest.Vectors, workers int) ([]float64, error) {
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
