package ingest

import (
	"context"
	"fmt"
	"sync"

	"facepipe/ingest/source"
	"facepipe/internal/progress"
)

// enoughToEstimate is how many items of a source are met before their number is estimated by
// the bytes that they took.
const enoughToEstimate = 64

// extent tells a bar how many items the sources have, as more of it comes to light: some are
// counted beside the walk, of others the walk knows how far it is.
type extent struct {
	bar *progress.Bar

	mu      sync.Mutex
	sources []counted
	told    int64
}

// counted is what is known of one source.
type counted struct {
	items        int // -1 if not known
	met          int // by the walk
	passed, size int64
}

func newExtent(sources []source.Source, bar *progress.Bar) *extent {
	e := &extent{bar: bar, sources: make([]counted, len(sources)), told: -1}
	for i := range e.sources {
		e.sources[i].items = -1
	}
	return e
}

// count asks the sources that can count their items, until ctx is done. That one cannot is for
// the walk to report.
func (e *extent) count(ctx context.Context, sources []source.Source) {
	for i, s := range sources {
		c, ok := s.(source.Counter)
		if !ok {
			continue
		}
		if n, err := c.Count(ctx); err == nil && n >= 0 {
			e.know(i, n)
		}
	}
}

// know sets the number of items of source i.
func (e *extent) know(i, items int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.sources[i].items = items
	e.tell()
}

// meet takes down that the walk over source i has come to an item.
func (e *extent) meet(i int, s source.Source) {
	e.mu.Lock()
	defer e.mu.Unlock()
	c := &e.sources[i]
	c.met++
	if m, ok := s.(source.Measured); ok && c.items < 0 {
		c.passed, c.size = m.Position()
		e.tell()
	}
}

// end takes down that the walk over source i is over.
func (e *extent) end(i int) {
	e.mu.Lock()
	met := e.sources[i].met
	e.mu.Unlock()
	e.know(i, met)
}

// tell tells the bar what the sources come to.
func (e *extent) tell() {
	total, about := int64(0), false
	for _, c := range e.sources {
		switch {
		case c.items >= 0:
			total += int64(c.items)
		case c.met >= enoughToEstimate && c.passed > 0:
			about = true
			total += max(int64(float64(c.met)*float64(c.size)/float64(c.passed)), int64(c.met))
		default:
			total = -1
		}
		if total < 0 {
			break
		}
	}
	if total != e.told || !about {
		e.told = total
		e.bar.Total(total, about)
	}
}

// walk walks over all sources in their order. The bar, which may be nil, learns how many items
// there are if counts says that it is to count them.
func (r *run) walk(ctx context.Context, bar *progress.Bar, counts bool, visit func(i int, item source.Item) error) error {
	e := newExtent(r.sources, bar)
	if counts = counts && bar != nil; counts {
		ctx, stop := context.WithCancel(ctx)
		var counting sync.WaitGroup
		counting.Go(func() { e.count(ctx, r.sources) })
		defer counting.Wait()
		defer stop()
	}
	for i, s := range r.sources {
		err := s.Walk(ctx, func(item source.Item) error {
			if counts {
				e.meet(i, s)
			}
			return visit(i, item)
		})
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			return fmt.Errorf("walk source %s: %w", r.parsed.sources[i], err)
		}
		if counts {
			e.end(i)
		}
	}
	return nil
}

// openBar is the bar of the whole run: that of a plan's worker, or one of its own. The end is
// known where a plan or an earlier walk tells it.
func (r *run) openBar() (finish func()) {
	if r.bar = r.options.bar; r.bar != nil {
		return func() {}
	}
	r.bar = progress.New(r.options.Progress, "ingest", int64(r.total)).Of("photographs")
	return r.bar.Finish
}

// phase shows that the run is at something that cannot be counted. Within a plan's work the bar
// shows it.
func (r *run) phase(label string) (end func()) {
	if r.options.bar != nil {
		return func() {}
	}
	return progress.Phase(r.options.Progress, label)
}
