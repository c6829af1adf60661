package source

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"facepipe/internal/imgcodec"
)

// picture is a file that begins, and ends, like an image.
var picture = imgcodec.EncodePNG(imgcodec.NewImage(1, 1))

// tree creates files below a new directory; a nil content makes a directory.
func tree(t *testing.T, files map[string][]byte) string {
	t.Helper()
	root := filepath.Join(t.TempDir(), "root")
	if err := os.Mkdir(root, 0o755); err != nil {
		t.Fatal(err)
	}
	for name, content := range files {
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if content == nil {
			if err := os.MkdirAll(path, 0o755); err != nil {
				t.Fatal(err)
			}
		} else if err := os.WriteFile(path, content, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

func link(t *testing.T, target, name string) {
	t.Helper()
	if err := os.Symlink(target, name); err != nil {
		t.Fatal(err)
	}
}

// list walks a folder and writes one line an item: key, identity, and why it could
// not be read.
func list(t *testing.T, root string) []string {
	t.Helper()
	src, err := Spec{Kind: "folder", Path: root}.Open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer src.Close()
	var out []string
	err = src.Walk(t.Context(), func(item Item) error {
		line := item.Key + " | " + item.Identity
		if _, err := item.Read(nil); err != nil {
			line += " | " + err.Error()
		}
		out = append(out, line)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func wantList(t *testing.T, got []string, want ...string) {
	t.Helper()
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got\n  %s\nwant\n  %s", strings.Join(got, "\n  "), strings.Join(want, "\n  "))
	}
}

func TestFolderOrderKeysAndIdentities(t *testing.T) {
	root := tree(t, map[string][]byte{
		"Bob/2.jpg": picture, "Bob/10.jpg": picture, "Ann/1.png": picture,
		"Zed/deep/er/x.png": picture, "Zed/a.png": picture,
		"flat.png": picture, "a b/ü.png": picture,
		"empty": nil, "notes.txt": []byte("hello"),
		".hidden/1.png": picture, "Bob/.DS_Store": []byte("x"),
	})
	wantList(t, list(t, root),
		"Ann/1.png | Ann",
		"Bob/10.jpg | Bob",
		"Bob/2.jpg | Bob",
		"Zed/a.png | Zed",
		"Zed/deep/er/x.png | Zed/deep/er",
		"a b/ü.png | a b",
		"flat.png | ",
		"notes.txt | ",
	)
}

// A dataset that lies in the folder holds no photographs, whatever its state; what only looks like
// one does.
func TestFolderPassesOverDatasets(t *testing.T) {
	doc := []byte("{\n  \"format\": \"facepipe dataset\",\n  \"version\": 99\n}\n")
	root := tree(t, map[string][]byte{
		"Ann/1.png":            picture,
		"faces.ds/crops/0.png": picture, "faces.ds/dataset.json": doc, "faces.ds/rejects.jsonl": []byte("x"),
		"sets/begun/crops/0.png": picture, "sets/begun/.lock": {},
		"Bob/crops/1.png": picture, "Cid/dataset.json": []byte("{}"), "Cid/1.png": picture,
	})
	wantList(t, list(t, root), "Ann/1.png | Ann", "Bob/crops/1.png | Bob/crops", "Cid/1.png | Cid", "Cid/dataset.json | Cid")
	src, err := Spec{Kind: "folder", Path: root}.Open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for range 2 { // each walk tells of itself
		if err := src.Walk(t.Context(), func(Item) error { return nil }); err != nil {
			t.Fatal(err)
		}
	}
	wantList(t, src.(Noticer).Notices(), "passed over 2 folders in it that are datasets: faces.ds, sets/begun")
	_, err = Spec{Kind: "folder", Path: filepath.Join(root, "faces.ds")}.Open(t.Context())
	if err == nil || !strings.Contains(err.Error(), "is a dataset") {
		t.Errorf("a dataset as a source: %v", err)
	}
}

func TestFolderReadsTheFile(t *testing.T) {
	root := tree(t, map[string][]byte{"a.png": picture})
	src, err := Spec{Kind: "folder", Path: root}.Open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	err = src.Walk(t.Context(), func(item Item) error {
		data, err := item.Read(nil)
		if string(data) != string(picture) {
			t.Errorf("read %d bytes, want %d", len(data), len(picture))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestFolderSymbolicLinks(t *testing.T) {
	root := tree(t, map[string][]byte{"Ann/1.png": picture, "Bob/1.png": picture})
	outside := tree(t, map[string][]byte{"Eve/1.png": picture})
	link(t, root, filepath.Join(root, "Ann", "up"))
	link(t, filepath.Join(root, "Ann"), filepath.Join(root, "Bob", "ann"))
	link(t, "loop", filepath.Join(root, "loop"))
	link(t, "nowhere", filepath.Join(root, "dangling.png"))
	link(t, filepath.Join(outside, "Eve"), filepath.Join(root, "Eve"))
	link(t, filepath.Join(outside, "Eve", "1.png"), filepath.Join(root, "flat.png"))
	const cycle = "symbolic link to a directory that contains it"
	wantList(t, list(t, root),
		"Ann/1.png | Ann",
		"Ann/up/ |  | "+cycle,
		"Bob/1.png | Bob",
		"Bob/ann/1.png | Bob/ann",
		"Bob/ann/up/ |  | "+cycle,
		"Eve/1.png | Eve",
		"dangling.png |  | stat: no such file or directory",
		"flat.png | ",
		"loop |  | stat: too many levels of symbolic links",
	)
}

func TestFolderOfManyFiles(t *testing.T) {
	const files = 100_000
	root := t.TempDir()
	first := filepath.Join(root, "000000.jpg")
	if err := os.WriteFile(first, picture, 0o644); err != nil {
		t.Fatal(err)
	}
	for i := 1; i < files; i++ {
		// A file has no more links than some file systems allow.
		if i%10_000 == 0 {
			first = filepath.Join(root, fmt.Sprintf("%06d.jpg", i))
			if err := os.WriteFile(first, picture, 0o644); err != nil {
				t.Fatal(err)
			}
		} else if err := os.Link(first, filepath.Join(root, fmt.Sprintf("%06d.jpg", i))); err != nil {
			t.Fatal(err)
		}
	}
	s, err := ParseSpec("folder=" + root)
	if err != nil {
		t.Fatal(err)
	}
	src, err := s.Open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer src.Close()
	n := 0
	err = src.Walk(t.Context(), func(item Item) error {
		if want := fmt.Sprintf("%06d.jpg", n); item.Key != want {
			return fmt.Errorf("item %d has the key %q", n, item.Key)
		}
		n++
		return nil
	})
	if err != nil || n != files {
		t.Errorf("%d items, %v", n, err)
	}
}

func TestFolderSpecialFiles(t *testing.T) {
	root := tree(t, map[string][]byte{"a.png": picture})
	// A pipe without a writer would block whoever opens it.
	if err := unix.Mkfifo(filepath.Join(root, "pipe.jpg"), 0o644); err != nil {
		t.Skip(err)
	}
	wantList(t, list(t, root), "a.png | ", "pipe.jpg |  | not a regular file but a named pipe")
}

// withoutPrivileges runs f so that file permissions count even for root: on one OS
// thread, with the file system identity of nobody.
func withoutPrivileges(t *testing.T, f func()) {
	t.Helper()
	if os.Geteuid() != 0 {
		f()
		return
	}
	runtime.LockOSThread()
	const nobody = 65534
	if _, err := unix.SetfsuidRetUid(nobody); err != nil {
		t.Skip(err)
	}
	defer func() {
		if _, err := unix.SetfsuidRetUid(0); err == nil {
			runtime.UnlockOSThread() // otherwise the thread dies with the test
		}
	}()
	f()
}

func TestFolderUnreadableEntries(t *testing.T) {
	root := tree(t, map[string][]byte{"Ann/1.png": picture, "Bob/1.png": picture, "Cid/1.png": picture, "Cid/2.png": picture})
	closed, secret := filepath.Join(root, "Bob"), filepath.Join(root, "Cid", "1.png")
	for _, path := range []string{closed, secret} {
		if err := os.Chmod(path, 0); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() { _ = os.Chmod(closed, 0o755) })
	// The directories above must let nobody in.
	for dir := root; dir != "/" && dir != os.TempDir(); dir = filepath.Dir(dir) {
		if err := os.Chmod(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	withoutPrivileges(t, func() {
		if _, err := os.ReadDir(closed); !errors.Is(err, os.ErrPermission) {
			t.Skip("file permissions do not count here")
		}
		wantList(t, list(t, root),
			"Ann/1.png | Ann",
			"Bob/ |  | list directory: open: permission denied",
			"Cid/1.png | Cid | open: permission denied",
			"Cid/2.png | Cid",
		)
	})
}

func TestFolderOddNames(t *testing.T) {
	root := tree(t, map[string][]byte{"ok.png": picture})
	odd := filepath.Join(root, "J\xfcrgen")
	if err := os.Mkdir(odd, 0o755); err != nil {
		t.Skipf("this file system wants UTF-8: %v", err)
	}
	for _, name := range []string{"\xff.png", `\xff.png`, "tab\tnew\nline.png"} {
		if err := os.WriteFile(filepath.Join(odd, name), picture, 0o644); err != nil {
			t.Skip(err)
		}
	}
	src, err := Spec{Kind: "folder", Path: root}.Open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := src.Walk(t.Context(), func(item Item) error { _, err := src.(Filer).Stat(item.Key); return err }); err != nil {
		t.Error(err)
	}
	wantList(t, list(t, root),
		`J\xfcrgen/\\xff.png | J\xfcrgen`,
		"J\\xfcrgen/tab\tnew\nline.png | J\\xfcrgen",
		`J\xfcrgen/\xff.png | J\xfcrgen`,
		"ok.png | ",
	)
}

func TestOpenFolderRefusals(t *testing.T) {
	file := filepath.Join(tree(t, map[string][]byte{"a.png": picture}), "a.png")
	tests := []struct{ name, path, want string }{
		{"missing", filepath.Join(t.TempDir(), "none"), "no such file or directory"},
		{"a file", file, "not a directory"},
		{"empty", tree(t, nil), "no image in it (0 files"},
		{"no image", tree(t, map[string][]byte{"a/readme.txt": []byte("x"), "b.jpg": {}}), "no image in it (2 files"},
		{"only hidden images", tree(t, map[string][]byte{".trash/a.png": picture}), "no image in it"},
	}
	for _, tt := range tests {
		_, err := Spec{Kind: "folder", Path: tt.path}.Open(t.Context())
		if err == nil || !strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), tt.path) {
			t.Errorf("%s: error %v, want one that names the path and says %q", tt.name, err, tt.want)
		}
	}
}

func TestWalkStops(t *testing.T) {
	files := map[string][]byte{}
	for i := range 20 {
		files[fmt.Sprintf("%02d/a.png", i)] = picture
	}
	src, err := Spec{Kind: "folder", Path: tree(t, files)}.Open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	enough := errors.New("enough")
	seen := 0
	err = src.Walk(t.Context(), func(Item) error {
		if seen++; seen == 3 {
			return enough
		}
		return nil
	})
	if !errors.Is(err, enough) || seen != 3 {
		t.Errorf("after the visitor's error: %v, %d items", err, seen)
	}
	ctx, cancel := context.WithCancel(t.Context())
	seen = 0
	err = src.Walk(ctx, func(Item) error { seen++; cancel(); return nil })
	if !errors.Is(err, context.Canceled) || seen != 1 {
		t.Errorf("after cancelling: %v, %d items", err, seen)
	}
}

func TestReadFileLimits(t *testing.T) {
	path := filepath.Join(t.TempDir(), "huge")
	file, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(file.Truncate(imgcodec.MaxBytes+1), file.Close()); err != nil {
		if errors.Is(err, syscall.EFBIG) {
			t.Skip(err)
		}
		t.Fatal(err)
	}
	if _, err := imgcodec.ReadFile(path, nil); err == nil || !strings.Contains(err.Error(), "more than the limit") {
		t.Errorf("error = %v", err)
	}
}

func TestParseSpec(t *testing.T) {
	got, err := ParseSpec("folder=a/b/=c/")
	if want := (Spec{Kind: "folder", Path: "a/b/=c"}); err != nil || got != want {
		t.Errorf("got %+v, %v; want %+v", got, err, want)
	}
	for _, bad := range []string{"", "folder", "folder=", "photos=/x", "=/x"} {
		if _, err := ParseSpec(bad); err == nil || !strings.Contains(err.Error(), "folder") {
			t.Errorf("ParseSpec(%q) = %v, want an error that lists the known kinds", bad, err)
		}
	}
}

func FuzzEscapeName(f *testing.F) {
	f.Add("plain.jpg", "plain.jpg")
	f.Add("\xff", `\xff`)
	f.Add(`\\xff`, "\\\xff")
	f.Fuzz(func(t *testing.T, a, b string) {
		ea, eb := escapeName(a), escapeName(b)
		if strings.ToValidUTF8(ea, "") != ea {
			t.Fatalf("%q became %q, which is not UTF-8", a, ea)
		}
		if unescapeName(ea) != a {
			t.Fatalf("%q became %q, and that %q", a, ea, unescapeName(ea))
		}
		if (ea == eb) != (a == b) {
			t.Fatalf("%q and %q became %q and %q", a, b, ea, eb)
		}
	})
}
