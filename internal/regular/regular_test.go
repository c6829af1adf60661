package regular_test

import (
	"errors"
	"io/fs"
	"math"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"facepipe/internal/regular"
)

// strange makes one of everything that may lie where a file is expected.
func strange(t *testing.T) map[string]string {
	t.Helper()
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	listener, err := net.Listen("unix", at("socket"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	if err := errors.Join(
		unix.Mkfifo(at("pipe"), 0o600),
		os.Mkdir(at("folder"), 0o700),
		os.Symlink("/dev/zero", at("zeros")),
		os.Symlink(at("pipe"), at("link to a pipe")),
		os.Symlink(at("nowhere"), at("broken link")),
	); err != nil {
		t.Fatal(err)
	}
	return map[string]string{
		at("pipe"): "a named pipe", at("link to a pipe"): "a named pipe", at("folder"): "a folder",
		at("socket"): "a socket", at("zeros"): "a device", "/dev/null": "a device",
		at("broken link"): "no such file", at("not there"): "no such file",
	}
}

func TestWhatIsNoFileIsRefused(t *testing.T) {
	for path, reason := range strange(t) {
		for name, open := range map[string]func() error{
			"Open":      func() error { _, err := regular.Open(path); return err },
			"Read":      func() error { _, err := regular.Read(path, 1<<20); return err },
			"OpenOwn":   func() error { _, err := regular.OpenOwn(path); return err },
			"ReadOwn":   func() error { _, err := regular.ReadOwn(path, 1<<20); return err },
			"OpenInput": func() error { _, _, err := regular.OpenInput(path); return err },
			"Stat":      func() error { _, err := regular.Stat(path); return err },
		} {
			err := open()
			link, _ := os.Readlink(path)
			if own := strings.HasSuffix(name, "Own"); own && link != "" && err != nil {
				if !strings.Contains(err.Error(), "symbolic link") {
					t.Errorf("%s of a link to %s: %v", name, link, err)
				}
				continue
			}
			if err == nil || !strings.Contains(err.Error(), reason) {
				t.Errorf("%s of %s: %v, want %q", name, filepath.Base(path), err, reason)
			}
			if names := name != "OpenInput" && name != "Stat"; err != nil && names != strings.Contains(err.Error(), path) {
				t.Errorf("%s of %s: %v", name, filepath.Base(path), err)
			}
		}
	}
}

func TestLimits(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "five")
	if err := os.WriteFile(path, []byte("12345"), 0o600); err != nil {
		t.Fatal(err)
	}
	sparse := filepath.Join(dir, "sparse")
	if err := errors.Join(os.WriteFile(sparse, nil, 0o600), os.Truncate(sparse, 1<<40)); err != nil {
		t.Fatal(err)
	}
	for _, read := range []func(string, int64) ([]byte, error){regular.Read, regular.ReadOwn} {
		if data, err := read(path, 5); string(data) != "12345" || err != nil {
			t.Errorf("%q, %v", data, err)
		}
		if _, err := read(path, 4); !errors.Is(err, regular.ErrTooLarge) || !strings.Contains(err.Error(), "5 bytes") {
			t.Errorf("a byte too many: %v", err)
		}
		if _, err := read(sparse, 1<<20); !errors.Is(err, regular.ErrTooLarge) {
			t.Errorf("a terabyte: %v", err)
		}
		// The size that it states is 0.
		if data, err := read("/proc/self/status", 1<<16); !strings.Contains(string(data), "VmRSS") || err != nil {
			t.Errorf("%q, %v", data, err)
		}
		if _, err := read("/proc/self/status", 10); !errors.Is(err, regular.ErrTooLarge) {
			t.Errorf("a file that grows: %v", err)
		}
	}
}

func TestLinksOfUsersAreFollowed(t *testing.T) {
	dir := t.TempDir()
	path, link := filepath.Join(dir, "file"), filepath.Join(dir, "link")
	if err := errors.Join(os.WriteFile(path, []byte("x"), 0o600), os.Symlink(path, link)); err != nil {
		t.Fatal(err)
	}
	if data, err := regular.Read(link, 1); string(data) != "x" || err != nil {
		t.Errorf("%q, %v", data, err)
	}
	if _, err := regular.ReadOwn(link, 1); err == nil || !strings.Contains(err.Error(), "symbolic link") {
		t.Errorf("in a folder of the program's own: %v", err)
	}
	if _, err := regular.Open(filepath.Join(dir, "not")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("not there: %v", err)
	}
}

func TestStandInsAreNamed(t *testing.T) {
	path := filepath.Join(t.TempDir(), "model.onnx")
	if err := os.WriteFile(path, []byte("version https://git-lfs.github.com/spec/v1\noid sha256:0\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, _, err := regular.OpenInput(path); err == nil || !strings.Contains(err.Error(), "Git LFS") {
		t.Error(err)
	}
}

// To write, too, links and what is no file are refused, and nothing is made behind one.
func TestFilesToWrite(t *testing.T) {
	for path := range strange(t) {
		if filepath.Dir(path) == "/dev" || filepath.Base(path) == "not there" {
			continue
		}
		for _, flags := range []int{os.O_WRONLY | os.O_APPEND, os.O_RDWR | os.O_CREATE, os.O_WRONLY | os.O_CREATE} {
			if _, err := regular.OpenOwnFile(path, flags, 0o600); !errors.Is(err, regular.ErrIrregular) || !strings.Contains(err.Error(), path) {
				t.Errorf("%s with flags %x: %v", filepath.Base(path), flags, err)
			}
		}
		if err := regular.WriteNew(path, nil, 0o600); !errors.Is(err, fs.ErrExist) {
			t.Errorf("%s written anew: %v", filepath.Base(path), err)
		}
		if link, err := os.Readlink(path); err == nil && filepath.Base(link) == "nowhere" {
			if _, err := os.Lstat(link); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("%s was made: %v", link, err)
			}
		}
	}
	path := filepath.Join(t.TempDir(), "new")
	if err := regular.WriteNew(path, []byte("abc"), 0o600); err != nil {
		t.Error(err)
	}
	if data, err := regular.ReadOwn(path, 3); string(data) != "abc" || err != nil {
		t.Errorf("%q, %v", data, err)
	}
	for n, want := range map[int]string{0: "", 2: "ab", 9: "abc"} {
		if head, err := regular.Head(path, n); string(head) != want || err != nil {
			t.Errorf("head of %d: %q, %v", n, head, err)
		}
	}
}

func TestStreamsHaveLimits(t *testing.T) {
	path := filepath.Join(t.TempDir(), "five")
	if err := os.WriteFile(path, []byte("12345"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, open := range []func(string, int64) (*os.File, error){regular.OpenUpTo, regular.OpenOwnUpTo} {
		if f, err := open(path, 5); err != nil || f.Close() != nil {
			t.Error(err)
		}
		if _, err := open(path, 4); !errors.Is(err, regular.ErrTooLarge) || !strings.Contains(err.Error(), path) {
			t.Errorf("a byte too many: %v", err)
		}
	}
}

// What the machine has no memory for is not begun to be read, whatever the limit.
func TestMemoryIsALimit(t *testing.T) {
	path := filepath.Join(t.TempDir(), "sparse")
	if err := errors.Join(os.WriteFile(path, nil, 0o600), os.Truncate(path, 1<<43)); err != nil {
		t.Skip(err) // a file system that has no files of that size
	}
	if _, err := regular.Read(path, math.MaxInt64); !errors.Is(err, regular.ErrTooLarge) {
		t.Error(err)
	}
}
