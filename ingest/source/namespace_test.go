package source

import (
	"os"
	"path/filepath"
	"testing"
)

func TestNamespace(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "faces_emore")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "train.rec")
	if err := os.WriteFile(file, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{dir, dir + "/", file, filepath.Join(dir, "{00..99}.tar"), filepath.Join(dir, ".", "train.rec")} {
		if got := Namespace(path); got != "faces_emore" {
			t.Errorf("Namespace(%s) = %q", path, got)
		}
	}
	t.Chdir(dir)
	if got := Namespace("train.rec"); got != "faces_emore" {
		t.Errorf("of a relative path: %q", got)
	}
}
