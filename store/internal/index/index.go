package index

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"

	"facepipe/internal/durable"
	"facepipe/store/internal/table"
)

// Names in a dataset's folder.
const (
	// Folder holds the index, and is replaced as a whole.
	Folder = "index"
	// TempPrefix begins the name of one that is being built, or on its way out.
	TempPrefix = "index.tmp-"
	// LockFile is held by whoever builds the index.
	LockFile = ".lock-index"
)

// builtName is in the index's folder.
const builtName = "BUILT.json"

// Index answers where a crop is. It is derived from the shards and can be made from
// them at any time. Safe for concurrent use until it is closed.
type Index interface {
	// ByID is where a crop is stored.
	ByID(table.ID) (table.Location, bool, error)
	// ByKey is the crop that a key leads to.
	ByKey(string) (table.Location, bool, error)
	// Close lets go of it.
	Close() error
}

// Entries receives what an index is made of.
type Entries interface {
	// Crop is called for every crop in the order of global rows.
	Crop(row int, id table.ID, key string) error
	// Alias is called for every duplicate, after the crop it is of. A key that leads
	// to that crop already may come again.
	Alias(key string, of table.ID) error
}

// Source is a dataset as an index sees it: what to index, and where the index lies.
type Source struct {
	// Dir is the dataset's folder, Digest what identifies the snapshot.
	Dir    string
	Digest string
	// Inputs is the number of keys.
	Inputs int
	// Disk is written to, and Log told of an index that is damaged.
	Disk durable.Disk
	Log  *slog.Logger
	// Each tells an index all it is made of.
	Each func(context.Context, Entries) error
	// Locate is where the crop of a global row is, File the path of the file that holds it.
	Locate func(row int) table.Location
	File   func(row int) string
	// Current is the digest that the dataset has by now.
	Current func() (string, error)
}

// Ensure builds the index on disk unless it is there.
func (s *Source) Ensure(ctx context.Context) error {
	ix, err := s.OpenOrBuild(ctx)
	if err != nil {
		return err
	}
	return ix.Close()
}

// OpenOrBuild is the index on disk if it is good, else that one built anew. Building, and
// waiting for another process that builds, end with ctx.
func (s *Source) OpenOrBuild(ctx context.Context) (Index, error) {
	ix, err := Open(s.Dir, s.Digest)
	if err == nil {
		return ix, nil
	}
	if !errors.Is(err, os.ErrNotExist) && !errors.Is(err, errStaleIndex) {
		s.Log.Warn("damaged index is rebuilt", "dataset", s.Dir, "cause", err)
	}
	if err := s.rebuild(ctx); err != nil {
		return nil, err
	}
	return Open(s.Dir, s.Digest)
}

// rebuild builds the index beside the old one and then takes its place. One
// process does; others wait and then find it done.
func (s *Source) rebuild(ctx context.Context) error {
	return s.locked(ctx, func() error {
		if ix, err := Open(s.Dir, s.Digest); err == nil {
			return ix.Close()
		}
		return s.replaceCurrent(ctx)
	})
}

// Renew replaces an index that is whole and says what is not so.
func (s *Source) Renew(ctx context.Context) error {
	return s.locked(ctx, func() error { return s.replaceCurrent(ctx) })
}

func (s *Source) locked(ctx context.Context, do func() error) error {
	lock, err := durable.WaitLock(ctx, filepath.Join(s.Dir, LockFile))
	if err != nil {
		return err
	}
	defer lock.Unlock()
	return do()
}

// replaceCurrent is Replace if the dataset is what it was: an older snapshot must not take the
// place of a newer one's index, or the two would keep rebuilding it.
func (s *Source) replaceCurrent(ctx context.Context) error {
	now, err := s.Current()
	if err != nil {
		return err
	}
	if now != s.Digest {
		return errors.New("the dataset has grown since it was opened")
	}
	return s.Replace(ctx)
}

// Replace builds the index and puts it in the place of whatever is there. The
// caller has the index lock.
func (s *Source) Replace(ctx context.Context) error {
	if err := removeIndexTemps(s.Disk, s.Dir); err != nil {
		return err
	}
	temp := filepath.Join(s.Dir, TempPrefix+"new")
	if err := s.Disk.FS.Mkdir(temp, table.FolderMode); err != nil {
		return err
	}
	if err := build(ctx, s, temp); err != nil {
		return errors.Join(err, table.RemoveAll(s.Disk, temp))
	}
	return replaceFolder(s.Disk, filepath.Join(s.Dir, Folder), temp)
}

// removeIndexTemps deletes what killed builders left. The caller has the index lock.
func removeIndexTemps(disk durable.Disk, dir string) error {
	entries, err := os.ReadDir(dir)
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), TempPrefix) {
			err = errors.Join(err, table.RemoveAll(disk, filepath.Join(dir, e.Name())))
		}
	}
	return err
}

// Tidy deletes what a builder left that was killed after its index was in place, an
// older index perhaps. While another builds, it leaves that to the next.
func (s *Source) Tidy() error {
	lock, err := durable.TryLock(filepath.Join(s.Dir, LockFile))
	if errors.Is(err, durable.ErrLocked) {
		return nil
	}
	if err != nil {
		return err
	}
	return errors.Join(removeIndexTemps(s.Disk, s.Dir), lock.Unlock())
}

// replaceFolder moves temp to target. Between the two renames there is no target;
// whoever comes then finds no index and waits for the lock.
func replaceFolder(disk durable.Disk, target, temp string) error {
	old := filepath.Join(filepath.Dir(target), TempPrefix+"old")
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
	_ = table.RemoveAll(disk, old)
	return nil
}

// State says what is known of a dataset's index without reading it: current, outdated,
// missing or damaged, and its size.
func State(dir, digest string) (state string, bytes int64) {
	var doc builtDoc
	err := table.ReadSealed(filepath.Join(dir, Folder, builtName), table.FormatIndex, &doc)
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
