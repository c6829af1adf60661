package table

import (
	"io"
	"sync"
	"sync/atomic"
)

// OpenShards are the shards of one kind that are open, each once, however many
// views there are of it. The last view to close unmaps the file: an array that
// points into a mapping keeps nothing alive by itself.
type OpenShards[S io.Closer] struct {
	mu   sync.Mutex
	open map[int]*sharedShard[S]
}

type sharedShard[S io.Closer] struct {
	shard S
	views int
}

// View opens shard i by means of open, or adds a view to the one that is open.
func (o *OpenShards[S]) View(i int, open func() (S, error)) (*View[S], error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	s := o.open[i]
	if s == nil {
		shard, err := open()
		if err != nil {
			return nil, err
		}
		s = &sharedShard[S]{shard: shard}
		if o.open == nil {
			o.open = map[int]*sharedShard[S]{}
		}
		o.open[i] = s
	}
	s.views++
	return &View[S]{owner: o, number: i, shard: s.shard}, nil
}

// release drops one view.
func (o *OpenShards[S]) release(i int) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	s := o.open[i]
	if s.views--; s.views > 0 {
		return nil
	}
	delete(o.open, i)
	return s.shard.Close()
}

// View is one holder's right to use a shard.
type View[S io.Closer] struct {
	owner  *OpenShards[S]
	number int
	shard  S
	closed atomic.Bool
}

// Use is the shard. Using a closed view is a mistake of the caller that would read
// unmapped memory; it panics instead.
func (v *View[S]) Use() S {
	if v.closed.Load() {
		panic("store: shard used after Close")
	}
	return v.shard
}

// Retain is a further view.
func (v *View[S]) Retain() *View[S] {
	shard := v.Use()
	// v holds the shard open, so that this finds it and cannot fail.
	again, _ := v.owner.View(v.number, func() (S, error) { return shard, nil })
	return again
}

// Close ends the view. Closing it again does nothing.
func (v *View[S]) Close() error {
	if v.closed.Swap(true) {
		return nil
	}
	return v.owner.release(v.number)
}
