package store_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"facepipe/internal/durable"
	"facepipe/store"
	"facepipe/store/cache"
	"facepipe/store/internal/index"
	"facepipe/store/internal/table"
	"facepipe/store/storetest"
)

// faulty is a file system that runs out of space: its calls from number failAt on fail.
type faulty struct {
	durable.OS
	calls, failAt int
}

func (f *faulty) fault(op, name string) error {
	f.calls++
	if f.calls < f.failAt {
		return nil
	}
	return &fs.PathError{Op: op, Path: name, Err: syscall.ENOSPC}
}

func (f *faulty) CreateTemp(dir, pattern string) (durable.File, error) {
	if err := f.fault("create", dir); err != nil {
		return nil, err
	}
	file, err := f.OS.CreateTemp(dir, pattern)
	return &faultyFile{File: file, fs: f}, err
}

func (f *faulty) Rename(a, b string) error {
	if err := f.fault("rename", a); err != nil {
		return err
	}
	return f.OS.Rename(a, b)
}

func (f *faulty) Link(a, b string) error {
	if err := f.fault("link", a); err != nil {
		return err
	}
	return f.OS.Link(a, b)
}

func (f *faulty) Mkdir(a string, perm os.FileMode) error {
	if err := f.fault("mkdir", a); err != nil {
		return err
	}
	return f.OS.Mkdir(a, perm)
}

func (f *faulty) SyncDir(a string) error {
	if err := f.fault("fsync", a); err != nil {
		return err
	}
	return f.OS.SyncDir(a)
}

func (f *faulty) Seal(a string, perm os.FileMode) error {
	if err := f.fault("fsync", a); err != nil {
		return err
	}
	return f.OS.Seal(a, perm)
}

type faultyFile struct {
	durable.File
	fs     *faulty
	writes int
}

// Write counts as a call only now and then: Arrow writes every buffer by itself, and
// what follows a failed write is the same for all.
func (f *faultyFile) Write(p []byte) (int, error) {
	f.writes++
	if f.writes%16 != 1 && f.fs.calls < f.fs.failAt {
		return f.File.Write(p)
	}
	if err := f.fs.fault("write", f.Name()); err != nil {
		n, _ := f.File.Write(p[:len(p)/2])
		return n, err
	}
	return f.File.Write(p)
}

func (f *faultyFile) Sync() error {
	if err := f.fs.fault("fsync", f.Name()); err != nil {
		return err
	}
	return f.File.Sync()
}

// attemptCrops builds a small dataset on a disk.
func attemptCrops(dir string, disk durable.Disk) (err error) {
	w, err := store.OpenWriter(dir, storetest.Contract, store.WriterOptions{ShardRows: 16, Logger: storetest.Quiet, Disk: disk})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, w.Abort()) }()
	if err := appendAll(w, storetest.Source, 0, 30); err != nil {
		return err
	}
	return w.Close()
}

// attempt builds a small dataset with a teacher on a disk.
func attempt(dir string, disk durable.Disk) (err error) {
	if err := attemptCrops(dir, disk); err != nil {
		return err
	}
	d, err := store.Open(dir, store.WithLogger(storetest.Quiet), store.WithDisk(disk))
	if err != nil {
		return err
	}
	tw, err := cache.Create(d, storetest.Info(cache.FP16, true))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, tw.Close()) }()
	for _, shard := range tw.MissingShards() {
		if err := storetest.TryShard(d, tw, tw.Info(), shard, nil); err != nil {
			return err
		}
	}
	return nil
}

// attemptPlan plans the embedding of a small dataset beside it, does it in parts and puts
// them into the cache, on a disk.
func attemptPlan(dir string, disk durable.Disk) error {
	if err := attemptCrops(dir, durable.Disk{FS: durable.OS{}}); err != nil {
		return err
	}
	d, err := store.Open(dir, store.WithLogger(storetest.Quiet), store.WithDisk(disk))
	if err != nil {
		return err
	}
	return storetest.DoPlan(d, storetest.Info(cache.FP16, true), filepath.Join(filepath.Dir(dir), "job"))
}

// Whichever call the disk runs full in, the error says so and names a file, nothing
// half written stays under a final name, and the next run finishes the same dataset, or
// the same plan.
func TestDiskFullAtEveryCall(t *testing.T) {
	for name, try := range map[string]func(dir string, disk durable.Disk) error{"dataset": attempt, "plan": attemptPlan} {
		t.Run(name, func(t *testing.T) { fullAtEveryCall(t, try) })
	}
}

func fullAtEveryCall(t *testing.T, try func(dir string, disk durable.Disk) error) {
	want := storetest.MemoryDir(t)
	count := &faulty{failAt: 1 << 30}
	if err := try(filepath.Join(want, "d"), durable.Disk{FS: count}); err != nil {
		t.Fatal(err)
	}
	if count.calls < 30 {
		t.Fatalf("only %d calls", count.calls)
	}
	step := 1
	if testing.Short() {
		step = 7
	}
	for failAt := 1; failAt <= count.calls; failAt += step {
		root := storetest.MemoryDir(t)
		dir := filepath.Join(root, "d")
		err := try(dir, durable.Disk{FS: &faulty{failAt: failAt}})
		if !errors.Is(err, syscall.ENOSPC) || !strings.Contains(err.Error(), root) {
			t.Fatalf("call %d: %v", failAt, err)
		}
		for _, folder := range []string{"d", "d/" + store.CropsFolder, "d/" + store.TeachersFolder + "/*", "job", "job/parts"} {
			if temps, _ := filepath.Glob(filepath.Join(root, folder, durable.TempPrefix+"*")); len(temps) > 0 {
				t.Fatalf("call %d: left %v", failAt, temps)
			}
		}
		if err := try(dir, durable.Disk{FS: durable.OS{}}); err != nil {
			t.Fatalf("after call %d: %v", failAt, err)
		}
		storetest.SameContents(t, root, want)
	}
	storetest.CleanCheck(t, filepath.Join(want, "d"))
}

// The same on a real file system that is full.
func TestFullTmpfs(t *testing.T) {
	mount := t.TempDir()
	if err := unix.Mount("tmpfs", mount, "tmpfs", 0, "size=128k"); err != nil {
		t.Skipf("cannot mount a tmpfs: %v", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(mount, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	dir := filepath.Join(mount, "d")
	fill := func() error {
		w, err := store.OpenWriter(dir, storetest.Contract, store.WriterOptions{ShardRows: 32, Logger: storetest.Quiet})
		if err != nil {
			return err
		}
		if err := appendAll(w, storetest.Source, 0, 600); err != nil {
			return errors.Join(err, w.Abort())
		}
		return w.Close()
	}
	if err := fill(); !errors.Is(err, syscall.ENOSPC) || !strings.Contains(err.Error(), "no space left") {
		t.Fatalf("on a full disk: %v", err)
	}
	crops := filepath.Join(dir, store.CropsFolder)
	manifests, err := store.CountManifests(crops)
	if err != nil || manifests == 0 {
		t.Fatalf("%d shards were committed, %v", manifests, err)
	}
	for shard := range manifests {
		m, err := store.ReadCropManifest(crops, shard)
		if err != nil {
			t.Fatal(err)
		}
		if err := table.CheckSize(filepath.Join(crops, table.ArrowName(shard)), m.File.Bytes); err != nil {
			t.Error(err)
		}
	}
	// With more room for data, but none for an index, the dataset is made all the same.
	for _, size := range []string{"size=4m", "size=128m"} {
		if err := unix.Mount("tmpfs", mount, "tmpfs", unix.MS_REMOUNT, size); err != nil {
			t.Fatal(err)
		}
		if err := fill(); err != nil {
			t.Fatal(err)
		}
		d := storetest.Open(t, dir)
		if l, err := d.Lookup(storetest.Crop(0, 599).Key); err != nil || d.RowOf(l) != d.Rows()-1 {
			t.Errorf("%s: %+v, %v", size, l, err)
		}
		_, err := os.Stat(filepath.Join(dir, index.Folder))
		if built := err == nil; built != (size == "size=128m") {
			t.Errorf("%s: index built: %t", size, built)
		}
	}
	storetest.CleanCheck(t, dir)
}
