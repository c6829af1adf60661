package store

import (
	"context"
	"errors"
	"log/slog"
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
	close() error
}

// indexEntries receives what an index is made of.
type indexEntries interface {
	// crop is called for every crop in the order of global rows.
	crop(row int, id ID, key string) error
	// alias is called for every duplicate, after the crop it is of. A key that leads
	// to that crop already may come again.
	alias(key string, of ID) error
}

// indexSource is a dataset as an index sees it: what to index, and where the index lies.
type indexSource struct {
	// dir is the dataset's folder, digest what identifies the snapshot.
	dir    string
	digest string
	// inputs is the number of keys.
	inputs int
	disk   durable.Disk
	log    *slog.Logger
	// each tells an index all it is made of.
	each func(context.Context, indexEntries) error
	// locate is where the crop of a global row is, file the path of the file that holds it.
	locate func(row int) Location
	file   func(row int) string
	// current is the digest that the dataset has by now.
	current func() (string, error)
}

// ensure builds the index on disk unless it is there.
func (s *indexSource) ensure() error {
	ix, err := s.openOrBuild()
	if err != nil {
		return err
	}
	return ix.close()
}

func (s *indexSource) openOrBuild() (index, error) {
	ix, err := openBadgerIndex(s.dir, s.digest)
	if err == nil {
		return ix, nil
	}
	if !errors.Is(err, os.ErrNotExist) && !errors.Is(err, errStaleIndex) {
		s.log.Warn("damaged index is rebuilt", "dataset", s.dir, "cause", err)
	}
	if err := s.rebuild(); err != nil {
		return nil, err
	}
	return openBadgerIndex(s.dir, s.digest)
}

// rebuild builds the index beside the old one and then takes its place. One
// process does; others wait and then find it done.
func (s *indexSource) rebuild() error {
	lock, err := durable.WaitLock(context.Background(), filepath.Join(s.dir, indexLockFile))
	if err != nil {
		return err
	}
	defer lock.Unlock()
	if ix, err := openBadgerIndex(s.dir, s.digest); err == nil {
		return ix.close()
	}
	// An older snapshot must not take the place of a newer one's index, or the two
	// would keep rebuilding it.
	now, err := s.current()
	if err != nil {
		return err
	}
	if now != s.digest {
		return errors.New("the dataset has grown since it was opened")
	}
	return s.replace(context.Background())
}

// replace builds the index and puts it in the place of whatever is there. The
// caller has the index lock.
func (s *indexSource) replace(ctx context.Context) error {
	if err := removeIndexTemps(s.disk, s.dir); err != nil {
		return err
	}
	temp := filepath.Join(s.dir, indexTempPrefix+"new")
	if err := s.disk.FS.Mkdir(temp, folderMode); err != nil {
		return err
	}
	if err := buildBadgerIndex(ctx, s, temp); err != nil {
		return errors.Join(err, removeAll(s.disk, temp))
	}
	return replaceFolder(s.disk, filepath.Join(s.dir, indexFolder), temp)
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

// tidy deletes what a builder left that was killed after its index was in place, an
// older index perhaps. While another builds, it leaves that to the next.
func (s *indexSource) tidy() error {
	lock, err := durable.TryLock(filepath.Join(s.dir, indexLockFile))
	if errors.Is(err, durable.ErrLocked) {
		return nil
	}
	if err != nil {
		return err
	}
	return errors.Join(removeIndexTemps(s.disk, s.dir), lock.Unlock())
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

// indexState says what is known of a dataset's index without reading it: current, outdated,
// missing or damaged, and its size.
func indexState(dir, digest string) (state string, bytes int64) {
	var doc builtDoc
	err := readSealed(filepath.Join(dir, indexFolder, builtName), formatIndex, &doc)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return "missing", 0
	case err != nil:
		return "damaged", 0
	}
	for _, f := range doc.Files {
		bytes += f.Bytes
	}
	if doc.Dataset != digest {
		return "outdated", bytes
	}
	return "current", bytes
}
