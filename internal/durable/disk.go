package durable

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
)

// TempPrefix begins the name of every file that is not committed yet.
const TempPrefix = ".tmp-"

// ErrLink marks a folder of the program's own that is a symbolic link. Nothing is written or
// deleted through it.
var ErrLink = errors.New("folder is a symbolic link, through which nothing is written")

// Disk commits files through an [FS].
type Disk struct{ FS FS }

var system = Disk{FS: OS{}}

// WriteFile replaces the file at path by data, whole or not at all, and makes it
// durable. perm is set exactly (no umask).
func WriteFile(path string, data []byte, perm os.FileMode) error {
	return system.WriteFile(path, data, perm)
}

// WriteFrom is [WriteFile] of all that a reader has, of which it never holds much.
func WriteFrom(path string, data io.Reader, perm os.FileMode) error {
	return system.WriteFrom(path, data, perm)
}

// Create begins a file that will stand at path once [Writer.Commit] is called.
func Create(path string) (*Writer, error) { return system.Create(path) }

// SyncDir makes the names in a folder durable.
func SyncDir(dir string) error { return system.FS.SyncDir(dir) }

// MkdirAll creates a folder and its missing parents and makes their names durable.
func MkdirAll(dir string, perm os.FileMode) error { return system.MkdirAll(dir, perm) }

// MkdirBelow is [MkdirAll] of a path below root, a folder of the program's own: none of the
// folders below root may be a symbolic link, [ErrLink].
func MkdirBelow(root, path string, perm os.FileMode) error {
	return system.MkdirBelow(root, path, perm)
}

// RemoveTemps deletes the temporary files that killed writers left in dir (not in
// its sub-folders). The caller must know that no writer is at work there, by
// holding a [Lock]. A missing dir is no error.
func RemoveTemps(dir string) error { return system.RemoveTemps(dir) }

// WriteFile is the package's [WriteFile] on this disk.
func (d Disk) WriteFile(path string, data []byte, perm os.FileMode) error {
	return d.WriteFrom(path, bytes.NewReader(data), perm)
}

// WriteFrom is the package's [WriteFrom] on this disk.
func (d Disk) WriteFrom(path string, data io.Reader, perm os.FileMode) error {
	w, err := d.fill(path, data, perm)
	if err != nil {
		return err
	}
	return w.publish(d.FS.Rename)
}

// PutIfAbsent is [Disk.WriteFile] for a name that must be new. It fails with [os.ErrExist] if
// there is a file at path. Of processes that race for the name exactly one succeeds.
func (d Disk) PutIfAbsent(path string, data []byte, perm os.FileMode) error {
	w, err := d.fill(path, bytes.NewReader(data), perm)
	if err != nil {
		return err
	}
	return w.publish(d.linkAway)
}

// linkAway gives a file another name. Unlike rename, link refuses a name that is taken.
func (d Disk) linkAway(temp, path string) error {
	err := d.FS.Link(temp, path)
	// A network file system sends a link again if the answer is lost. Then it says that the
	// name is taken, by this very file.
	if err != nil && !(errors.Is(err, os.ErrExist) && SameFile(temp, path)) {
		return err
	}
	return d.FS.Remove(temp)
}

// SameFile says whether two paths lead to one file or folder that exists.
func SameFile(a, b string) bool {
	x, err := os.Stat(a)
	if err != nil {
		return false
	}
	y, err := os.Stat(b)
	return err == nil && os.SameFile(x, y)
}

// fill writes data to a temporary file beside path and syncs it.
func (d Disk) fill(path string, data io.Reader, perm os.FileMode) (*Writer, error) {
	w, err := d.Create(path)
	if err != nil {
		return nil, err
	}
	if _, err := io.Copy(w, data); err != nil {
		return nil, errors.Join(err, w.Abort())
	}
	if err := w.seal(perm); err != nil {
		return nil, errors.Join(err, w.Abort())
	}
	return w, nil
}

// MkdirAll is the package's [MkdirAll] on this disk.
func (d Disk) MkdirAll(dir string, perm os.FileMode) error {
	info, err := os.Stat(dir)
	if err == nil {
		if !info.IsDir() {
			return fmt.Errorf("create folder %s: a file of that name is in the way", dir)
		}
		return nil
	}
	if !errors.Is(err, os.ErrNotExist) {
		return err
	}
	parent := filepath.Dir(filepath.Clean(dir))
	if err := d.MkdirAll(parent, perm); err != nil {
		return err
	}
	if err := d.FS.Mkdir(dir, perm); err != nil && !errors.Is(err, os.ErrExist) {
		return err
	}
	return d.FS.SyncDir(parent)
}

// MkdirBelow is the package's [MkdirBelow] on this disk.
func (d Disk) MkdirBelow(root, path string, perm os.FileMode) error {
	if err := NoLinks(root, path); err != nil {
		return err
	}
	return d.MkdirAll(filepath.Join(root, path), perm)
}

// NoLinks is an error, which names it, if a folder of a relative path below root is a symbolic
// link. What would be written or deleted through it could lie anywhere. The root itself may be
// one: a user has named it. What is not there is no link.
func NoLinks(root, path string) error {
	if !filepath.IsLocal(path) {
		return fmt.Errorf("folder %s is not below %s", path, root)
	}
	for name := range strings.SplitSeq(filepath.Clean(path), string(filepath.Separator)) {
		root = filepath.Join(root, name)
		info, err := os.Lstat(root)
		if errors.Is(err, os.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		if info.Mode().Type() == os.ModeSymlink {
			return fmt.Errorf("%w: %s: put the folder itself in its place", ErrLink, root)
		}
	}
	return nil
}

// RemoveTemps is the package's [RemoveTemps] on this disk.
func (d Disk) RemoveTemps(dir string) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), TempPrefix) || e.IsDir() {
			continue
		}
		if err := d.FS.Remove(filepath.Join(dir, e.Name())); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	return nil
}
