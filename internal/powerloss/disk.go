package powerloss

import (
	"io/fs"
	"os"
	"path/filepath"
	"sync"

	"facepipe/internal/durable"
)

// Disk is a [durable.FS] that keeps a history. It is safe for concurrent use.
type Disk struct {
	durable.OS
	root string

	mu      sync.Mutex
	inodes  map[string]int // by path below root
	history History
}

// Watch begins the history of a folder. Its present contents count as durable.
func Watch(root string) (*Disk, error) {
	d := &Disk{root: root, inodes: map[string]int{".": 0}}
	d.history.start = newVolume()
	err := filepath.WalkDir(root, func(path string, e fs.DirEntry, err error) error {
		if err != nil || path == root {
			return err
		}
		return d.takeUp(path, e)
	})
	return d, err
}

// takeUp adds a file or folder that exists already.
func (d *Disk) takeUp(path string, e fs.DirEntry) error {
	info, err := e.Info()
	if err != nil {
		return err
	}
	v := d.history.start
	n := &inode{folder: e.IsDir(), perm: info.Mode().Perm(), durablePerm: info.Mode().Perm()}
	if !n.folder {
		if n.written, err = os.ReadFile(path); err != nil {
			return err
		}
		n.durable = n.written
	}
	id := v.add(n)
	d.inodes[d.rel(path)] = id
	v.inodes[d.inodes[d.rel(filepath.Dir(path))]].names[filepath.Base(path)] = id
	return nil
}

// History is what was done to the disk so far.
func (d *Disk) History() *History {
	d.mu.Lock()
	defer d.mu.Unlock()
	h := d.history
	h.calls = h.calls[:len(h.calls):len(h.calls)]
	return &h
}

func (d *Disk) rel(path string) string {
	r, err := filepath.Rel(d.root, path)
	if err != nil {
		return path
	}
	return r
}

// note appends a call that succeeded. path is its file or folder.
func (d *Disk) note(what, path string, c call) {
	c.what, c.path = what, d.rel(path)
	d.history.calls = append(d.history.calls, c)
}

// in is the inode of the folder that a name is in.
func (d *Disk) in(path string) int { return d.inodes[d.rel(filepath.Dir(path))] }

// born gives a new file or folder its inode, and its name.
func (d *Disk) born(path string) int {
	d.history.born++
	id := len(d.history.start.inodes) - 1 + d.history.born
	d.inodes[d.rel(path)] = id
	return id
}

// CreateTemp creates a new file.
func (d *Disk) CreateTemp(dir, pattern string) (durable.File, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	f, err := d.OS.CreateTemp(dir, pattern)
	if err != nil {
		return nil, err
	}
	id := d.born(f.Name())
	d.note("create", f.Name(), call{inode: id, make: true, perm: 0o600, folder: d.in(f.Name()), names: names{filepath.Base(f.Name()): id}})
	return &file{File: f, disk: d, inode: id}, nil
}

// Mkdir creates a folder.
func (d *Disk) Mkdir(name string, perm os.FileMode) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.OS.Mkdir(name, perm); err != nil {
		return err
	}
	id := d.born(name)
	d.note("mkdir", name, call{inode: id, make: true, makeFolder: true, perm: perm, folder: d.in(name), names: names{filepath.Base(name): id}})
	return nil
}

// Link gives a file a second name.
func (d *Disk) Link(a, b string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.OS.Link(a, b); err != nil {
		return err
	}
	id := d.inodes[d.rel(a)]
	d.inodes[d.rel(b)] = id
	d.note("link", b, call{folder: d.in(b), names: names{filepath.Base(b): id}})
	return nil
}

// Rename moves a file or folder within its folder.
func (d *Disk) Rename(a, b string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if filepath.Dir(a) != filepath.Dir(b) {
		return &os.LinkError{Op: "rename", Old: a, New: b, Err: os.ErrInvalid}
	}
	if err := d.OS.Rename(a, b); err != nil {
		return err
	}
	id := d.inodes[d.rel(a)]
	d.move(d.rel(a), d.rel(b))
	d.note("rename to", b, call{folder: d.in(b), names: names{filepath.Base(a): none, filepath.Base(b): id}})
	return nil
}

// move gives a path's inode, and those below it, their new paths.
func (d *Disk) move(a, b string) {
	moved := map[string]int{}
	for path, id := range d.inodes {
		if below, err := filepath.Rel(a, path); err == nil && filepath.IsLocal(below) {
			moved[filepath.Join(b, below)] = id
			delete(d.inodes, path)
		}
	}
	for path, id := range moved {
		d.inodes[path] = id
	}
}

// Remove deletes a file or an empty folder.
func (d *Disk) Remove(name string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.OS.Remove(name); err != nil {
		return err
	}
	d.note("remove", name, call{folder: d.in(name), names: names{filepath.Base(name): none}})
	delete(d.inodes, d.rel(name))
	return nil
}

// SyncDir makes the names in a folder durable.
func (d *Disk) SyncDir(dir string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.OS.SyncDir(dir); err != nil {
		return err
	}
	d.note("fsync folder", dir, call{sync: true, syncNames: true, inode: d.inodes[d.rel(dir)]})
	return nil
}

// Seal syncs a file that was written around this disk. It appears in the history in full.
func (d *Disk) Seal(name string, perm os.FileMode) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.OS.Seal(name, perm); err != nil {
		return err
	}
	data, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	id := d.born(name)
	d.note("appear", name, call{inode: id, make: true, data: data, perm: perm, folder: d.in(name), names: names{filepath.Base(name): id}})
	d.note("fsync", name, call{inode: id, sync: true})
	return nil
}

// file is a file that is being written.
type file struct {
	durable.File
	disk  *Disk
	inode int
}

func (f *file) Write(p []byte) (int, error) {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	n, err := f.File.Write(p)
	f.disk.note("write", f.Name(), call{inode: f.inode, data: append([]byte{}, p[:n]...)})
	return n, err
}

func (f *file) Chmod(perm os.FileMode) error {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	if err := f.File.Chmod(perm); err != nil {
		return err
	}
	f.disk.note("chmod", f.Name(), call{inode: f.inode, perm: perm})
	return nil
}

func (f *file) Sync() error {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	if err := f.File.Sync(); err != nil {
		return err
	}
	f.disk.note("fsync", f.Name(), call{inode: f.inode, sync: true})
	return nil
}
