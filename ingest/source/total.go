package source

import (
	"context"
	"os"

	"facepipe/internal/recordio"
	"facepipe/internal/webdataset"
)

// Counter is a source that can say how many items it has without reading them.
type Counter interface {
	// Count is the number of items of a walk; -1 if it is not known. It may take as long as
	// listing all directories, and may run beside a walk.
	Count(ctx context.Context) (int, error)
}

// Measured is a source that knows while it is walked how much of it has been passed.
type Measured interface {
	// Position is how many of the source's bytes the walk has passed. Only the function that
	// the walk calls may ask.
	Position() (passed, size int64)
}

// Count lists the directories.
func (f folder) Count(ctx context.Context) (n int, err error) {
	err = f.Walk(ctx, func(Item) error { n++; return nil })
	return n, err
}

// Count was found when the file was checked.
func (m *manifest) Count(context.Context) (int, error) { return m.count, nil }

// Count is that of the list.
func (b *verificationBin) Count(context.Context) (int, error) { return b.file.Images(), nil }

// Count is that of the index, where it is known which of its records are images.
func (s *recordIO) Count(context.Context) (int, error) {
	if s.index == nil || s.images == 0 {
		return -1, nil
	}
	n := 0
	for _, e := range s.index {
		if e.Key >= 1 && e.Key < s.images {
			n++
		}
	}
	return n, nil
}

// Position is that in the .rec file.
func (s *recordIO) Position() (passed, size int64) { return s.passed, s.size }

// pass takes down which record the walk has come to.
func (s *recordIO) pass(r recordio.Record) { s.passed = r.End }

// tarProgress is how far a walk over several shards is.
type tarProgress struct {
	size, before int64                    // bytes of all shards, and of those before the current one
	of           []int64                  // of each
	shard        func() *webdataset.Shard // the current one, nil until it is open
}

// enter begins the walk over a shard.
func (s *webDataset) enter(i int, shard func() *webdataset.Shard) {
	p := &s.progress
	if p.of == nil {
		p.of = make([]int64, len(s.shards))
		for k, t := range s.shards {
			if info, err := os.Stat(t.path); err == nil {
				p.of[k] = info.Size()
				p.size += info.Size()
			}
		}
	}
	p.shard = shard
	p.before = 0
	for _, bytes := range p.of[:i] {
		p.before += bytes
	}
}

// Position is that in the files of all shards, as they lie on the disk.
func (s *webDataset) Position() (passed, size int64) {
	passed = s.progress.before
	if s.progress.shard == nil {
		return 0, 0
	}
	if shard := s.progress.shard(); shard != nil {
		passed += shard.Passed()
	}
	return passed, s.progress.size
}
