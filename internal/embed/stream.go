package embed

import (
	"context"
	"fmt"
	"runtime"
	"sync"
	"time"
)

// StreamOptions tune a pipeline.
type StreamOptions struct {
	// Flips are the mirrorings to embed, e.g. {false, true} for both.
	Flips []bool
	// Workers that load crops; 0 takes one a core.
	Workers int
}

// Times is where a pipeline spent its time. Load is summed over the workers.
type Times struct {
	Load  time.Duration `json:"load"`
	Infer time.Duration `json:"infer"`
	Emit  time.Duration `json:"emit"`
	// Wait is how long inference waited for crops.
	Wait time.Duration `json:"wait"`
}

// Add adds up the times of two pipelines.
func (t *Times) Add(o Times) {
	t.Load += o.Load
	t.Infer += o.Infer
	t.Emit += o.Emit
	t.Wait += o.Wait
}

// block is a batch of crops on its way.
type block struct {
	from, n int
	pixels  []byte
	load    time.Duration
	err     error
}

// Stream embeds crops 0..n-1: load decodes crop i into H×W×3 of RGB on one of the
// workers, emit gets its raw embeddings, one for each of o.Flips, in the order of i.
// The slices that emit gets are used again. Loading runs ahead of inference by two
// batches, so memory does not depend on n. It ends with the first error of load
// (named by its index), of the runtime or of emit, or when ctx does.
func (m *Model) Stream(ctx context.Context, n int, load func(i int, rgb []byte) error,
	emit func(i int, embeddings [][]float32) error, o StreamOptions) (Times, error) {
	if o.Workers <= 0 {
		o.Workers = runtime.GOMAXPROCS(0)
	}
	ctx, cancel := context.WithCancel(ctx)
	var loading sync.WaitGroup
	defer loading.Wait()
	defer cancel()
	const ahead = 2
	free := make(chan []byte, ahead+1)
	for range ahead + 1 {
		free <- make([]byte, m.batch*m.fill.size)
	}
	ready := make(chan *block, ahead)
	loading.Go(func() {
		defer close(ready)
		for from := 0; from < n; from += m.batch {
			var b *block
			select {
			case pixels := <-free:
				b = m.loadBlock(from, min(m.batch, n-from), pixels, load, o.Workers)
			case <-ctx.Done():
				return
			}
			select {
			case ready <- b:
			case <-ctx.Done():
				return
			}
		}
	})
	var t Times
	for {
		begun := time.Now()
		b, more := <-ready
		t.Wait += time.Since(begun)
		if !more {
			return t, ctx.Err()
		}
		t.Load += b.load
		if err := m.embedBlock(ctx, b, emit, o.Flips, &t); err != nil {
			return t, err
		}
		free <- b.pixels
	}
}

// loadBlock fills a batch on several workers.
func (m *Model) loadBlock(from, n int, pixels []byte, load func(int, []byte) error, workers int) *block {
	b := &block{from: from, n: n, pixels: pixels}
	var group sync.WaitGroup
	var mu sync.Mutex
	for w := range workers {
		group.Go(func() {
			begun := time.Now()
			var failed error
			for i := w; i < n && failed == nil; i += workers {
				if err := load(from+i, pixels[i*m.fill.size:(i+1)*m.fill.size]); err != nil {
					failed = fmt.Errorf("load crop %d: %w", from+i, err)
				}
			}
			mu.Lock()
			defer mu.Unlock()
			b.load += time.Since(begun)
			if b.err == nil {
				b.err = failed
			}
		})
	}
	group.Wait()
	return b
}

func (m *Model) embedBlock(ctx context.Context, b *block, emit func(int, [][]float32) error, flips []bool, t *Times) error {
	if b.err != nil {
		return b.err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	begun := time.Now()
	results := make([][]float32, len(flips))
	for k, flip := range flips {
		results[k] = make([]float32, b.n*m.dim)
		if err := m.Embed(b.n, b.pixels, flip, results[k]); err != nil {
			return err
		}
	}
	t.Infer += time.Since(begun)
	begun = time.Now()
	defer func() { t.Emit += time.Since(begun) }()
	row := make([][]float32, len(flips))
	for i := range b.n {
		for k := range flips {
			row[k] = results[k][i*m.dim : (i+1)*m.dim]
		}
		if err := emit(b.from+i, row); err != nil {
			return err
		}
	}
	return nil
}
