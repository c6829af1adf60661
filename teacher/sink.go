package teacher

import (
	"context"
	"errors"
	"fmt"
	"time"

	"facepipe/store"
)

// shardWriter collects the embeddings of one shard; a [*store.EmbeddingWriter] is one.
type shardWriter interface {
	// Append adds the embedding of the next crop, and that of its mirror image or nil.
	Append(embedding, mirror []float32) error
	// Commit makes the shard durable, Abort throws it away; after Commit it does nothing.
	Commit() error
	Abort() error
}

// sink takes embeddings in the order of [shardRows] and commits each shard when it is
// complete: beside its caller, so that no device waits for a disk. One shard is being
// committed at a time, one may wait, one is being filled.
type sink struct {
	rows  *shardRows
	judge func(crops int) *judge
	open  func(shard int) (shardWriter, error)
	stop  context.CancelCauseFunc // ends the run when a commit fails

	current *fill // nil between shards
	full    chan *fill
	done    chan struct{} // all that is full was committed

	// Of the goroutine that commits, until done is closed.
	err        error
	committed  int // crops
	committing time.Duration
}

// fill is a shard on its way.
type fill struct {
	shard, crops int
	out          shardWriter
	judge        *judge
}

func newSink(rows *shardRows, judge func(int) *judge, open func(int) (shardWriter, error), stop context.CancelCauseFunc) *sink {
	s := &sink{rows: rows, judge: judge, open: open, stop: stop, full: make(chan *fill, 1), done: make(chan struct{})}
	go s.commitAll()
	return s
}

// take adds the embeddings of the crop at a location, which follows the one before.
func (s *sink) take(at store.Location, embeddings [][]float32) error {
	if s.current == nil {
		if err := s.begin(int(at.Shard)); err != nil {
			return err
		}
	}
	f := s.current
	if err := f.judge.see(embeddings); err != nil {
		return f.failed(err)
	}
	var mirror []float32
	if len(embeddings) > 1 {
		mirror = embeddings[1]
	}
	if err := f.out.Append(embeddings[0], mirror); err != nil {
		return f.failed(err)
	}
	if s.rows.last(at) {
		s.current = nil
		s.full <- f
	}
	return nil
}

func (s *sink) begin(shard int) error {
	f := &fill{shard: shard, crops: s.rows.ds.ShardRows(shard)}
	f.judge = s.judge(f.crops)
	var err error
	if f.out, err = s.open(shard); err != nil {
		return f.failed(err)
	}
	s.current = f
	return nil
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
		s.committing += time.Since(begun)
		if err != nil {
			s.err = f.failed(err)
			s.stop(s.err)
			continue
		}
		s.committed += f.crops
	}
}

// close waits for what is full to be committed, throws away what is not, and returns how
// many crops were committed.
func (s *sink) close() (committed int, err error) {
	close(s.full)
	<-s.done
	if s.current != nil {
		s.err = errors.Join(s.err, s.current.out.Abort())
	}
	return s.committed, s.err
}

// seconds is the time that the commits took, after close.
func (s *sink) seconds() time.Duration { return s.committing }

func (f *fill) failed(err error) error { return fmt.Errorf("embed shard %d: %w", f.shard, err) }
