package durable

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"facepipe/internal/regular"
)

// What lies where a lock should is neither emptied nor written to, nor waited for.
func TestLockLeavesOthersAlone(t *testing.T) {
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	if err := errors.Join(
		os.WriteFile(at("data"), []byte("precious"), 0o600),
		os.WriteFile(at("long"), []byte("17@host\n"+strings.Repeat("x", 1000)), 0o600),
		os.WriteFile(at("zeros first"), append(make([]byte, 400), 'x'), 0o600),
		os.Symlink(at("data"), at("link")),
		os.Symlink(at("made"), at("dangling")),
		os.Symlink("/dev/zero", at("zeros")),
		unix.Mkfifo(at("pipe"), 0o600),
		os.Mkdir(at("folder"), 0o700),
	); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]error{
		"data": ErrForeignLock, "long": ErrForeignLock, "zeros first": ErrForeignLock, "link": regular.ErrIrregular, "dangling": regular.ErrIrregular,
		"zeros": regular.ErrIrregular, "pipe": regular.ErrIrregular, "folder": regular.ErrIrregular,
	} {
		if _, err := TryLock(at(name)); !errors.Is(err, want) || !strings.Contains(err.Error(), at(name)) {
			t.Errorf("%s: %v, want %v", name, err, want)
		}
		if _, err := WaitLock(t.Context(), at(name)); !errors.Is(err, want) {
			t.Errorf("%s, waited for: %v, want %v", name, err, want)
		}
	}
	if mustRead(t, at("data")) != "precious" || len(mustRead(t, at("long"))) != 1008 || len(mustRead(t, at("zeros first"))) != 401 {
		t.Error("a file was written to")
	}
	if _, err := os.Lstat(at("made")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the end of a dangling link: %v", err)
	}
}

// What a run that was killed has left in its lock is no foreign data.
func TestLockAfterOthers(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	for _, left := range []string{"", "17@host\n", "4294967295@a.b-c_d", "\x00\x00\x00\x00"} {
		if err := os.WriteFile(path, []byte(left), 0o600); err != nil {
			t.Fatal(err)
		}
		l, err := TryLock(path)
		if err != nil {
			t.Errorf("%q: %v", left, err)
			continue
		}
		if text := mustRead(t, path); strings.Count(text, "@") != 1 || strings.HasPrefix(text, "17@") {
			t.Errorf("%q: held, it says %q", left, text)
		}
		if err := l.Unlock(); err != nil || mustRead(t, path) != "" {
			t.Errorf("%q: unlocked: %q, %v", left, mustRead(t, path), err)
		}
	}
}

// A lock with a second name is taken, and not written to: it may be the name of anything.
func TestLockWithTwoNames(t *testing.T) {
	dir := t.TempDir()
	path, other := filepath.Join(dir, "lock"), filepath.Join(dir, "other")
	for _, text := range []string{"", "17@host\n"} {
		if err := errors.Join(os.WriteFile(other, []byte(text), 0o600), os.Link(other, path)); err != nil {
			t.Fatal(err)
		}
		l, err := TryLock(path)
		if err != nil {
			t.Fatal(err)
		}
		held := mustRead(t, other)
		if _, err := TryLock(path); !errors.Is(err, ErrLocked) {
			t.Errorf("%q: a second: %v", text, err)
		}
		if err := l.Unlock(); err != nil || held != text || mustRead(t, other) != text {
			t.Errorf("%q became %q and %q: %v", text, held, mustRead(t, other), err)
		}
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
	}
}

func TestFoldersBehindLinks(t *testing.T) {
	dir, elsewhere := t.TempDir(), t.TempDir()
	named := filepath.Join(dir, "named")
	if err := errors.Join(
		os.MkdirAll(filepath.Join(dir, "data", "real"), 0o700),
		os.Symlink(filepath.Join(dir, "data"), named),
		os.Symlink(elsewhere, filepath.Join(dir, "data", "link")),
		os.Symlink(filepath.Join(elsewhere, "none"), filepath.Join(dir, "data", "real", "dangling")),
	); err != nil {
		t.Fatal(err)
	}
	for path, link := range map[string]string{
		"real": "", "real/new": "", "real/new/deep": "", "new": "", "link": "link", "link/below": "link", "real/dangling": "real/dangling",
	} {
		// The root itself may be a link: it is what a user names.
		err := MkdirBelow(named, path, 0o700)
		if link == "" && err != nil || link != "" && (!errors.Is(err, ErrLink) || !strings.Contains(err.Error(), filepath.Join(named, link)+":")) {
			t.Errorf("%s: %v", path, err)
		}
	}
	for _, path := range []string{"..", "real/../../x", "/tmp"} {
		if err := NoLinks(named, path); err == nil || !strings.Contains(err.Error(), "not below") {
			t.Errorf("%s: %v", path, err)
		}
	}
	if got := names(t, elsewhere); got != "" {
		t.Errorf("written elsewhere: %s", got)
	}
	if got := names(t, filepath.Join(dir, "data", "real", "new")); got != "deep" {
		t.Errorf("made %q", got)
	}
}
