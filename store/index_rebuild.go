package store

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"facepipe/internal/durable"
	"facepipe/store/internal/index"
	"facepipe/store/internal/table"
)

// RebuiltIndex says what [RebuildIndex] did.
type RebuiltIndex struct {
	// Dataset is the folder, Digest what the index is of now.
	Dataset string `json:"dataset"`
	Digest  string `json:"digest"`
	// Rows are the crops that were indexed, Duplicates the further keys.
	Rows       int     `json:"rows"`
	Duplicates int     `json:"duplicates"`
	Seconds    float64 `json:"seconds"`
}

// RebuildIndex makes what is derived from the shards of the dataset in dir anew, the
// index and rejects.jsonl, whatever became of them. Readers that have the old index
// open keep it. It fails with [ErrLocked] while a run appends, which rebuilds them by
// itself at its end, or while another builds the index. Interrupted at any moment, it
// leaves the old index or none, and readers build that when they need it.
func RebuildIndex(ctx context.Context, dir string, options ...Option) (r RebuiltIndex, err error) {
	begun := time.Now()
	// Before the locks, whose files should not appear in a folder that is no dataset.
	if _, err := readDatasetDoc(dir); err != nil {
		return r, fmt.Errorf("rebuild index: %w", err)
	}
	for _, name := range []string{table.LockFile, index.LockFile} {
		lock, err := durable.TryLock(filepath.Join(dir, name))
		if err != nil {
			return r, fmt.Errorf("rebuild index: %w", err)
		}
		defer lock.Unlock()
	}
	d, err := Open(dir, options...)
	if err != nil {
		return r, fmt.Errorf("rebuild index: %w", err)
	}
	defer func() { err = errors.Join(err, d.Close()) }()
	if err := d.rebuildDerived(ctx); err != nil {
		return r, fmt.Errorf("rebuild index of %s: %w", dir, err)
	}
	return RebuiltIndex{
		Dataset: dir, Digest: d.Digest(), Rows: d.Rows(), Duplicates: d.Duplicates(), Seconds: time.Since(begun).Seconds(),
	}, nil
}

// rebuildDerived is for one who holds both locks.
func (d *Dataset) rebuildDerived(ctx context.Context) error {
	if err := d.disk.RemoveTemps(d.dir); err != nil {
		return err
	}
	if err := writeRejects(d.disk, d.dir, d.Shards(), d.superseded); err != nil {
		return err
	}
	return d.indexSource().Replace(ctx)
}
