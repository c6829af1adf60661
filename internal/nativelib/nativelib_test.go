package nativelib

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func touch(t *testing.T, path string) string {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestOrderOfLookUp(t *testing.T) {
	tree := t.TempDir()
	if err := os.WriteFile(filepath.Join(tree, "go.mod"), []byte("module facepipe\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	system := t.TempDir()
	explicit := touch(t, filepath.Join(t.TempDir(), "explicit.so"))
	env := touch(t, filepath.Join(t.TempDir(), "env.so"))
	t.Chdir(tree)
	t.Setenv("LD_LIBRARY_PATH", system)
	t.Setenv("PIPE_TEST_LIBRARY", "")
	s := Search{Name: "the library", Env: "PIPE_TEST_LIBRARY", Pinned: []string{"lib/v*/libpipe-test.so"},
		System: []string{"libpipe-test.so"}, Remedy: "run `make deps`"}

	if _, err := s.Path(); !errors.Is(err, ErrMissing) || !strings.Contains(err.Error(), "make deps") {
		t.Errorf("nothing there: %v", err)
	}
	for _, path := range []string{filepath.Join(system, "libpipe-test.so"), filepath.Join(tree, "lib", "v3", "libpipe-test.so")} {
		touch(t, path)
		if got, err := s.Path(); err != nil || got != path {
			t.Errorf("got %s (%v), want %s", got, err, path)
		}
	}
	t.Setenv("PIPE_TEST_LIBRARY", env)
	if got, err := s.Path(); err != nil || got != env {
		t.Errorf("environment: got %s (%v)", got, err)
	}
	s.Explicit = explicit
	if got, err := s.Path(); err != nil || got != explicit {
		t.Errorf("explicit: got %s (%v)", got, err)
	}
	s.Explicit = filepath.Join(tree, "gone.so")
	if _, err := s.Path(); !errors.Is(err, ErrMissing) || !strings.Contains(err.Error(), "gone.so") {
		t.Errorf("a named library that is missing must not be replaced: %v", err)
	}
}
