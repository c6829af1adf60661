package cache

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"facepipe/internal/durable"
	"facepipe/store"
	"facepipe/store/internal/table"
)

// Dropped is what [Drop] removed.
type Dropped struct {
	Dataset string `json:"dataset"`
	Teacher string `json:"teacher"`
	// ModelFile and Fingerprint are of the cache, "" where they could not be read.
	ModelFile   string `json:"model_file,omitempty"`
	Fingerprint string `json:"fingerprint,omitempty"`
	// Files of that many Bytes in all.
	Files int   `json:"files"`
	Bytes int64 `json:"bytes"`
	// DryRun says that nothing was removed.
	DryRun bool `json:"dry_run"`
}

// droppedPrefix begins the name of a cache's folder once it is no cache any more.
const droppedPrefix = durable.TempPrefix + "drop-"

// Drop removes a teacher cache, damaged or not, from the dataset in dir, or only
// says what it would remove. It refuses while a run writes the cache: [store.ErrLocked].
// Whoever reads the cache keeps the shards that are open. [store.ErrNotFound] if there is none.
//
// The cache loses its name by one rename and is then deleted, so that an interruption
// leaves all of it, or none of it and a folder that the next call removes.
func Drop(dir, name string, dryRun bool) (Dropped, error) {
	r, err := drop(durable.Disk{FS: durable.OS{}}, dir, name, dryRun)
	if err != nil {
		return r, fmt.Errorf("drop teacher %s of %s: %w", name, dir, err)
	}
	return r, nil
}

func drop(disk durable.Disk, dir, name string, dryRun bool) (report Dropped, err error) {
	report = Dropped{Dataset: dir, Teacher: name, DryRun: dryRun}
	if err := store.Probe(dir); err != nil {
		return report, err
	}
	teachers := filepath.Join(dir, store.TeachersFolder)
	folder, condemned := filepath.Join(teachers, name), filepath.Join(teachers, droppedPrefix+name)
	if !validName.MatchString(name) {
		return report, store.ErrNotFound
	}
	if err := durable.NoLinks(dir, filepath.Join(store.TeachersFolder, name)); err != nil {
		return report, err
	}
	if !table.IsFolder(folder) {
		return finishDrop(disk, condemned, report)
	}
	locks, err := lockAll(folder)
	if err != nil {
		return report, err
	}
	defer func() { err = errors.Join(err, unlockAll(locks)) }()
	if info, err := readInfo(folder, name); err == nil {
		report.ModelFile, report.Fingerprint = info.ModelFile, info.Fingerprint
	}
	if err := report.count(folder); err != nil || dryRun {
		return report, err
	}
	// What was dropped before under the name is in the way of the rename.
	if err := table.RemoveAll(disk, condemned); err != nil {
		return report, err
	}
	if err := disk.FS.Rename(folder, condemned); err != nil {
		return report, err
	}
	if err := disk.FS.SyncDir(teachers); err != nil {
		return report, err
	}
	// Nobody finds the cache now. NFS keeps a file that is open when it is deleted, and with
	// it the folder.
	if err := unlockAll(locks); err != nil {
		return report, err
	}
	locks = nil
	return report, removeDropped(disk, teachers)
}

// finishDrop is for a cache that is not there: an interrupted run may have got so far.
func finishDrop(disk durable.Disk, condemned string, report Dropped) (Dropped, error) {
	if !table.IsFolder(condemned) {
		return report, store.ErrNotFound
	}
	if err := report.count(condemned); err != nil || report.DryRun {
		return report, err
	}
	return report, table.RemoveAll(disk, condemned)
}

// removeDropped deletes what is left of caches that were dropped.
func removeDropped(disk durable.Disk, teachers string) error {
	entries, err := os.ReadDir(teachers)
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), droppedPrefix) {
			err = errors.Join(err, table.RemoveAll(disk, filepath.Join(teachers, e.Name())))
		}
	}
	return err
}

// count adds the files below folder up.
func (r *Dropped) count(folder string) error {
	c, err := CountFiles(folder)
	r.Files += c.Files
	r.Bytes += c.Bytes
	return err
}

// Removed counts files that were deleted.
type Removed struct {
	Files int   `json:"removed_files"`
	Bytes int64 `json:"removed_bytes"`
}

// CountFiles counts the files below a folder. It is for store/plan.
func CountFiles(folder string) (r Removed, err error) {
	err = filepath.WalkDir(folder, func(_ string, e fs.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() {
			return err
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		r.Files++
		r.Bytes += info.Size()
		return nil
	})
	return r, err
}

// subfolders are the folders in a cache's: of its records, and of all that is derived from it.
func subfolders(folder string) (paths []string, err error) {
	entries, err := os.ReadDir(folder)
	for _, e := range entries {
		if e.IsDir() {
			paths = append(paths, filepath.Join(folder, e.Name()))
		}
	}
	return paths, err
}

// lockAll takes all locks of a cache's folder, or fails with [store.ErrLocked]: its own, and
// those of the folders in it. That of the records has none.
func lockAll(folder string) (locks []*durable.Lock, err error) {
	inside, err := subfolders(folder)
	if err != nil {
		return nil, err
	}
	for _, dir := range append([]string{folder}, inside...) {
		if filepath.Base(dir) == runsFolder {
			continue
		}
		lock, err := durable.TryLock(filepath.Join(dir, table.LockFile))
		if err != nil {
			return nil, errors.Join(err, unlockAll(locks))
		}
		locks = append(locks, lock)
	}
	return locks, nil
}

func unlockAll(locks []*durable.Lock) error {
	var err error
	for _, l := range locks {
		err = errors.Join(err, l.Unlock())
	}
	return err
}
