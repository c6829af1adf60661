package store

import (
	"context"
	"errors"
	"fmt"

	"facepipe/store/internal/index"
)

// Lookup finds a crop by its key; the key of a duplicate leads to the crop that is
// stored. [ErrNotFound]. Where the first key comes that is not that of a crop, the keys of all
// shards are read, about 50 bytes a crop, which stay in memory.
func (d *Dataset) Lookup(key string) (Location, error) {
	if ValidKey(key) != nil {
		return Location{}, d.notFound("key", key)
	}
	l, ok, err := d.ask(func(ix index.Index) (Location, bool, error) { return ix.ByKey(key) },
		func(c *cropColumns, k int) bool { return c.key.Value(k) == key })
	return d.found(l, ok, err, "key", key)
}

// LookupID finds a crop by its ID, as [Dataset.Lookup] does by its key. [ErrNotFound].
func (d *Dataset) LookupID(id ID) (Location, error) {
	l, ok, err := d.ask(func(ix index.Index) (Location, bool, error) { return ix.ByID(id) },
		func(c *cropColumns, k int) bool { return c.idAt(k) == id })
	return d.found(l, ok, err, "crop", id.String())
}

// ask asks the index. Whoever made the one on disk, it is believed where the row that it leads to
// confirms it. Everything else, a name that it does not know, or a key that is not the row's, as
// that of a duplicate, is asked of one that is made of the shards; if that says otherwise, the one
// on disk is made anew.
func (d *Dataset) ask(what func(index.Index) (Location, bool, error), isRow func(*cropColumns, int) bool) (l Location, ok bool, err error) {
	ix, err := d.openedIndex()
	if err != nil {
		return l, false, err
	}
	l, ok, err = what(ix)
	if _, inMemory := ix.(*index.Memory); inMemory || err == nil && ok && d.confirms(l, isRow) {
		return l, ok, err
	}
	certain, err2 := d.certainIndex()
	if err2 != nil {
		return l, false, err2
	}
	is, known, err2 := what(certain)
	if err2 == nil && (err != nil || ok != known || ok && l != is) {
		d.renewIndex(err)
	}
	return is, known, err2
}

// confirms is whether there is a row at l that is the one that was looked for.
func (d *Dataset) confirms(l Location, isRow func(*cropColumns, int) bool) bool {
	if int(l.Shard) >= d.Shards() || int(l.Row) >= d.ShardRows(int(l.Shard)) {
		return false
	}
	is, err := d.named.is(l, isRow)
	return err == nil && is
}

// certainIndex is the index in memory, which takes the place of the one on disk.
func (d *Dataset) certainIndex() (*index.Memory, error) {
	d.indexMu.Lock()
	defer d.indexMu.Unlock()
	old := d.index.Load()
	if old != nil {
		if m, ok := (*old).(*index.Memory); ok {
			return m, nil
		}
	}
	m, err := index.NewMemory(d.ctx, d.indexSource())
	if err != nil {
		return nil, err
	}
	var ix index.Index = m
	d.index.Store(&ix)
	if old != nil {
		d.retired = append(d.retired, *old) // others may be asking it
	}
	return m, nil
}

// renewIndex replaces an index on disk that said what is not so, once. If that fails, look-ups
// go on in memory.
func (d *Dataset) renewIndex(cause error) {
	d.renewed.Do(func() {
		if cause == nil {
			cause = errors.New("it does not say what the shards say")
		}
		d.log.Warn("wrong index is rebuilt", "dataset", d.dir, "cause", cause)
		if err := d.indexSource().Renew(d.ctx); err != nil {
			d.log.Warn("index on disk cannot be rebuilt; look-ups go on in memory", "dataset", d.dir, "cause", err)
		}
	})
}

// found is the answer to who looked something up.
func (d *Dataset) found(l Location, ok bool, err error, what, name string) (Location, error) {
	switch {
	case err != nil:
		return Location{}, fmt.Errorf("look up %s %q: %w", what, name, err)
	case !ok:
		return Location{}, d.notFound(what, name)
	}
	return l, nil
}

func (d *Dataset) notFound(what, name string) error {
	return fmt.Errorf("look up %s %q in %s: %w", what, name, d.dir, ErrNotFound)
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
