package ingest

import (
	"context"
	"sync"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sync/semaphore"

	"facepipe/store"
)

// windowPerWorker is how many items workers may be ahead of the consumer, each. It is enough that
// neither one large photograph nor the commit of a shard leaves them idle.
const windowPerWorker = 256

// task is one item on its way through the pipeline. Its worker writes the fields below done
// before it closes done.
type task struct {
	source int    // its number in the dataset
	key    string // of the item, in the dataset
	make   func(context.Context) ([]candidate, error)
	// known marks an item that an earlier run dealt with. It is skipped unless look, whose result
	// is found, wants it anew.
	known bool
	look  func(context.Context) looked
	found looked
	// stamp is of the item's file.
	stamp store.Stamp
	// held is how many bytes of memory the item takes until make has returned.
	held int

	number int // in the order of submission
	done   chan struct{}
	faces  []candidate // in the order in which they are appended
	err    error       // of the item as a whole
}

// skip says whether the item is left as an earlier run has dealt with it.
func (t *task) skip() bool { return t.known && t.found != anew }

// work makes the item, if it is to be made.
func (t *task) work(ctx context.Context) {
	if ctx.Err() != nil {
		return
	}
	if t.known {
		t.found = t.look(ctx)
	}
	if !t.skip() {
		t.faces, t.err = t.make(ctx)
	}
}

// size is how many bytes of memory the crops take, about.
func (t *task) size() int {
	n := 0
	for i := range t.faces {
		n += len(t.faces[i].crop.Image)
	}
	return n
}

// candidate is a face on its way into the dataset: its crop, or why there is none. The crop
// has a source and a key in any case.
type candidate struct {
	crop    store.Crop
	refused error
}

// pipeline runs produce, some workers and consume at once. produce submits tasks, a worker
// makes each, and consume gets them in the order of submission. The first error, or the end of
// ctx, stops everything and is returned.
func pipeline(ctx context.Context, workers int, b *budget,
	produce func(ctx context.Context, submit func(*task) error) error,
	consume func(*task) error,
) error {
	window := windowPerWorker * workers
	// A task is in order before it is in work, so that the consumer waits for every task that
	// a worker may have.
	order, work := make(chan *task, window), make(chan *task, window)
	waiting := newBacklog(int(b.finished))
	room := semaphore.NewWeighted(b.held)
	// A larger item takes all of the room and waits to be alone.
	holds := func(t *task) int64 { return min(int64(t.held), b.held) }
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error {
		defer close(order)
		defer close(work)
		submitted := 0
		return produce(ctx, func(t *task) error {
			t.done, t.number = make(chan struct{}), submitted
			submitted++
			if err := room.Acquire(ctx, holds(t)); err != nil {
				return err
			}
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
				waiting.enter(t.number)
				t.work(ctx)
				t.look, t.make = nil, nil // releases what the item holds
				room.Release(holds(t))
				waiting.add(t.size())
				close(t.done)
			}
			return nil
		})
	}
	group.Go(func() error {
		defer waiting.close()
		return drain(ctx, order, func(t *task) error {
			defer waiting.remove(t.size())
			return consume(t)
		})
	})
	return group.Wait()
}

// backlog bounds the bytes of finished tasks that wait for their turn.
type backlog struct {
	limit int

	mu       sync.Mutex
	changed  sync.Cond
	bytes    int
	consumed int // tasks
	closed   bool
}

func newBacklog(limit int) *backlog {
	b := &backlog{limit: limit}
	b.changed.L = &b.mu
	return b
}

// enter waits until there is room for another result. The task whose turn is next never
// waits: consuming it is what makes room.
func (b *backlog) enter(number int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for b.bytes > b.limit && number > b.consumed && !b.closed {
		b.changed.Wait()
	}
}

func (b *backlog) add(bytes int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.bytes += bytes
}

// remove takes out a task that was consumed.
func (b *backlog) remove(bytes int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.bytes -= bytes
	b.consumed++
	b.changed.Broadcast()
}

// close lets every task in: nothing is consumed any more.
func (b *backlog) close() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.closed = true
	b.changed.Broadcast()
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
