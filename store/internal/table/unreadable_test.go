package table

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestUnreadableIn(t *testing.T) {
	on := func(err error) error {
		return fmt.Errorf("open dataset: %w", errors.Join(&fs.PathError{Op: "read", Path: "d/f", Err: err}, errors.New("close")))
	}
	for _, err := range []error{unix.EIO, unix.EACCES, unix.EISDIR, unix.ELOOP, unix.ESTALE, os.ErrNotExist, ErrVersion} {
		if file, why, ok := UnreadableIn(on(err)); !ok || file != "d/f" || !errors.Is(why, err) || strings.Contains(why.Error(), "d/f") {
			t.Errorf("%v: %s, %v, %t", err, file, why, ok)
		}
	}
	for _, err := range []error{on(unix.EMFILE), on(unix.ENFILE), on(unix.ENOMEM), on(context.Canceled), errors.New("no file"), nil} {
		if file, why, ok := UnreadableIn(err); ok {
			t.Errorf("%v: %s, %v", err, file, why)
		}
	}
}

// A lock that was let go of is empty.
func TestInterrupted(t *testing.T) {
	dir := t.TempDir()
	if !Interrupted(dir) {
		t.Error("without a lock nobody can tell")
	}
	for text, want := range map[string]bool{"": false, "7@host\n": true} {
		if err := os.WriteFile(filepath.Join(dir, LockFile), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		if got := Interrupted(dir); got != want {
			t.Errorf("%q: %t", text, got)
		}
	}
}
