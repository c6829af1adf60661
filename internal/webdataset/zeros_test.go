package webdataset_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"facepipe/internal/webdataset"
)

// A large file that holds nothing is refused; a small one is an archive without members.
func TestZerosAreNoArchive(t *testing.T) {
	path := filepath.Join(t.TempDir(), "zeros.tar")
	for size, refused := range map[int64]bool{10240: false, 1 << 40: true} {
		if err := errors.Join(os.WriteFile(path, nil, 0o600), os.Truncate(path, size)); err != nil {
			t.Fatal(err)
		}
		if _, err := webdataset.Open(path); (err != nil) != refused || refused && !strings.Contains(err.Error(), "begins with zeros") {
			t.Errorf("%d bytes: %v", size, err)
		}
	}
}
