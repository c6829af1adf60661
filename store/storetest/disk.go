package storetest

import (
	"errors"
	"os"

	"facepipe/internal/durable"
	"facepipe/internal/powerloss"
)

// ErrKilled is of a call to a [Mortal] disk after the process was killed.
var ErrKilled = errors.New("killed")

// Mortal is a disk that a process cannot use any more after it had so many calls: as if the
// process had been killed, while the disk goes on.
type Mortal struct {
	*powerloss.Disk
	Calls int
}

func (m Mortal) err() error {
	if m.History().Len() >= m.Calls {
		return ErrKilled
	}
	return nil
}

func (m Mortal) do(call func() error) error {
	if err := m.err(); err != nil {
		return err
	}
	return call()
}

// CreateTemp is part of [durable.FS], as the rest is.
func (m Mortal) CreateTemp(dir, pattern string) (durable.File, error) {
	if err := m.err(); err != nil {
		return nil, err
	}
	f, err := m.Disk.CreateTemp(dir, pattern)
	return mortalFile{f, m}, err
}

// Link is part of [durable.FS].
func (m Mortal) Link(a, b string) error { return m.do(func() error { return m.Disk.Link(a, b) }) }

// Rename is part of [durable.FS].
func (m Mortal) Rename(a, b string) error { return m.do(func() error { return m.Disk.Rename(a, b) }) }

// Remove is part of [durable.FS].
func (m Mortal) Remove(name string) error { return m.do(func() error { return m.Disk.Remove(name) }) }

// SyncDir is part of [durable.FS].
func (m Mortal) SyncDir(dir string) error { return m.do(func() error { return m.Disk.SyncDir(dir) }) }

// Mkdir is part of [durable.FS].
func (m Mortal) Mkdir(name string, perm os.FileMode) error {
	return m.do(func() error { return m.Disk.Mkdir(name, perm) })
}

// Seal is part of [durable.FS].
func (m Mortal) Seal(name string, perm os.FileMode) error {
	return m.do(func() error { return m.Disk.Seal(name, perm) })
}

type mortalFile struct {
	durable.File
	m Mortal
}

func (f mortalFile) Write(p []byte) (n int, err error) {
	err = f.m.do(func() error { n, err = f.File.Write(p); return err })
	return n, err
}

func (f mortalFile) Chmod(perm os.FileMode) error {
	return f.m.do(func() error { return f.File.Chmod(perm) })
}

func (f mortalFile) Sync() error { return f.m.do(f.File.Sync) }
