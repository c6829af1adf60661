package durable

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// Replace is [WriteFile] into a folder that is a user's: there nobody removes what killed writers
// have left. So the temporary file is named after the file. It is locked while it is written, and
// the next to write the file takes over what a killed one left. Who comes while another is
// writing fails with [ErrLocked].
func Replace(path string, data []byte, perm os.FileMode) error {
	f, err := stage(path)
	if noLocks(err) {
		return WriteFile(path, data, perm)
	}
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	err = errors.Join(f.Truncate(0), f.Chmod(perm))
	if err == nil {
		_, err = f.Write(data)
	}
	if err == nil {
		err = f.Sync()
	}
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		err = errors.Join(err, os.Remove(f.Name()))
	} else {
		err = SyncDir(filepath.Dir(path))
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return nil
}

// stage opens the temporary file of path, which nobody else is writing.
func stage(path string) (*os.File, error) {
	const longest = 200 // bytes of the name that surely fit beside the prefix
	name := filepath.Base(path)
	temp := filepath.Join(filepath.Dir(path), TempPrefix+name[:min(len(name), longest)])
	for {
		f, err := os.OpenFile(temp, os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0o600)
		if err != nil {
			return nil, err
		}
		ours, err := claim(f)
		if ours && err == nil {
			return f, nil
		}
		if err = errors.Join(err, f.Close()); err != nil {
			return nil, err
		}
	}
}

// noLocks is whether a file system cannot lock files.
func noLocks(err error) bool {
	return errors.Is(err, unix.ENOLCK) || errors.Is(err, unix.ENOSYS) || errors.Is(err, unix.ENOTSUP)
}

// claim locks a temporary file that was opened. It is not ours where another process has given it
// its name, or removed it, meanwhile.
func claim(f *os.File) (ours bool, err error) {
	opened, err := f.Stat()
	if err == nil && !opened.Mode().IsRegular() {
		err = fmt.Errorf("%s is no regular file: remove it", f.Name())
	}
	if err != nil {
		return false, err
	}
	err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	switch {
	case errors.Is(err, unix.EWOULDBLOCK):
		return false, ErrLocked
	case noLocks(err):
		return false, errors.Join(err, os.Remove(f.Name()))
	case err != nil:
		return false, fmt.Errorf("lock %s: %w", f.Name(), err)
	}
	named, err := os.Lstat(f.Name())
	if errors.Is(err, os.ErrNotExist) {
		return false, nil
	}
	return err == nil && os.SameFile(opened, named), err
}
