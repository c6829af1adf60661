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
	// Watch, unless nil, gets the times so far after each batch, in the caller's goroutine.
	Watch func(Times)
}

// Times is where a pipeline spent its time. The stages overlap.
type Times struct {
	// Load and Normalise are summed over the workers.
	Load, Normalise time.Duration
	// Infer is the runtime's time, Wait how long it waited for crops, both summed over the
	// devices and the runs that one has at a time.
	Infer, Wait time.Duration
	// Emit is the consumer's time.
	Emit time.Duration
}

// Add adds up the times of two pipelines.
func (t *Times) Add(o Times) {
	t.Load += o.Load
	t.Normalise += o.Normalise
	t.Infer += o.Infer
	t.Wait += o.Wait
	t.Emit += o.Emit
}

// Stream embeds crops 0..n-1 on one device; see [Stream].
func (m *Model) Stream(ctx context.Context, n int, load func(i int, rgb []byte) error,
	emit func(i int, embeddings [][]float32) error, o StreamOptions) (Times, error) {
	return Stream(ctx, []*Model{m}, n, load, emit, o)
}

// Stream embeds crops 0..n-1 on all of devices, which have the same model open at the same
// batch size. load decodes crop i, as
// large as [Options.Crop] says, into H×W×3 of RGB, on one of the workers. emit gets its raw
// embeddings, one for each of o.Flips, in the order of i and in the caller's goroutine. Their
// memory is used again after emit returns.
//
// A device has as many batches in the model as keep it busy, which is one on the processor, and
// one more that is being loaded; one of all is being emitted. The other stages wait for the slowest, so memory does not depend
// on n. Nothing is allocated for a crop.
//
// It ends with the first error, in the order of the crops, of load, of the runtime or of emit,
// or with ctx's. An error of load names the crop's index; all crops before it are emitted.
func Stream(ctx context.Context, devices []*Model, n int, load func(i int, rgb []byte) error,
	emit func(i int, embeddings [][]float32) error, o StreamOptions) (Times, error) {
	if err := ctx.Err(); err != nil { // a few crops might be through before the stages notice
		return Times{}, err
	}
	p, err := newPipeline(devices, n, load, o.Flips)
	defer p.close()
	if err != nil {
		return Times{}, err
	}
	running, stop := context.WithCancel(ctx)
	var stages sync.WaitGroup
	stages.Go(func() { p.feed(running) })
	for device, m := range devices {
		for range m.flights {
			stages.Go(func() { p.infer(running, device) })
		}
	}
	if o.Workers <= 0 {
		o.Workers = runtime.GOMAXPROCS(0)
	}
	for range o.Workers {
		stages.Go(p.work)
	}
	emitted, err := p.drain(running, emit, o.Watch)
	stop()
	stages.Wait()
	if err == nil && emitted < n {
		err = ctx.Err()
	}
	return p.times(), err
}

// ring is the number of batches on their way.
func ring(devices []*Model) int {
	n := 1
	for _, m := range devices {
		n += m.flights + 1
	}
	return n
}

// pipeline is one run of Stream. Its slots go round. A slot is free, then queued while crops
// are loaded into it, embedded by the device that is next, emitted in order, and free again.
type pipeline struct {
	first *Model // of the devices, which differ in nothing that is asked of it
	n     int
	load  func(int, []byte) error
	flips []bool

	slots                 []*slot
	free, queued, ordered chan *slot
	crops                 chan crop

	// Nanoseconds.
	loading, normalising, inferring, waiting atomic.Int64
	emitting                                 time.Duration
}

// slot is a batch on its way: crops from..from+n-1, by mirroring.
type slot struct {
	from, n  int
	runs     []*batch // one for each mirroring
	loaded   chan struct{}
	embedded chan struct{}

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

func newPipeline(devices []*Model, n int, load func(int, []byte) error, flips []bool) (*pipeline, error) {
	m, slots := devices[0], ring(devices)
	p := &pipeline{first: m, n: n, load: load, flips: flips, crops: make(chan crop, m.batch),
		// Every channel has room for every slot, so that a stage waits for nothing but a slot.
		free: make(chan *slot, slots), queued: make(chan *slot, slots), ordered: make(chan *slot, slots)}
	for range min(slots, (n+m.batch-1)/m.batch) {
		s := &slot{loaded: make(chan struct{}, 1), embedded: make(chan struct{}, 1)}
		p.slots = append(p.slots, s)
		p.free <- s
		for range flips {
			b, err := newBatch(devices...)
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
	defer close(p.ordered)
	defer close(p.queued)
	defer close(p.crops)
	for from := 0; from < p.n; from += p.first.batch {
		var s *slot
		select {
		case s = <-p.free:
		case <-ctx.Done():
			return
		}
		s.from, s.n = from, min(p.first.batch, p.n-from)
		s.pending = s.n
		p.queued <- s
		p.ordered <- s
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
	fill := p.first.fill
	canvas := fill.newCanvas()
	for c := range p.crops {
		begun := time.Now()
		err := p.load(c.slot.from+c.row, canvas.crop)
		loaded := time.Now()
		if err == nil {
			rgb := fill.pixels(canvas)
			for k, flip := range p.flips {
				c.slot.runs[k].put(fill, c.row, rgb, flip)
			}
		}
		p.loading.Add(int64(loaded.Sub(begun)))
		p.normalising.Add(int64(time.Since(loaded)))
		c.slot.finish(c.row, err)
	}
}

// finish counts a row as loaded or as failed. The failure of the first crop is reported, in
// whatever order workers meet them.
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

// infer runs the model of a device over slots as they are loaded.
func (p *pipeline) infer(ctx context.Context, device int) {
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
		p.waiting.Add(int64(loaded.Sub(begun)))
		if s.err != nil { // those in front of the first bad crop are still to be emitted
			s.err = fmt.Errorf("load crop %d: %w", s.from+s.failed, s.err)
			s.n = s.failed
		}
		for _, b := range s.runs {
			if err := b.run(device, s.n); err != nil {
				s.n, s.err = 0, err
			}
		}
		p.inferring.Add(int64(time.Since(loaded)))
		s.embedded <- struct{}{} // from here on the slot is another stage's
	}
}

// drain emits slots in their order and returns how many crops that were.
func (p *pipeline) drain(ctx context.Context, emit func(int, [][]float32) error, watch func(Times)) (emitted int, err error) {
	rows := make([][]float32, len(p.flips))
	for s := range p.ordered {
		select {
		case <-s.embedded:
		case <-ctx.Done():
			return emitted, nil
		}
		begun := time.Now()
		for i := range s.n {
			for k, b := range s.runs {
				rows[k] = b.row(i, p.first.dim)
			}
			if err := emit(s.from+i, rows); err != nil {
				return emitted, err
			}
			emitted++
		}
		if s.err != nil {
			return emitted, s.err
		}
		p.emitting += time.Since(begun)
		if watch != nil {
			watch(p.times())
		}
		p.free <- s
	}
	return emitted, nil
}

// times are those so far, in the goroutine that drains.
func (p *pipeline) times() Times {
	return Times{Load: time.Duration(p.loading.Load()), Normalise: time.Duration(p.normalising.Load()),
		Infer: time.Duration(p.inferring.Load()), Wait: time.Duration(p.waiting.Load()), Emit: p.emitting}
}
