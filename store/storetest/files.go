package storetest

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"facepipe/store/internal/index"
	"facepipe/store/internal/table"
)

// FlipBit inverts a bit of the byte at an offset, counted from the end if negative.
func FlipBit(t testing.TB, path string, offset int) {
	t.Helper()
	Rewrite(t, path, func(data []byte) []byte {
		if offset < 0 {
			offset += len(data)
		}
		data[offset] ^= 1 << (offset % 8)
		return data
	})
}

// Truncate cuts a file to half its length.
func Truncate(t testing.TB, path string) {
	t.Helper()
	Rewrite(t, path, func(data []byte) []byte { return data[:len(data)/2] })
}

// Rewrite puts a changed file in the place of one, which is read-only as a rule.
func Rewrite(t testing.TB, path string, change func([]byte) []byte) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err == nil {
		err = os.Remove(path)
	}
	if err == nil {
		err = os.WriteFile(path, change(data), 0o444)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// Reseal gives JSON text the seal that belongs to it, so that mutations get past it.
func Reseal(data []byte) []byte {
	if i := bytes.LastIndex(data, []byte(table.SealLead)); i >= 0 {
		data = data[:i+len(table.SealLead)]
	} else {
		data = append(bytes.TrimRight(data, "}\n "), table.SealLead...)
	}
	sum := sha256.Sum256(data)
	return append(hex.AppendEncode(bytes.Clone(data), sum[:]), table.SealTail...)
}

// EditSealed changes what a sealed file of a kind says, and seals it again.
func EditSealed[T any](t testing.TB, path, format string, change func(*T)) {
	t.Helper()
	var doc T
	if err := table.ReadSealed(path, format, &doc); err != nil {
		t.Fatal(err)
	}
	change(&doc)
	data, err := table.EncodeSealed(doc)
	if err != nil {
		t.Fatal(err)
	}
	Rewrite(t, path, func([]byte) []byte { return data })
}

// WriteText writes a file.
func WriteText(t testing.TB, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// MemoryDir is a folder on a file system in memory where there is one. What kills and
// failing calls leave behind is the same there, and a test that commits a thousand
// shards does not wait for a disk that others use.
func MemoryDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "store-test-")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// Copy copies a folder, such as a golden dataset, which opening and appending would change.
func Copy(t testing.TB, from string) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "copy")
	if err := os.CopyFS(dir, os.DirFS(from)); err != nil {
		t.Fatal(err)
	}
	return dir
}

// Contents maps every file of a dataset but locks and the index (which Badger does
// not write reproducibly) to its bytes.
func Contents(t testing.TB, dir string) map[string][]byte {
	t.Helper()
	files := map[string][]byte{}
	err := filepath.WalkDir(dir, func(path string, e os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if e.IsDir() {
			if e.Name() == index.Folder || strings.HasPrefix(e.Name(), index.TempPrefix) {
				return filepath.SkipDir
			}
			return nil
		}
		if strings.HasPrefix(e.Name(), table.LockFile) {
			return nil
		}
		data, err := os.ReadFile(path)
		rel, _ := filepath.Rel(dir, path)
		files[rel] = data
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// SameContents fails unless two datasets have the same files, byte for byte.
func SameContents(t testing.TB, got, want string) {
	t.Helper()
	have, expect := Contents(t, got), Contents(t, want)
	for name := range have {
		if _, ok := expect[name]; !ok {
			t.Errorf("%s: unexpected file", name)
		}
	}
	for name, data := range expect {
		if !bytes.Equal(have[name], data) {
			t.Errorf("%s differs (%d bytes, want %d)", name, len(have[name]), len(data))
		}
	}
}
