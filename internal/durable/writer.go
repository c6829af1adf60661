package durable

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"os"
	"path/filepath"
)

// Writer is a file that is being written. Bytes go to a temporary file and through SHA-256. It
// ends with exactly one of Commit and Abort. The first failure sticks, and Commit then returns
// it. A Writer is used by one goroutine.
type Writer struct {
	disk   Disk
	path   string
	file   File
	hash   hash.Hash
	size   int64
	err    error
	sealed bool // temporary file is complete, synced and closed
	done   bool
	lock   *os.File // keeps others off the temporary file of [Stage]; nil elsewhere
}

// committedPerm is the mode of a streamed file. It is written once and then only read, often
// through a mapping, which a change would make inconsistent.
const committedPerm os.FileMode = 0o444

// Create is the package's [Create] on this disk.
func (d Disk) Create(path string) (*Writer, error) {
	f, err := d.FS.CreateTemp(filepath.Dir(path), TempPrefix+"*")
	if err != nil {
		return nil, fmt.Errorf("create %s: %w", path, err)
	}
	return &Writer{disk: d, path: path, file: f, hash: sha256.New()}, nil
}

// Write appends p.
func (w *Writer) Write(p []byte) (int, error) {
	if w.err != nil {
		return 0, w.err
	}
	n, err := w.file.Write(p)
	w.hash.Write(p[:n])
	w.size += int64(n)
	if err != nil {
		w.err = fmt.Errorf("write %s: %w", w.path, err)
	}
	return n, w.err
}

// Size is the number of bytes written so far.
func (w *Writer) Size() int64 { return w.size }

// Sum is the SHA-256 of the bytes written so far.
func (w *Writer) Sum() [sha256.Size]byte { return [sha256.Size]byte(w.hash.Sum(nil)) }

// TempName is where the bytes are until Commit, for those who verify them first.
func (w *Writer) TempName() string { return w.file.Name() }

// Seal completes the temporary file: it is made read-only, synced and closed, and takes no
// more bytes. Commit does this by itself. Call it before to verify TempName first.
func (w *Writer) Seal() error { return w.seal(committedPerm) }

// Commit makes the file durable and gives it its name, replacing what is there. On
// failure the temporary file is removed and nothing has changed.
func (w *Writer) Commit() error {
	if err := w.seal(committedPerm); err != nil {
		return errors.Join(err, w.Abort())
	}
	return w.publish(w.disk.FS.Rename)
}

// CommitIfAbsent makes the file durable under another name in the same folder, which may
// follow from its contents. It is [os.ErrExist] if the name is taken. It links and does not
// rename, so that only one process of all that share the folder, on whatever machine, gets the
// name. On failure the temporary file is removed.
func (w *Writer) CommitIfAbsent(path string) error {
	if err := w.seal(committedPerm); err != nil {
		return errors.Join(err, w.Abort())
	}
	w.path = path
	return w.publish(w.disk.linkAway)
}

// Abort removes the temporary file. After Commit or Abort it does nothing.
func (w *Writer) Abort() error {
	if w.done {
		return nil
	}
	w.done = true
	defer w.lock.Close() // of none, too
	if !w.sealed {
		// The close error is of no interest: the bytes are thrown away.
		_ = w.file.Close()
	}
	if err := w.disk.FS.Remove(w.file.Name()); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("remove unfinished %s: %w", w.path, err)
	}
	return nil
}

func (w *Writer) seal(perm os.FileMode) error {
	if w.err != nil || w.sealed {
		return w.err
	}
	err := w.file.Chmod(perm)
	if err == nil {
		err = w.file.Sync()
	}
	if cerr := w.file.Close(); err == nil {
		err = cerr
	}
	w.sealed = true
	if err != nil {
		// A failed fsync may have dropped the dirty pages. Then nobody knows what is on disk,
		// and a second fsync would report success. Hence the error sticks.
		w.err = fmt.Errorf("write %s: %w", w.path, err)
	}
	return w.err
}

// publish gives the sealed temporary file its name by means of move.
func (w *Writer) publish(move func(temp, path string) error) error {
	if w.done {
		return fmt.Errorf("write %s: already committed or aborted", w.path)
	}
	if err := move(w.file.Name(), w.path); err != nil {
		return errors.Join(fmt.Errorf("write %s: %w", w.path, err), w.Abort())
	}
	w.done = true
	_ = w.lock.Close() // of none, too
	if err := w.disk.FS.SyncDir(filepath.Dir(w.path)); err != nil {
		return fmt.Errorf("write %s: %w", w.path, err)
	}
	return nil
}
