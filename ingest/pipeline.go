package ingest

import (
	"context"

	"golang.org/x/sync/errgroup"

	"facepipe/store"
)

// windowPerWorker is how many items a worker may be ahead of the slowest one: enough
// that one large photograph does not leave the other workers idle, and a bound on
// the crops that wait in memory.
const windowPerWorker = 8

// task is one item on its way through the pipeline. Its fields below done are
// written by the worker before it closes done.
type task struct {
	source int    // its number in the dataset
	key    string // of the item, in the dataset
	make   func(context.Context) ([]candidate, error)
	// skip marks an item that an earlier run dealt with.
	skip bool

	done  chan struct{}
	faces []candidate // in the order in which they are appended
	err   error       // of the item as a whole
}

// candidate is a face on its way into the dataset: its crop, or why there is none. The
// crop has its source and key in any case.
type candidate struct {
	crop    store.Crop
	refused error
}

// pipeline runs produce, a number of workers and consume at once. produce submits
// tasks; every task is worked on by some worker and consumed in the order of
// submission. The first error, or the end of ctx, stops everything, and is
// returned.
func pipeline(ctx context.Context, workers int,
	produce func(ctx context.Context, submit func(*task) error) error,
	consume func(*task) error,
) error {
	window := windowPerWorker * workers
	// A task is in order before it is in work, so that the consumer waits for every
	// task that a worker may hold.
	order, work := make(chan *task, window), make(chan *task, window)
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error {
		defer close(order)
		defer close(work)
		return produce(ctx, func(t *task) error {
			t.done = make(chan struct{})
			for _, queue := range []chan *task{order, work} {
				select {
				case queue <- t:
				case <-ctx.Done():
					return ctx.Err()
				}
			}
			return nil
		})
	})
	for range workers {
		group.Go(func() error {
			for t := range work {
				if !t.skip && ctx.Err() == nil {
					t.faces, t.err = t.make(ctx)
				}
				close(t.done)
			}
			return nil
		})
	}
	group.Go(func() error { return drain(ctx, order, consume) })
	return group.Wait()
}

// drain consumes tasks in order until there are no more or ctx is done.
func drain(ctx context.Context, order <-chan *task, consume func(*task) error) error {
	for t := range order {
		select {
		case <-t.done:
		case <-ctx.Done():
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := consume(t); err != nil {
			return err
		}
	}
	return ctx.Err()
}
