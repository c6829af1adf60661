package verifybin_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"facepipe/internal/alloctest"
	"facepipe/internal/imgcodec"
	"facepipe/internal/pickle/pickletest"
	"facepipe/internal/verifybin"
)

func write(t testing.TB, data []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "set.bin")
	if err := os.WriteFile(path, data, 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

// Before an image is read it is asked for, with its size and its beginning as far as the file holds
// it as it is.
func TestReadAsks(t *testing.T) {
	images := [][]byte{[]byte("\xff\xd8\xff first"), []byte(strings.Repeat("second", 100_000))}
	no := errors.New("no")
	for _, dialect := range pickletest.Dialects() {
		file, err := verifybin.Open(t.Context(), write(t, dialect.Dump(images, []bool{true})))
		if err != nil {
			t.Fatalf("%s: %v", dialect.Name, err)
		}
		for i, image := range images {
			got, err := file.Read(i, nil)
			if err != nil || string(got) != string(image) {
				t.Errorf("%s: image %d: %d bytes, %v", dialect.Name, i, len(got), err)
			}
			_, err = file.Read(i, func(size int64, head []byte) error {
				if size < int64(len(image)) || len(head) > imgcodec.HeadBytes || !strings.HasPrefix(string(image), string(head)) {
					t.Errorf("%s: image %d: asked for %d bytes that begin %.9q", dialect.Name, i, size, head)
				}
				return no
			})
			if !errors.Is(err, no) {
				t.Errorf("%s: image %d was read: %v", dialect.Name, i, err)
			}
		}
		if err := file.Close(); err != nil {
			t.Error(err)
		}
	}
}

func FuzzOpen(f *testing.F) {
	for _, dialect := range pickletest.Dialects() {
		f.Add(dialect.Dump([][]byte{[]byte("one"), []byte("two")}, []bool{true}))
	}
	path := filepath.Join(f.TempDir(), "set.bin")
	f.Fuzz(func(t *testing.T, data []byte) {
		if err := os.WriteFile(path, data, 0o644); err != nil {
			t.Fatal(err)
		}
		alloctest.AtMost(t, 512*len(data)+1<<20, func() {
			file, err := verifybin.Open(t.Context(), path)
			if err != nil {
				return
			}
			if file.Images() > 0 {
				_, _ = file.Read(0, nil)
			}
			_ = file.Close()
		})
	})
}
