package teacher

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"facepipe/store"
	"facepipe/store/cache"
)

// shardWriter collects the embeddings of one shard; a [*store.ShardWriter] is one.
type shardWriter interface {
	// Append adds the embedding of the next crop, and that of its mirror image or nil.
	Append(embedding, mirror []float32) error
	// Copy adds that which another cache has.
	Copy(from *cache.Donors, at cache.DonorRow) error
	// Commit makes the shard durable, Abort throws it away; after Commit it does nothing.
	Commit() error
	Abort() error
}

// sink takes the embeddings of [work] in their order, copies those between them, and
// commits each shard when it is complete: beside its caller, so that no device waits for
// a disk. One shard is being committed at a time, one may wait, one is being filled.
type sink struct {
	work  *work
	hooks sinkHooks
	judge judge

	place, row int   // of the next crop: a row of shard work.shards[place]
	current    *fill // nil between shards
	full       chan *fill
	done       chan struct{} // all that is full was committed

	// Of the goroutine that commits, until close returns.
	err              error
	shards           int // committed
	computed, copied int // crops of theirs

	committing atomic.Int64 // nanoseconds
}

// sinkHooks are what a sink calls.
type sinkHooks struct {
	open    func(shard int) (shardWriter, error)
	copy    func(to shardWriter, at store.Location) error
	release func(shard uint32) error // its crops are not needed any more
	stop    context.CancelCauseFunc  // ends the run when a commit fails
}

// fill is a shard on its way.
type fill struct {
	shard            int
	computed, copied int
	out              shardWriter
}

// newSink begins with an empty judge, of which only model and element type are set.
func newSink(w *work, j judge, hooks sinkHooks) *sink {
	s := &sink{work: w, judge: j, hooks: hooks, full: make(chan *fill, 1), done: make(chan struct{})}
	go s.commitAll()
	return s
}

// take adds the embeddings of the next crop of the work, which is at a location.
func (s *sink) take(at store.Location, embeddings [][]float32) error {
	for s.work.shards[s.place] != int(at.Shard) || s.row < int(at.Row) {
		if err := s.copyNext(); err != nil {
			return err
		}
	}
	f, err := s.begin()
	if err != nil {
		return err
	}
	if err := s.judge.see(embeddings); err != nil {
		return f.failed(err)
	}
	var mirror []float32
	if len(embeddings) > 1 {
		mirror = embeddings[1]
	}
	if err := f.out.Append(embeddings[0], mirror); err != nil {
		return f.failed(err)
	}
	f.computed++
	return s.step()
}

// finish copies what comes after the last embedding.
func (s *sink) finish() error {
	for s.place < len(s.work.shards) {
		if err := s.copyNext(); err != nil {
			return err
		}
	}
	return nil
}

func (s *sink) copyNext() error {
	f, err := s.begin()
	if err != nil {
		return err
	}
	if err := s.hooks.copy(f.out, store.Location{Shard: uint32(f.shard), Row: uint32(s.row)}); err != nil {
		return f.failed(err)
	}
	f.copied++
	return s.step()
}

// begin is the shard that is being filled.
func (s *sink) begin() (*fill, error) {
	if s.current != nil {
		return s.current, nil
	}
	f := &fill{shard: s.work.shards[s.place]}
	s.judge.begin(s.work.ds.ShardRows(f.shard) * s.work.each)
	var err error
	if f.out, err = s.hooks.open(f.shard); err != nil {
		return nil, f.failed(err)
	}
	s.current = f
	return f, nil
}

// step goes on to the next crop.
func (s *sink) step() error {
	f := s.current
	if s.row++; s.row < s.work.ds.ShardRows(f.shard) {
		return nil
	}
	s.current, s.row = nil, 0
	s.place++
	s.full <- f
	return s.hooks.release(uint32(f.shard))
}

// commitAll commits shards as they come. After one has failed the others are thrown away.
func (s *sink) commitAll() {
	defer close(s.done)
	for f := range s.full {
		if s.err != nil {
			s.err = errors.Join(s.err, f.out.Abort())
			continue
		}
		begun := time.Now()
		err := f.out.Commit()
		s.committing.Add(int64(time.Since(begun)))
		if err != nil {
			s.err = f.failed(err)
			s.hooks.stop(s.err)
			continue
		}
		s.shards++
		s.computed += f.computed
		s.copied += f.copied
	}
}

// spent is how long committing has taken so far.
func (s *sink) spent() time.Duration { return time.Duration(s.committing.Load()) }

// close waits for what is full to be committed, and throws away what is not.
func (s *sink) close() error {
	close(s.full)
	<-s.done
	if s.current != nil {
		s.err = errors.Join(s.err, s.current.out.Abort())
	}
	return s.err
}

func (f *fill) failed(err error) error { return fmt.Errorf("embed shard %d: %w", f.shard, err) }
