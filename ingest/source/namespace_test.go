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

func TestPersonOf(t *testing.T) {
	for name, want := range map[string]string{
		"17": "set/17", "017": "set/017", "17.0": "set/17", "17.": "set/17", " 17 ": "set/17", "+17": "set/17",
		"-1": "", "-1.0": "", "-0": "", "": "", " ": "",
		"17.5": "17.5", "1e3": "1e3", "Ann": "Ann", "Ann Lee": "Ann Lee", "n000017": "n000017", "-": "-", ".0": ".0",
		"J\xfcrgen": `J\xfcrgen`,
	} {
		if got := personOf(name, "set"); got != want {
			t.Errorf("personOf(%q) = %q, want %q", name, got, want)
		}
	}
}
