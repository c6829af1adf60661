package durable

import (
	"errors"
	"io"
	"os"

	"golang.org/x/sys/unix"

	"facepipe/internal/regular"
)

// FS is what a commit asks of a file system. Errors name their file, like those of package os.
type FS interface {
	// CreateTemp creates a new file in dir, open for writing, its name made from
	// pattern as [os.CreateTemp] does.
	CreateTemp(dir, pattern string) (File, error)
	// Link gives oldname a second name; [os.ErrExist] if newname is taken.
	Link(oldname, newname string) error
	// Rename moves oldname to newname, replacing what is there.
	Rename(oldname, newname string) error
	// Remove deletes a file.
	Remove(name string) error
	// Mkdir creates one folder whose parent exists.
	Mkdir(name string, perm os.FileMode) error
	// SyncDir makes the names in dir durable.
	SyncDir(dir string) error
	// Seal sets the permission bits of a file that somebody else wrote, and makes it
	// durable.
	Seal(name string, perm os.FileMode) error
}

// File is a file that is being written.
type File interface {
	io.WriteCloser
	// Name is the file's path.
	Name() string
	// Chmod sets the permission bits.
	Chmod(perm os.FileMode) error
	// Sync makes contents and size durable.
	Sync() error
}

// OS is the [FS] of the operating system.
type OS struct{}

// CreateTemp is [os.CreateTemp].
func (OS) CreateTemp(dir, pattern string) (File, error) { return os.CreateTemp(dir, pattern) }

// Link is [os.Link].
func (OS) Link(oldname, newname string) error { return os.Link(oldname, newname) }

// Rename is [os.Rename].
func (OS) Rename(oldname, newname string) error { return os.Rename(oldname, newname) }

// Remove is [os.Remove].
func (OS) Remove(name string) error { return os.Remove(name) }

// Mkdir is [os.Mkdir].
func (OS) Mkdir(name string, perm os.FileMode) error { return os.Mkdir(name, perm) }

// SyncDir opens the folder and calls fsync on it.
func (OS) SyncDir(dir string) error {
	f, err := OpenFolder(dir)
	if err != nil {
		return err
	}
	err = f.Sync()
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	return err
}

// OpenFolder opens a folder to sync it, and does not wait at a pipe in its place.
func OpenFolder(dir string) (*os.File, error) {
	return os.OpenFile(dir, os.O_RDONLY|unix.O_DIRECTORY, 0)
}

// Seal opens the file, changes its mode and calls fsync on it.
func (OS) Seal(name string, perm os.FileMode) error {
	f, err := regular.OpenOwn(name)
	if err != nil {
		return err
	}
	return errors.Join(f.Chmod(perm), f.Sync(), f.Close())
}
