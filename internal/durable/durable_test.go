package durable

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

func mustRead(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// names are those of the files in dir.
func names(t *testing.T, dir string) string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, e := range entries {
		all = append(all, e.Name())
	}
	return strings.Join(all, " ")
}

func mode(t *testing.T, path string) os.FileMode {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	return info.Mode().Perm()
}

func TestWriteFile(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "a")
	for _, text := range []string{"first", "", "the third, longer"} {
		if err := WriteFile(path, []byte(text), 0o640); err != nil {
			t.Fatal(err)
		}
		if got := mustRead(t, path); got != text {
			t.Errorf("read %q, want %q", got, text)
		}
	}
	if mode(t, path) != 0o640 || names(t, dir) != "a" {
		t.Errorf("mode %o, files %s", mode(t, path), names(t, dir))
	}
	missing := filepath.Join(dir, "none", "a")
	if err := WriteFile(missing, nil, 0o644); !errors.Is(err, os.ErrNotExist) || !strings.Contains(err.Error(), missing) {
		t.Errorf("no folder: %v", err)
	}
}

// Of many that put one name, one does, and its bytes stay.
func TestPutIfAbsent(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "a")
	var won atomic.Int32
	var winner atomic.Value
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			text := strings.Repeat("x", g+1)
			switch err := system.PutIfAbsent(path, []byte(text), 0o444); {
			case err == nil:
				won.Add(1)
				winner.Store(text)
			case !errors.Is(err, os.ErrExist):
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if won.Load() != 1 || mustRead(t, path) != winner.Load() || names(t, dir) != "a" || mode(t, path) != 0o444 {
		t.Errorf("%d won, files %s", won.Load(), names(t, dir))
	}
}

// resent is a network file system whose answers get lost: a link that it has made is asked
// for again, and then the name is taken.
type resent struct{ OS }

func (r resent) Link(a, b string) error {
	if err := r.OS.Link(a, b); err != nil {
		return err
	}
	return r.OS.Link(a, b)
}

// A link that was made and is said to be refused counts as made; one that another made
// does not.
func TestResentLink(t *testing.T) {
	dir := t.TempDir()
	disk, path := Disk{FS: resent{}}, filepath.Join(dir, "a")
	if err := disk.PutIfAbsent(path, []byte("mine"), 0o444); err != nil {
		t.Errorf("its own: %v", err)
	}
	if err := disk.PutIfAbsent(path, []byte("mine"), 0o444); !errors.Is(err, os.ErrExist) {
		t.Errorf("another's: %v", err)
	}
	w, err := disk.Create(filepath.Join(dir, "b"))
	if err != nil {
		t.Fatal(err)
	}
	if err := w.CommitIfAbsent(filepath.Join(dir, "b")); err != nil {
		t.Errorf("its own, of a writer: %v", err)
	}
	if got := names(t, dir); got != "a b" || mustRead(t, path) != "mine" {
		t.Errorf("left %s", got)
	}
}

func TestWriter(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "a")
	w, err := Create(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, part := range []string{"one ", "two"} {
		if n, err := w.Write([]byte(part)); n != len(part) || err != nil {
			t.Fatal(n, err)
		}
	}
	if w.Size() != 7 || w.Sum() != sha256.Sum256([]byte("one two")) {
		t.Errorf("%d bytes, sum %x", w.Size(), w.Sum())
	}
	if got := names(t, dir); !strings.HasPrefix(got, TempPrefix) || filepath.Join(dir, got) != w.TempName() {
		t.Errorf("before commit: %s", got)
	}
	if err := w.Seal(); err != nil || mustRead(t, w.TempName()) != "one two" {
		t.Error(err)
	}
	if _, err := w.Write([]byte("three")); err == nil {
		t.Error("a sealed file takes bytes")
	}
	if err := w.Abort(); err != nil || names(t, dir) != "" {
		t.Errorf("after abort: %s, %v", names(t, dir), err)
	}
	if err := w.Commit(); err == nil || names(t, dir) != "" {
		t.Error("commit after abort")
	}

	if w, err = Create(path); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	if err := w.Commit(); err != nil || names(t, dir) != "a" || mode(t, path) != 0o444 {
		t.Errorf("after commit: %s, %v", names(t, dir), err)
	}
	if err := w.Abort(); err != nil || mustRead(t, path) != "x" {
		t.Errorf("abort after commit: %v", err)
	}
	if err := w.Commit(); err == nil {
		t.Error("committed twice")
	}
}

var errDisk = errors.New("disk gone")

// broken fails one operation.
type broken struct {
	OS
	op string
}

func (b broken) CreateTemp(dir, pattern string) (File, error) {
	if b.op == "create" {
		return nil, errDisk
	}
	f, err := b.OS.CreateTemp(dir, pattern)
	return brokenFile{f, b.op}, err
}

func (b broken) Rename(x, y string) error {
	if b.op == "rename" {
		return errDisk
	}
	return b.OS.Rename(x, y)
}

func (b broken) Link(x, y string) error {
	if b.op == "link" {
		return errDisk
	}
	return b.OS.Link(x, y)
}

func (b broken) SyncDir(x string) error {
	if b.op == "syncdir" {
		return errDisk
	}
	return b.OS.SyncDir(x)
}

type brokenFile struct {
	File
	op string
}

func (f brokenFile) Write(p []byte) (int, error) {
	if f.op == "write" {
		n, _ := f.File.Write(p[:1])
		return n, errDisk
	}
	return f.File.Write(p)
}

func (f brokenFile) Chmod(perm os.FileMode) error {
	if f.op == "chmod" {
		return errDisk
	}
	return f.File.Chmod(perm)
}

func (f brokenFile) Sync() error {
	if f.op == "sync" {
		return errDisk
	}
	return f.File.Sync()
}

func (f brokenFile) Close() error {
	err := f.File.Close()
	if f.op == "close" {
		return errDisk
	}
	return err
}

// Whatever fails, the error is passed on, no temporary file stays, and (up to the
// renaming) the old file does.
func TestFailures(t *testing.T) {
	for _, op := range []string{"create", "write", "chmod", "sync", "close", "rename", "link", "syncdir"} {
		disk := Disk{FS: broken{op: op}}
		for verb, write := range map[string]func(path string) error{
			"WriteFile":   func(path string) error { return disk.WriteFile(path, []byte("new"), 0o644) },
			"PutIfAbsent": func(path string) error { os.Remove(path); return disk.PutIfAbsent(path, []byte("new"), 0o644) },
			"Commit": func(path string) error {
				w, err := disk.Create(path)
				if err != nil {
					return err
				}
				w.Write([]byte("new"))
				return w.Commit()
			},
		} {
			if op == "link" && verb != "PutIfAbsent" || op == "rename" && verb == "PutIfAbsent" {
				continue
			}
			dir := t.TempDir()
			path := filepath.Join(dir, "a")
			if err := WriteFile(path, []byte("old"), 0o644); err != nil {
				t.Fatal(err)
			}
			err := write(path)
			if !errors.Is(err, errDisk) || !strings.Contains(err.Error(), path) {
				t.Errorf("%s of %s: %v", op, verb, err)
			}
			if got := names(t, dir); strings.Contains(got, TempPrefix) {
				t.Errorf("%s of %s: left %s", op, verb, got)
			}
			if verb != "PutIfAbsent" && op != "syncdir" && mustRead(t, path) != "old" {
				t.Errorf("%s of %s: the old file is gone", op, verb)
			}
		}
	}
}

func TestMkdirAll(t *testing.T) {
	dir := t.TempDir()
	deep := filepath.Join(dir, "a", "b", "c")
	for range 2 {
		if err := MkdirAll(deep, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if info, err := os.Stat(deep); err != nil || !info.IsDir() {
		t.Error(err)
	}
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	for _, bad := range []string{file, filepath.Join(file, "x")} {
		if err := MkdirAll(bad, 0o755); err == nil {
			t.Errorf("%s was made", bad)
		}
	}
	t.Chdir(dir)
	if err := MkdirAll("relative/folder", 0o755); err != nil {
		t.Error(err)
	}
}

func TestRemoveTemps(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{TempPrefix + "1", TempPrefix + "2", "keep", "x" + TempPrefix} {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(filepath.Join(dir, TempPrefix+"folder"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := RemoveTemps(dir); err != nil {
		t.Fatal(err)
	}
	if got := names(t, dir); got != ".tmp-folder keep x.tmp-" {
		t.Errorf("left %s", got)
	}
	if err := RemoveTemps(filepath.Join(dir, "none")); err != nil {
		t.Error(err)
	}
}

// lockEnv names a lock that a copy of the test binary takes and dies with.
const lockEnv = "DURABLE_TEST_LOCK"

func TestMain(m *testing.M) {
	if path := os.Getenv(lockEnv); path != "" {
		if _, err := TryLock(path); err != nil {
			os.Exit(1)
		}
		p, _ := os.FindProcess(os.Getpid())
		_ = p.Kill()
		select {}
	}
	os.Exit(m.Run())
}

func TestLock(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	a, err := TryLock(path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := TryLock(path); !errors.Is(err, ErrLocked) || !strings.Contains(err.Error(), path) {
		t.Errorf("second: %v", err)
	}
	got := make(chan error)
	go func() {
		b, err := WaitLock(t.Context(), path)
		got <- errors.Join(err, b.Unlock())
	}()
	for range 2 {
		if err := a.Unlock(); err != nil {
			t.Error(err)
		}
	}
	if err := <-got; err != nil {
		t.Error(err)
	}
	var none *Lock
	if err := none.Unlock(); err != nil {
		t.Error(err)
	}
}

// Who waits for a lock can be told to stop.
func TestWaitLockEnds(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	l, err := TryLock(path)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Unlock()
	ctx, cancel := context.WithCancel(t.Context())
	got := make(chan error)
	go func() {
		_, err := WaitLock(ctx, path)
		got <- err
	}()
	cancel()
	if err := <-got; !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), path) {
		t.Errorf("told to stop: %v", err)
	}
}

// Who is refused is told what to do, and by whom, as far as the file tells.
func TestLockTellsItsHolder(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	l, err := TryLock(path)
	if err != nil {
		t.Fatal(err)
	}
	host, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	holder := fmt.Sprintf("(process %d on %s); wait for it, or stop it", os.Getpid(), host)
	const unknown = "; wait for it, or find it with fuser"
	for text, want := range map[string]string{
		mustRead(t, path): holder, "": unknown, "17": unknown, "x@y": unknown, "17@\x1b[2J": unknown, strings.Repeat("9", 400) + "@y": unknown,
	} {
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		if _, err := TryLock(path); !errors.Is(err, ErrLocked) || !strings.HasPrefix(err.Error(), "lock "+path+": ") || !strings.HasSuffix(err.Error(), want) {
			t.Errorf("%q in the file: %v", text, err)
		}
	}
	if err := l.Unlock(); err != nil || mustRead(t, path) != "" {
		t.Errorf("unlocked, the file says %q (%v)", mustRead(t, path), err)
	}
}

// Who waited for a lock whose file is deleted meanwhile gets the one that others get.
func TestLockOfDeletedFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	first, err := TryLock(path)
	if err != nil {
		t.Fatal(err)
	}
	waited := make(chan *Lock)
	go func() {
		l, err := WaitLock(t.Context(), path)
		if err != nil {
			t.Error(err)
		}
		waited <- l
	}()
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if err := first.Unlock(); err != nil {
		t.Fatal(err)
	}
	second := <-waited
	if _, err := TryLock(path); !errors.Is(err, ErrLocked) {
		t.Errorf("a third: %v", err)
	}
	if err := second.Unlock(); err != nil {
		t.Fatal(err)
	}
	// Where the folder is gone, too, there is nothing to lock.
	if _, err := WaitLock(t.Context(), filepath.Join(t.TempDir(), "gone", "lock")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("in no folder: %v", err)
	}
}

// A lock dies with its holder.
func TestLockOfKilled(t *testing.T) {
	binary, err := os.Executable()
	if err != nil {
		t.Skip(err)
	}
	path := filepath.Join(t.TempDir(), "lock")
	cmd := exec.Command(binary)
	cmd.Env = append(os.Environ(), lockEnv+"="+path)
	if err := cmd.Run(); err == nil || cmd.ProcessState.ExitCode() != -1 {
		t.Fatalf("the holder was not killed: %v", err)
	}
	l, err := TryLock(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Unlock(); err != nil {
		t.Error(err)
	}
}
