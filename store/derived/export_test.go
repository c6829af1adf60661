package derived

import (
	"context"
	"errors"
	"strings"

	"facepipe/internal/durable"
	"facepipe/store"
	"facepipe/store/cache"
)

// WithMemory bounds the sums that are held at a time.
func (o CentresOptions) WithMemory(bytes int) CentresOptions {
	o.memory = bytes
	return o
}

// InParts bounds the rows of a table of neighbours, and the goroutines that find them.
func (o NeighboursOptions) InParts(rows, workers int) NeighboursOptions {
	o.partRows, o.workers = rows, workers
	return o
}

// ErrStopped ends [StopNeighbours].
var ErrStopped = errors.New("stopped")

// stopping is a disk that fails when a number of parts are committed.
type stopping struct {
	durable.OS
	parts int
}

func (s *stopping) Rename(from, to string) error {
	if err := s.OS.Rename(from, to); err != nil {
		return err
	}
	if strings.HasSuffix(to, partSuffix) {
		s.parts--
	}
	return nil
}

func (s *stopping) SyncDir(dir string) error {
	if err := s.OS.SyncDir(dir); err != nil || s.parts > 0 {
		return err
	}
	return ErrStopped
}

// StopNeighbours derives some parts of the neighbours and then fails.
func StopNeighbours(ctx context.Context, dir, teacher string, o NeighboursOptions, parts int) (err error) {
	d, err := store.Open(dir, store.WithDisk(durable.Disk{FS: &stopping{parts: parts}}))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.Close()) }()
	return EnsureNeighbours(ctx, d, teacher, o)
}

// EnsureNeighbours derives the neighbours of an open dataset unless they are there.
func EnsureNeighbours(ctx context.Context, d *store.Dataset, teacher string, o NeighboursOptions) error {
	t, err := cache.Open(d, teacher)
	if err != nil {
		return err
	}
	_, _, _, err = ensureNeighbours(ctx, t, o)
	return err
}
