package nativelib

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
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
}

// What the user names is opened or nothing is, although a pinned one is there.
func TestNamedLibraryIsNeverReplaced(t *testing.T) {
	tree := t.TempDir()
	if err := os.WriteFile(filepath.Join(tree, "go.mod"), []byte("module facepipe\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	touch(t, filepath.Join(tree, "pinned.so"))
	t.Chdir(tree)
	gone := filepath.Join(tree, "gone.so")
	for name, c := range map[string]struct{ explicit, env, say string }{
		"flag":                 {gone, "", "the path given"},
		"environment":          {"", gone, "PIPE_TEST_LIBRARY"},
		"a folder":             {tree, "", tree},
		"flag before variable": {gone, filepath.Join(tree, "pinned.so"), gone},
	} {
		t.Setenv("PIPE_TEST_LIBRARY", c.env)
		s := Search{Name: "x", Explicit: c.explicit, Env: "PIPE_TEST_LIBRARY", Pinned: []string{"pinned.so"}, Remedy: "mend it"}
		path, err := s.Path()
		if !errors.Is(err, ErrMissing) || !strings.Contains(err.Error(), c.say) || !strings.Contains(err.Error(), "mend it") {
			t.Errorf("%s: got %q, %v", name, path, err)
		}
	}
}

// A program finds its library from a folder below the source tree, too, but not in
// the tree of another module.
func TestSourceTree(t *testing.T) {
	tree := t.TempDir()
	library := touch(t, filepath.Join(tree, "third_party", "x.so"))
	below := filepath.Dir(touch(t, filepath.Join(tree, "a", "b", "file")))
	t.Chdir(below)
	s := Search{Pinned: []string{"third_party/x.so"}}
	for module, want := range map[string][]string{"module facepipe\n": {library}, "module other\n": nil} {
		if err := os.WriteFile(filepath.Join(tree, "go.mod"), []byte(module), 0o644); err != nil {
			t.Fatal(err)
		}
		if got := s.Candidates(); !slices.Equal(got, want) {
			t.Errorf("%q: got %v, want %v", module, got, want)
		}
	}
}

func TestConfiguredFolders(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"a.conf": "# of the first package\n/opt/first/lib\n\n  /opt/second/lib  \n",
		"b.conf": "include other/*.conf\n/opt/third/lib",
		"c.txt":  "/opt/no/lib\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got := configuredFolders(filepath.Join(dir, "*.conf"))
	if want := []string{"/opt/first/lib", "/opt/second/lib", "/opt/third/lib"}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}
