package store

import (
	"context"
	"fmt"
	"path/filepath"

	"facepipe/store/internal/index"
	"facepipe/store/internal/table"
)

// Lookup finds a crop by its key; the key of a duplicate leads to the crop that is
// stored. [ErrNotFound].
func (d *Dataset) Lookup(key string) (Location, error) {
	if ValidKey(key) != nil {
		return Location{}, d.notFound("key", key)
	}
	ix, err := d.openedIndex()
	if err != nil {
		return Location{}, err
	}
	l, ok, err := ix.ByKey(key)
	return d.found(l, ok, err, "key", key)
}

// LookupID finds a crop by its ID. [ErrNotFound].
func (d *Dataset) LookupID(id ID) (Location, error) {
	ix, err := d.openedIndex()
	if err != nil {
		return Location{}, err
	}
	l, ok, err := ix.ByID(id)
	return d.found(l, ok, err, "crop", id.String())
}

// found checks an index's answer: whatever it says, a location is one of this
// snapshot's.
func (d *Dataset) found(l Location, ok bool, err error, what, name string) (Location, error) {
	switch {
	case err != nil:
		return Location{}, fmt.Errorf("look up %s %q: %w", what, name, err)
	case !ok:
		return Location{}, d.notFound(what, name)
	case int(l.Shard) >= d.Shards() || int(l.Row) >= d.ShardRows(int(l.Shard)):
		return Location{}, d.astray(what, name)
	}
	return l, nil
}

func (d *Dataset) notFound(what, name string) error {
	return fmt.Errorf("look up %s %q in %s: %w", what, name, d.dir, ErrNotFound)
}

func (d *Dataset) astray(what, name string) error {
	return table.Damaged(filepath.Join(d.dir, index.Folder), "%s %q leads to a crop that does not exist", what, name)
}

// eachEntry tells an index all it is made of. It reads the keys of all shards, no
// images.
func (d *Dataset) eachEntry(ctx context.Context, to index.Entries) error {
	row := 0
	for shard := range d.shards {
		if err := ctx.Err(); err != nil {
			return err
		}
		f, err := d.openCrops(shard)
		if err != nil {
			return err
		}
		err = f.eachColumns(func(c *cropColumns) error {
			for k := range c.rows() {
				if err := to.Crop(row, c.idAt(k), c.key.Value(k)); err != nil {
					return err
				}
				row++
			}
			return nil
		})
		if err != nil {
			return err
		}
		m, err := d.readManifest(shard)
		if err != nil {
			return err
		}
		for _, dup := range m.Duplicates {
			if err := to.Alias(dup.Key, dup.Of); err != nil {
				return err
			}
		}
	}
	return nil
}

// indexSource is what the index of this snapshot is made of.
func (d *Dataset) indexSource() *index.Source {
	return &index.Source{
		Dir: d.dir, Digest: d.doc.Digest, Inputs: d.Rows() + d.Duplicates(), Disk: d.disk, Log: d.log,
		Each: d.eachEntry, Locate: d.Locate,
		File: func(row int) string { return d.cropPath(int(d.Locate(row).Shard)) },
		Current: func() (string, error) {
			doc, err := readDatasetDoc(d.dir)
			if err != nil {
				return "", err
			}
			return doc.Digest, nil
		},
	}
}

// IndexState says what is known of the index without reading it: current, outdated, missing
// or damaged, and its size.
func (d *Dataset) IndexState() (state string, bytes int64) { return index.State(d.dir, d.doc.Digest) }

// openedIndex is the index: the one on disk if it is good, else that one rebuilt,
// else (the dataset cannot be written, its disk is full ...) one in memory.
func (d *Dataset) openedIndex() (index.Index, error) {
	if ix := d.index.Load(); ix != nil {
		return *ix, nil
	}
	d.indexMu.Lock()
	defer d.indexMu.Unlock()
	if ix := d.index.Load(); ix != nil {
		return *ix, nil
	}
	source := d.indexSource()
	ix, err := source.OpenOrBuild(d.ctx)
	if d.ctx.Err() != nil && err != nil {
		return nil, err
	}
	if err != nil {
		d.log.Warn("index on disk cannot be used; reading all keys", "dataset", d.dir, "cause", err)
		if ix, err = index.NewMemory(d.ctx, source); err != nil {
			return nil, err
		}
	}
	d.index.Store(&ix)
	return ix, nil
}
