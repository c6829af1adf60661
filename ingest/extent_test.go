package ingest

import (
	"context"
	"errors"
	"io"
	"testing"

	"facepipe/ingest/source"
	"facepipe/internal/progress"
)

// told takes down the last total that a bar was told.
type told struct {
	io.Writer
	total int64
}

func (t *told) Unwrap() io.Writer               { return t.Writer }
func (t *told) Observe(string) progress.Watcher { return t }
func (t *told) Total(n int64)                   { t.total = n }
func (*told) Count(int64, int64)                {}
func (*told) Reject(int64, string)              {}
func (*told) Spend(string, float64)             {}

// countedSource knows its number of items, measuredSource its bytes.
type (
	countedSource struct {
		source.Source
		items int
		err   error
	}
	measuredSource struct {
		source.Source
		passed, size int64
	}
)

func (c countedSource) Count(context.Context) (int, error) { return c.items, c.err }
func (m *measuredSource) Position() (passed, size int64)   { return m.passed, m.size }

func TestExtent(t *testing.T) {
	tar := &measuredSource{size: 100_000}
	sources := []source.Source{countedSource{items: 10}, countedSource{err: errors.New("gone")}, tar, countedSource{items: -1}}
	w := &told{Writer: io.Discard}
	bar := progress.New(w, "ingest", -1)
	defer bar.Finish()
	e := newExtent(sources, bar)
	want := func(when string, total int64) {
		t.Helper()
		if w.total != total {
			t.Errorf("%s: total %d, want %d", when, w.total, total)
		}
	}
	e.count(t.Context(), sources)
	want("two of four can count", -1)
	e.end(1)
	e.end(3)
	want("the tar is not begun", -1)
	for range enoughToEstimate - 1 {
		tar.passed += 100
		e.meet(2, tar)
	}
	want("too little to estimate by", -1)
	tar.passed += 100
	e.meet(2, tar)
	want("estimated by bytes", 1010)
	tar.passed = tar.size * 2
	e.meet(2, tar)
	want("never less than there are", 10+enoughToEstimate+1)
	e.end(2)
	want("all is known", 10+enoughToEstimate+1)
	e.end(0)
	want("the walk knows better than the count", enoughToEstimate+1)
}
