package durable

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"facepipe/internal/regular"
)

// Replace is [WriteFile] into a folder that is a user's; see [Stage].
func Replace(path string, data []byte, perm os.FileMode) error {
	w, err := Stage(path)
	if err != nil {
		return err
	}
	if _, err = w.Write(data); err == nil {
		err = w.seal(perm)
	}
	if err != nil {
		return errors.Join(err, w.Abort())
	}
	return w.publish(w.disk.FS.Rename)
}

// Stage is [Create] in a folder that is a user's: there nobody removes what killed writers have
// left. So the temporary file is named after the file. It is locked until it is committed, and the
// next to write the file removes what a killed one left. Who comes while another is writing fails
// with [ErrLocked].
func Stage(path string) (*Writer, error) {
	f, err := stage(path)
	if noLocks(err) {
		return Create(path)
	}
	if err != nil {
		return nil, fmt.Errorf("write %s: %w", path, err)
	}
	w := &Writer{disk: system, path: path, file: f, hash: sha256.New()}
	// The lock lasts until both are closed, and the file is closed before it gets its name.
	fd, err := unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("write %s: %w", path, err), w.Abort())
	}
	w.lock = os.NewFile(uintptr(fd), f.Name())
	return w, nil
}

// stage makes the temporary file of path, locked.
func stage(path string) (*os.File, error) {
	const longest = 200 // bytes of the name that surely fit beside the prefix
	name := filepath.Base(path)
	temp := filepath.Join(filepath.Dir(path), TempPrefix+name[:min(len(name), longest)])
	for {
		f, err := regular.OpenOwnFile(temp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
		there := errors.Is(err, os.ErrExist)
		if there {
			f, err = regular.OpenOwn(temp)
		}
		if there && errors.Is(err, os.ErrNotExist) {
			continue // another has just finished
		}
		if err != nil {
			return nil, err
		}
		ours, err := claim(f)
		switch {
		case ours && !there:
			return f, nil
		case ours, noLocks(err) && !there:
			err = errors.Join(err, os.Remove(temp))
		case errors.Is(err, ErrLocked) && !there:
			err = nil // by who takes it for a killed writer's, and removes it
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
	err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		return false, ErrLocked
	}
	if err != nil {
		return false, fmt.Errorf("lock %s: %w", f.Name(), err)
	}
	return (&Lock{file: f}).guards(f.Name()), nil
}
