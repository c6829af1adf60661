package derived

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"facepipe/internal/durable"
	"facepipe/store"
	"facepipe/store/cache"
	"facepipe/store/internal/table"
)

// folder is a folder in a cache's, with tables that are replaced as a whole: Arrow files whose
// names say what they are made of, and a manifest that refers to them. A file is committed
// before the manifest that names it, and deleted after the one that does not. The folder has
// a lock of its own: who embeds holds the cache's for hours.
type folder struct {
	dir  string
	disk durable.Disk
	// The folder's path, taken apart: the dataset's, and what is below it.
	dataset, below string
}

// folderIn is a table's folder in a cache's.
func folderIn(t *cache.Cache, name string) folder {
	d := t.Dataset()
	return folder{
		dir: filepath.Join(t.Folder(), name), disk: d.Disk(), dataset: d.Dir(), below: filepath.Join(store.TeachersFolder, t.Info().Name, name),
	}
}

// claim makes the folder if it is new, takes its lock in one of the ways of package durable,
// and deletes what killed writers left unfinished.
func (f folder) claim(take func(path string) (*durable.Lock, error)) (*durable.Lock, error) {
	if err := durable.NoLinks(f.dataset, f.below); err != nil {
		return nil, err
	}
	// Not its parents: the teacher may have been dropped.
	if err := f.disk.FS.Mkdir(f.dir, table.FolderMode); err != nil && !errors.Is(err, os.ErrExist) {
		return nil, err
	}
	// Also where it is there: who made it may have been killed before its name was durable.
	if err := f.disk.FS.SyncDir(filepath.Dir(f.dir)); err != nil {
		return nil, err
	}
	lock, err := take(f.path(table.LockFile))
	if err != nil {
		return nil, err
	}
	if err := f.disk.RemoveTemps(f.dir); err != nil {
		return nil, errors.Join(err, lock.Unlock())
	}
	return lock, nil
}

// twice reads a manifest, or opens what it refers to, while another process may be replacing
// both: what looks damaged may be of two states of the folder.
func twice[M any](read func() (M, error)) (M, error) {
	m, err := read()
	if errors.Is(err, store.ErrDamaged) {
		return read()
	}
	return m, err
}

func (f folder) path(name string) string { return filepath.Join(f.dir, name) }

// manifest is the path of what refers to the tables.
func (f folder) manifest() string { return f.path(filepath.Base(f.dir) + table.ManifestSuffix) }

// table is the path of a table that is made of what the digest, in hexadecimal, is of.
func (f folder) table(name, digest string) string {
	return f.path(name + "-" + digest[:table.TableDigits] + table.ArrowSuffix)
}

// commit writes the manifest, which refers to the tables at the paths, and deletes all
// others.
func (f folder) commit(doc any, tables ...string) error {
	data, err := table.EncodeSealed(doc)
	if err != nil {
		return err
	}
	if err := f.disk.WriteFile(f.manifest(), data, table.FileMode); err != nil {
		return err
	}
	return f.removeOthers(tables)
}

// removeOthers deletes all tables but those at the paths. The caller has the lock.
func (f folder) removeOthers(tables []string) error {
	others, err := f.others(tables)
	for _, path := range others {
		err = errors.Join(err, f.disk.FS.Remove(path))
	}
	return err
}

// partSuffix ends the name of a file that says which table of several is complete, while the
// others are made.
const partSuffix = ".part"

// part is the path of such a file for the table at a path.
func part(path string) string { return strings.TrimSuffix(path, table.ArrowSuffix) + partSuffix }

// others are the tables that are not at the paths, and what says which are complete.
func (f folder) others(tables []string) (paths []string, err error) {
	entries, err := os.ReadDir(f.dir)
	for _, e := range entries {
		path := f.path(e.Name())
		if (strings.HasSuffix(path, table.ArrowSuffix) || strings.HasSuffix(path, partSuffix)) && !slices.Contains(tables, path) {
			paths = append(paths, path)
		}
	}
	return paths, err
}

// orphans are the tables of a folder without a manifest, but for those that wait for others.
func (f folder) orphans() (paths []string, err error) {
	paths, err = f.others(nil)
	complete := slices.Clone(paths)
	paths = slices.DeleteFunc(paths, func(path string) bool {
		return strings.HasSuffix(path, partSuffix) || slices.Contains(complete, part(path))
	})
	if errors.Is(err, os.ErrNotExist) {
		err = nil
	}
	return paths, err
}

// noteOrphans mentions the tables of a folder without a manifest.
func (f folder) noteOrphans(a *table.Audit) error {
	orphans, err := f.orphans()
	for _, path := range orphans {
		a.Note("%s has no %s: a run was interrupted, or the manifest is lost; it is made anew when it is needed", path, filepath.Base(f.manifest()))
	}
	return err
}

// lost is damage where tables have lost their manifest by no interruption. It is for what cannot be
// made anew.
func (f folder) lost() error {
	orphans, err := f.orphans()
	if err != nil || len(orphans) == 0 || table.Interrupted(f.dir) {
		return err
	}
	return table.Damaged(f.manifest(), "missing, though %s is there", filepath.Base(orphans[0]))
}

// tidy deletes what a writer left that was killed when its manifest was in place: all
// tables but those that the manifest refers to, which tables reads. While another
// writes, it leaves that to the next.
func (f folder) tidy(tables func() ([]string, error)) error {
	named, err := tables()
	if err != nil {
		return err
	}
	if others, err := f.others(named); err != nil || len(others) == 0 {
		return err
	}
	lock, err := f.claim(durable.TryLock)
	if errors.Is(err, store.ErrLocked) {
		return nil
	}
	if err != nil {
		return err
	}
	// The manifest may have been replaced before the lock was ours.
	if named, err = tables(); err == nil {
		err = f.removeOthers(named)
	}
	return errors.Join(err, lock.Unlock())
}
