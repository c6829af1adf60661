package durable

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

func TestReplace(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "a.onnx")
	// What a killed writer left, longer than what comes, and complete. It has another name, too, under
	// which it stays as it is.
	left, linked := filepath.Join(dir, TempPrefix+"a.onnx"), filepath.Join(t.TempDir(), "linked")
	if err := errors.Join(os.WriteFile(left, []byte(strings.Repeat("x", 99)), 0o444), os.Link(left, linked)); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, TempPrefix+"else"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{"first", "second"} {
		if err := Replace(path, []byte(text), 0o640); err != nil {
			t.Fatal(err)
		}
		if got := mustRead(t, path); got != text || mode(t, path) != 0o640 {
			t.Errorf("%q, %v, want %q", got, mode(t, path), text)
		}
	}
	if got := names(t, dir); got != TempPrefix+"else a.onnx" {
		t.Errorf("the folder has %s", got)
	}
	if got := mustRead(t, linked); len(got) != 99 || mode(t, linked) != 0o444 {
		t.Errorf("%q, %v under another name", got, mode(t, linked))
	}
	long := filepath.Join(dir, strings.Repeat("n", 255))
	if err := Replace(long, []byte("long"), 0o600); err != nil || mustRead(t, long) != "long" {
		t.Error(err)
	}
}

func TestReplaceFails(t *testing.T) {
	dir := t.TempDir()
	folder := filepath.Join(dir, "folder")
	if err := os.MkdirAll(filepath.Join(folder, "full"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := Replace(folder, nil, 0o600); err == nil || !strings.Contains(err.Error(), folder) {
		t.Errorf("a folder: %v", err)
	}
	if err := Replace(filepath.Join(dir, "none", "a"), nil, 0o600); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no folder: %v", err)
	}
	if got := names(t, dir); got != "folder" {
		t.Errorf("the folder has %s", got)
	}
	// Another's file is not written through a link, and a pipe is no file.
	other := filepath.Join(dir, "other")
	if err := os.WriteFile(other, []byte("other"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(other, filepath.Join(dir, TempPrefix+"a")); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mkfifo(filepath.Join(dir, TempPrefix+"b"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"a", "b"} {
		if err := Replace(filepath.Join(dir, name), []byte("x"), 0o600); err == nil || !strings.Contains(err.Error(), TempPrefix+name) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if got := mustRead(t, other); got != "other" {
		t.Errorf("it wrote %q", got)
	}
}

// A file that is written in pieces is one writer's, from the first to when it has its name.
func TestStage(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "a.npy")
	for _, end := range []func(*Writer) error{(*Writer).Abort, (*Writer).Commit} {
		w, err := Stage(path)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte("piece")); err != nil {
			t.Fatal(err)
		}
		if err := w.Seal(); err != nil { // which closes the file
			t.Fatal(err)
		}
		if _, err := Stage(path); !errors.Is(err, ErrLocked) || !strings.Contains(err.Error(), path) {
			t.Errorf("another writer: %v", err)
		}
		if err := end(w); err != nil {
			t.Fatal(err)
		}
		if got := names(t, dir); strings.Contains(got, TempPrefix) {
			t.Errorf("the folder has %s", got)
		}
	}
	if got := mustRead(t, path); got != "piece" || mode(t, path) != 0o444 {
		t.Errorf("%q, %v", got, mode(t, path))
	}
}

// Of many that replace a file at once each does, whole, or is told that another is at it.
func TestReplaceAtOnce(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "a")
	var writers sync.WaitGroup
	for i := range 8 {
		writers.Go(func() {
			text := strings.Repeat(string(rune('a'+i)), 1000)
			for range 20 {
				if err := Replace(path, []byte(text), 0o600); err != nil && !errors.Is(err, ErrLocked) {
					t.Error(err)
				}
			}
		})
	}
	writers.Wait()
	got := mustRead(t, path)
	if len(got) != 1000 || strings.Count(got, got[:1]) != 1000 || names(t, dir) != "a" {
		t.Errorf("%.20q…, %d bytes; the folder has %s", got, len(got), names(t, dir))
	}
}
