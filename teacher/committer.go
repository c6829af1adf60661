package teacher

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"facepipe/internal/verdict"
	"facepipe/store"
	"facepipe/store/cache"
)

// shardWriter collects the embeddings of one shard; a [*cache.ShardWriter] is one.
type shardWriter interface {
	// Append adds the embedding of the next crop, and that of its mirror image or nil. Faults
	// are those of the two.
	Append(embedding, mirror []float32) error
	Faults() (plain, mirrored verdict.Fault)
	// Copy adds the embedding that another cache has.
	Copy(from *cache.Donors, at cache.DonorRow) error
	// Commit makes the shard durable, Abort throws it away; after Commit it does nothing.
	Commit() error
	Abort() error
}

// committer takes the embeddings of [work] in their order and copies those between them. It
// commits each complete shard beside its caller, so that no device waits for a disk. One
// shard is being committed at a time, one may wait, one is being filled.
type committer struct {
	work  *work
	hooks hooks
	judge judge

	place, row int        // of the next crop: a row of shard work.shards[place]
	current    *openShard // nil between shards
	full       chan *openShard
	done       chan struct{} // all that is full was committed

	// Of the goroutine that commits, until close returns.
	err              error
	shards           int // committed
	computed, copied int // crops of theirs

	committing atomic.Int64 // nanoseconds
}

// hooks are the functions that a committer calls.
type hooks struct {
	open    func(shard int) (shardWriter, error)
	copy    func(to shardWriter, at store.Location) error
	release func(shard uint32) error // its crops are not needed any more
	stop    context.CancelCauseFunc  // ends the run when a commit fails
}

// openShard is one that is being filled, or waits to be committed.
type openShard struct {
	shard            int
	computed, copied int
	out              shardWriter
}

// newCommitter begins with a judge that has seen nothing.
func newCommitter(w *work, j judge, h hooks) *committer {
	c := &committer{work: w, judge: j, hooks: h, full: make(chan *openShard, 1), done: make(chan struct{})}
	go c.commitAll()
	return c
}

// take adds the embeddings of the next crop of the work, which is at a location. It returns
// their faults.
func (c *committer) take(at store.Location, embeddings [][]float32) (plain, mirrored verdict.Fault, err error) {
	for c.work.shards[c.place] != int(at.Shard) || c.row < int(at.Row) {
		if err := c.copyNext(); err != nil {
			return "", "", err
		}
	}
	s, err := c.begin()
	if err != nil {
		return "", "", err
	}
	var mirror []float32
	if len(embeddings) > 1 {
		mirror = embeddings[1]
	}
	if err := s.out.Append(embeddings[0], mirror); err != nil {
		return "", "", s.failed(err)
	}
	plain, mirrored = s.out.Faults()
	if err := c.judge.see(plain, mirrored); err != nil {
		return plain, mirrored, s.failed(err)
	}
	s.computed++
	return plain, mirrored, c.step()
}

// finish copies what comes after the last embedding.
func (c *committer) finish() error {
	for c.place < len(c.work.shards) {
		if err := c.copyNext(); err != nil {
			return err
		}
	}
	return nil
}

func (c *committer) copyNext() error {
	s, err := c.begin()
	if err != nil {
		return err
	}
	if err := c.hooks.copy(s.out, store.Location{Shard: uint32(s.shard), Row: uint32(c.row)}); err != nil {
		return s.failed(err)
	}
	s.copied++
	return c.step()
}

// begin is the shard that is being filled.
func (c *committer) begin() (*openShard, error) {
	if c.current != nil {
		return c.current, nil
	}
	s := &openShard{shard: c.work.shards[c.place]}
	c.judge.begin(c.work.ds.ShardRows(s.shard) * c.work.each)
	var err error
	if s.out, err = c.hooks.open(s.shard); err != nil {
		return nil, s.failed(err)
	}
	c.current = s
	return s, nil
}

// step goes on to the next crop.
func (c *committer) step() error {
	s := c.current
	if c.row++; c.row < c.work.ds.ShardRows(s.shard) {
		return nil
	}
	c.current, c.row = nil, 0
	c.place++
	c.full <- s
	return c.hooks.release(uint32(s.shard))
}

// commitAll commits shards as they come. After a failure it throws the others away.
func (c *committer) commitAll() {
	defer close(c.done)
	for s := range c.full {
		if c.err != nil {
			c.err = errors.Join(c.err, s.out.Abort())
			continue
		}
		begun := time.Now()
		err := s.out.Commit()
		c.committing.Add(int64(time.Since(begun)))
		if err != nil {
			c.err = s.failed(err)
			c.hooks.stop(c.err)
			continue
		}
		c.shards++
		c.computed += s.computed
		c.copied += s.copied
	}
}

// spent is how long committing has taken so far.
func (c *committer) spent() time.Duration { return time.Duration(c.committing.Load()) }

// close waits until all full shards are committed, and throws away one that is not full.
func (c *committer) close() error {
	close(c.full)
	<-c.done
	if c.current != nil {
		c.err = errors.Join(c.err, c.current.out.Abort())
	}
	return c.err
}

func (s *openShard) failed(err error) error { return fmt.Errorf("embed shard %d: %w", s.shard, err) }
