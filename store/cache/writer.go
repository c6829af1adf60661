package cache

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"

	"facepipe/internal/durable"
	"facepipe/store"
	"facepipe/store/internal/table"
)

// Writer fills a teacher cache, a shard at a time in any order. Every shard is
// committed by itself; a killed run loses only those in flight. Shards may be written
// by several goroutines, each with its own [ShardWriter].
type Writer struct {
	cache   *Cache
	disk    durable.Disk
	mu      sync.Mutex // guards missing and lock
	missing []int
	lock    *durable.Lock
}

// Create begins a teacher cache, or continues the one of that name, and takes
// its lock: [store.ErrLocked]. A cache of another fingerprint is left alone:
// [store.ErrFingerprint]. What an interrupted run left behind is removed.
func Create(d *store.Dataset, info Info) (*Writer, error) {
	disk := d.Disk()
	if err := info.Validate(); err != nil {
		return nil, fmt.Errorf("write teacher cache: %w", err)
	}
	folder := folderOf(d, info.Name)
	if err := disk.MkdirBelow(d.Dir(), filepath.Join(store.TeachersFolder, info.Name), table.FolderMode); err != nil {
		return nil, fmt.Errorf("write teacher cache: %w", err)
	}
	lock, err := durable.TryLock(filepath.Join(folder, table.LockFile))
	if err != nil {
		return nil, fmt.Errorf("write teacher cache: %w", err)
	}
	w := &Writer{disk: disk, lock: lock}
	if err := w.resume(d, info); err != nil {
		return nil, errors.Join(err, lock.Unlock())
	}
	return w, nil
}

// resume writes teacher.json if it is not there, cleans up after an interrupted run,
// and takes up what was committed.
func (w *Writer) resume(d *store.Dataset, info Info) error {
	folder := folderOf(d, info.Name)
	if err := durable.NoLinks(folder, runsFolder); err != nil {
		return err
	}
	for _, dir := range []string{folder, filepath.Join(folder, runsFolder)} {
		if err := w.disk.RemoveTemps(dir); err != nil {
			return fmt.Errorf("clean up teacher cache: %w", err)
		}
	}
	// What is found here may be of a run that was killed before it made the names durable.
	for _, dir := range []string{folder, filepath.Dir(folder), d.Dir()} {
		if err := w.disk.FS.SyncDir(dir); err != nil {
			return err
		}
	}
	if err := w.declare(folder, info); err != nil {
		return err
	}
	var err error
	if w.cache, err = Open(d, info.Name); err != nil {
		return err
	}
	w.missing = w.cache.MissingShards()
	return removeOrphans(w.disk, folder, func(shard int) bool { return !slices.Contains(w.missing, shard) })
}

// declare writes teacher.json, or compares the one that is there with info.
func (w *Writer) declare(folder string, info Info) error {
	have, err := readInfo(folder, info.Name)
	switch {
	case errors.Is(err, os.ErrNotExist):
		data, err := table.EncodeSealed(infoDoc{Header: table.HeaderOf(table.FormatTeacher), Info: info})
		if err != nil {
			return fmt.Errorf("encode %s: %w", infoFile, err)
		}
		return w.disk.WriteFile(filepath.Join(folder, infoFile), data, table.OnceMode)
	case err != nil:
		return err
	}
	if err := have.conflict(folder, info); err != nil {
		return fmt.Errorf("%w; use another name", err)
	}
	return nil
}

// Info describes the cache.
func (w *Writer) Info() Info { return w.cache.info }

// MissingShards are the shards still to be written, ascending.
func (w *Writer) MissingShards() []int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.missing)
}

// written takes a shard off the list.
func (w *Writer) written(shard int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.missing = slices.DeleteFunc(w.missing, func(s int) bool { return s == shard })
}

// Close lets go of the cache; shards not committed are as if never begun. Closing
// again does nothing.
func (w *Writer) Close() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.lock.Unlock()
}

// removeOrphans deletes the Arrow files of a teacher's shards whose manifests were never
// written. There may be several: shards are embedded in any order, by several at once.
func removeOrphans(disk durable.Disk, folder string, committed func(shard int) bool) error {
	shards, err := table.ListShards(folder, table.ArrowSuffix)
	if err != nil {
		return err
	}
	for _, shard := range shards {
		if committed(shard) {
			continue
		}
		if err := table.RemoveShard(disk, filepath.Join(folder, table.ArrowName(shard))); err != nil {
			return err
		}
	}
	return nil
}
