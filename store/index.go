package store

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"facepipe/internal/durable"
)

// index answers where a crop is. It is derived from the shards and can be made from
// them at any time. Safe for concurrent use until it is closed.
type index interface {
	// byID is where a crop is stored.
	byID(ID) (Location, bool, error)
	// byKey is the crop that a key leads to.
	byKey(string) (Location, bool, error)
	// byIdentity are the global rows of an identity, ascending; none if there is no
	// such identity.
	byIdentity(string) ([]int, error)
	close() error
}

// indexEntries receives what an index is made of.
type indexEntries interface {
	// crop is called for every crop in the order of global rows.
	crop(row int, id ID, key, identity string) error
	// alias is called for every duplicate, after the crop it is of. A key that leads
	// to that crop already may come again.
	alias(key string, of ID) error
}

// Lookup finds a crop by its key; the key of a duplicate leads to the crop that is
// stored. [ErrNotFound].
func (d *Dataset) Lookup(key string) (Location, error) {
	ix, err := d.openedIndex()
	if err != nil {
		return Location{}, err
	}
	l, ok, err := ix.byKey(key)
	return d.found(l, ok, err, "key", key)
}

// LookupID finds a crop by its ID. [ErrNotFound].
func (d *Dataset) LookupID(id ID) (Location, error) {
	ix, err := d.openedIndex()
	if err != nil {
		return Location{}, err
	}
	l, ok, err := ix.byID(id)
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
	return damaged(filepath.Join(d.dir, indexFolder), "%s %q leads to a crop that does not exist", what, name)
}

// IdentityRows are the global rows of an identity's crops, ascending. [ErrNotFound].
func (d *Dataset) IdentityRows(name string) ([]int, error) {
	ix, err := d.openedIndex()
	if err != nil {
		return nil, err
	}
	rows, err := ix.byIdentity(name)
	switch {
	case err != nil:
		return nil, fmt.Errorf("look up identity %q: %w", name, err)
	case len(rows) == 0:
		return nil, d.notFound("identity", name)
	case rows[len(rows)-1] >= d.Rows():
		return nil, d.astray("identity", name)
	}
	return rows, nil
}

// eachEntry tells an index all it is made of. It reads the keys of all shards, no
// images.
func (d *Dataset) eachEntry(ctx context.Context, to indexEntries) error {
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
				if err := to.crop(row, c.idAt(k), c.key.Value(k), c.identity.Value(k)); err != nil {
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
			if err := to.alias(dup.Key, dup.Of); err != nil {
				return err
			}
		}
	}
	return nil
}

// openedIndex is the index: the one on disk if it is good, else that one rebuilt,
// else (the dataset cannot be written, its disk is full ...) one in memory.
func (d *Dataset) openedIndex() (index, error) {
	if ix := d.index.Load(); ix != nil {
		return *ix, nil
	}
	d.indexMu.Lock()
	defer d.indexMu.Unlock()
	if ix := d.index.Load(); ix != nil {
		return *ix, nil
	}
	ix, err := d.openOrBuildIndex()
	if err != nil {
		d.log.Warn("index on disk cannot be used; reading all keys", "dataset", d.dir, "cause", err)
		if ix, err = newMemoryIndex(context.Background(), d); err != nil {
			return nil, err
		}
	}
	d.index.Store(&ix)
	return ix, nil
}

// ensureIndex builds the index on disk unless it is there.
func (d *Dataset) ensureIndex() error {
	ix, err := d.openOrBuildIndex()
	if err != nil {
		return err
	}
	return ix.close()
}

func (d *Dataset) openOrBuildIndex() (index, error) {
	ix, err := openBadgerIndex(d)
	if err == nil {
		return ix, nil
	}
	if !errors.Is(err, os.ErrNotExist) && !errors.Is(err, errStaleIndex) {
		d.log.Warn("damaged index is rebuilt", "dataset", d.dir, "cause", err)
	}
	if err := d.rebuildIndex(); err != nil {
		return nil, err
	}
	return openBadgerIndex(d)
}

// rebuildIndex builds the index beside the old one and then takes its place. One
// process does; others wait and then find it done.
func (d *Dataset) rebuildIndex() error {
	lock, err := durable.WaitLock(context.Background(), filepath.Join(d.dir, indexLockFile))
	if err != nil {
		return err
	}
	defer lock.Unlock()
	if ix, err := openBadgerIndex(d); err == nil {
		return ix.close()
	}
	// An older snapshot must not take the place of a newer one's index, or the two
	// would keep rebuilding it.
	doc, err := readDatasetDoc(d.dir)
	if err != nil {
		return err
	}
	if doc.Digest != d.doc.Digest {
		return errors.New("the dataset has grown since it was opened")
	}
	return d.replaceIndex(context.Background())
}

// replaceIndex builds the index and puts it in the place of whatever is there. The
// caller has the index lock.
func (d *Dataset) replaceIndex(ctx context.Context) error {
	if err := removeIndexTemps(d.disk, d.dir); err != nil {
		return err
	}
	temp := filepath.Join(d.dir, indexTempPrefix+"new")
	if err := d.disk.FS.Mkdir(temp, folderMode); err != nil {
		return err
	}
	if err := buildBadgerIndex(ctx, d, temp); err != nil {
		return errors.Join(err, removeAll(d.disk, temp))
	}
	return replaceFolder(d.disk, filepath.Join(d.dir, indexFolder), temp)
}

// removeIndexTemps deletes what killed builders left. The caller has the index lock.
func removeIndexTemps(disk durable.Disk, dir string) error {
	entries, err := os.ReadDir(dir)
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), indexTempPrefix) {
			err = errors.Join(err, removeAll(disk, filepath.Join(dir, e.Name())))
		}
	}
	return err
}

// tidyIndex deletes what a builder left that was killed after its index was in place, an
// older index perhaps. While another builds, it leaves that to the next.
func (d *Dataset) tidyIndex() error {
	lock, err := durable.TryLock(filepath.Join(d.dir, indexLockFile))
	if errors.Is(err, ErrLocked) {
		return nil
	}
	if err != nil {
		return err
	}
	return errors.Join(removeIndexTemps(d.disk, d.dir), lock.Unlock())
}

// removeAll is [os.RemoveAll] on a disk. Others may be at it, too.
func removeAll(disk durable.Disk, path string) error {
	info, err := os.Lstat(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if info.IsDir() {
		entries, err := os.ReadDir(path)
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
		for _, e := range entries {
			if err := removeAll(disk, filepath.Join(path, e.Name())); err != nil {
				return err
			}
		}
	}
	if err := disk.FS.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}

// replaceFolder moves temp to target. Between the two renames there is no target;
// whoever comes then finds no index and waits for the lock.
func replaceFolder(disk durable.Disk, target, temp string) error {
	old := filepath.Join(filepath.Dir(target), indexTempPrefix+"old")
	if _, err := os.Lstat(target); err == nil {
		if err := disk.FS.Rename(target, old); err != nil {
			return err
		}
	}
	if err := disk.FS.Rename(temp, target); err != nil {
		return err
	}
	if err := disk.FS.SyncDir(filepath.Dir(target)); err != nil {
		return err
	}
	// The new index stands; what is left of the old one goes next time.
	_ = removeAll(disk, old)
	return nil
}
