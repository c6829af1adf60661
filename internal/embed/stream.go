package embed

import (
	"context"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

// StreamOptions tune a pipeline.
type StreamOptions struct {
	// Flips are the mirrorings to embed, e.g. {false, true} for both.
	Flips []bool
	// Workers that load crops; 0 takes one a core.
	Workers int
}

// Times is where a pipeline spent its time. The stages overlap.
type Times struct {
	// Load is summed over the workers: decoding and normalising.
	Load time.Duration
	// Infer is the runtime's, Wait how long it waited for crops.
	Infer, Wait time.Duration
	// Emit is the consumer's.
	Emit time.Duration
}

// Add adds up the times of two pipelines.
func (t *Times) Add(o Times) {
	t.Load += o.Load
	t.Infer += o.Infer
	t.Wait += o.Wait
	t.Emit += o.Emit
}

// Stream embeds crops 0..n-1. load decodes crop i into H×W×3 of RGB, on one of the
// workers. emit gets its raw embeddings, one for each of o.Flips, in the order of i
// and in the caller's goroutine; the slices are used again after it returns.
//
// Three batches are on their way at a time: one being loaded, one in the model, one
// being emitted. A stage that is behind holds the others up, so memory does not depend
// on n, and nothing is allocated for a crop.
//
// It ends with the first error in the order of the crops, of load (named by the
// crop's index), of the runtime or of emit, or with ctx's.
func (m *Model) Stream(ctx context.Context, n int, load func(i int, rgb []byte) error,
	emit func(i int, embeddings [][]float32) error, o StreamOptions) (Times, error) {
	if err := ctx.Err(); err != nil { // a few crops might be through before the stages notice
		return Times{}, err
	}
	p, err := newPipeline(m, n, load, o.Flips)
	defer p.close()
	if err != nil {
		return Times{}, err
	}
	running, stop := context.WithCancel(ctx)
	var stages sync.WaitGroup
	stages.Go(func() { p.feed(running) })
	stages.Go(func() { p.infer(running) })
	if o.Workers <= 0 {
		o.Workers = runtime.GOMAXPROCS(0)
	}
	for range o.Workers {
		stages.Go(p.work)
	}
	emitted, err := p.drain(emit)
	stop()
	stages.Wait()
	if err == nil && emitted < n {
		err = ctx.Err()
	}
	return p.times(), err
}

// ring is the number of batches on their way.
const ring = 3

// pipeline is one run of Stream. Its slots go round: free, queued while crops are
// loaded into them, done when embedded, free again.
type pipeline struct {
	model *Model
	n     int
	load  func(int, []byte) error
	flips []bool

	slots              []*slot
	free, queued, done chan *slot
	crops              chan crop

	loading            atomic.Int64 // nanoseconds
	inferring, waiting time.Duration
	emitting           time.Duration
}

// slot is a batch on its way: crops from..from+n-1, by mirroring.
type slot struct {
	from, n int
	runs    []*batch // one for each mirroring
	loaded  chan struct{}

	mu      sync.Mutex
	pending int
	failed  int // the first crop that could not be loaded, if err is set
	err     error
}

// crop is one row of a slot to be loaded.
type crop struct {
	slot *slot
	row  int
}

func newPipeline(m *Model, n int, load func(int, []byte) error, flips []bool) (*pipeline, error) {
	p := &pipeline{model: m, n: n, load: load, flips: flips, crops: make(chan crop),
		// All have room for every slot, so that only a lack of slots holds a stage up.
		free: make(chan *slot, ring), queued: make(chan *slot, ring), done: make(chan *slot, ring)}
	for range min(ring, (n+m.batch-1)/m.batch) {
		s := &slot{loaded: make(chan struct{}, 1)}
		p.slots = append(p.slots, s)
		p.free <- s
		for range flips {
			b, err := m.newBatch()
			if err != nil {
				return p, err
			}
			s.runs = append(s.runs, b)
		}
	}
	return p, nil
}

func (p *pipeline) close() {
	for _, s := range p.slots {
		for _, b := range s.runs {
			b.close()
		}
	}
}

// feed hands out the crops, slot by slot.
func (p *pipeline) feed(ctx context.Context) {
	defer close(p.queued)
	defer close(p.crops)
	for from := 0; from < p.n; from += p.model.batch {
		var s *slot
		select {
		case s = <-p.free:
		case <-ctx.Done():
			return
		}
		s.from, s.n = from, min(p.model.batch, p.n-from)
		s.pending = s.n
		p.queued <- s
		for row := range s.n {
			select {
			case p.crops <- crop{s, row}:
			case <-ctx.Done():
				return
			}
		}
	}
}

// work loads crops until there are no more.
func (p *pipeline) work() {
	rgb := make([]byte, p.model.fill.size)
	for c := range p.crops {
		begun := time.Now()
		err := p.load(c.slot.from+c.row, rgb)
		if err == nil {
			for k, flip := range p.flips {
				c.slot.runs[k].put(p.model.fill, c.row, rgb, flip)
			}
		}
		p.loading.Add(int64(time.Since(begun)))
		c.slot.finish(c.row, err)
	}
}

// finish counts a row as loaded, or as failed. Which of several failures is reported
// does not depend on the order in which workers meet them.
func (s *slot) finish(row int, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil && (s.err == nil || row < s.failed) {
		s.failed, s.err = row, err
	}
	s.pending--
	if s.pending == 0 {
		s.loaded <- struct{}{}
	}
}

// infer runs the model over slots as they are loaded.
func (p *pipeline) infer(ctx context.Context) {
	defer close(p.done)
	for {
		begun := time.Now()
		s, more := <-p.queued
		if !more {
			return
		}
		select {
		case <-s.loaded:
		case <-ctx.Done():
			return
		}
		loaded := time.Now()
		p.waiting += loaded.Sub(begun)
		if s.err != nil {
			s.err = fmt.Errorf("load crop %d: %w", s.from+s.failed, s.err)
		}
		for k := 0; k < len(s.runs) && s.err == nil; k++ {
			s.err = p.model.run(s.runs[k], s.n)
		}
		p.inferring += time.Since(loaded)
		failed := s.err != nil // from here on the slot is another stage's
		p.done <- s
		if failed {
			return
		}
	}
}

// drain emits slots as they are done and returns how many crops that were.
func (p *pipeline) drain(emit func(int, [][]float32) error) (emitted int, err error) {
	rows := make([][]float32, len(p.flips))
	for s := range p.done {
		if s.err != nil {
			return emitted, s.err
		}
		begun := time.Now()
		for i := range s.n {
			for k, b := range s.runs {
				rows[k] = b.row(i, p.model.dim)
			}
			if err := emit(s.from+i, rows); err != nil {
				return emitted, err
			}
			emitted++
		}
		p.emitting += time.Since(begun)
		p.free <- s
	}
	return emitted, nil
}

// times is for when all stages have ended.
func (p *pipeline) times() Times {
	return Times{Load: time.Duration(p.loading.Load()), Infer: p.inferring, Wait: p.waiting, Emit: p.emitting}
}
