package source

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// What stands in for a file that did not arrive is named by every source that is one file.
func TestStrayFiles(t *testing.T) {
	for text, want := range map[string]string{
		"<!DOCTYPE html>\n<html>": "is a web page",
		"version https://git-lfs.github.com/spec/v1\noid sha256:12\nsize 5\n": "is a Git LFS pointer",
	} {
		for kind, name := range map[string]string{"bin": "lfw.bin", "recordio": "train.rec", "manifest": "m.csv"} {
			path := filepath.Join(t.TempDir(), name)
			if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
			_, err := Spec{Kind: kind, Path: path}.Open(t.Context())
			if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), path) {
				t.Errorf("%s: error %v, want %q", kind, err, want)
			}
		}
	}
}

// Files that Windows leaves in folders are no photographs.
func TestFolderPassesOverHousekeeping(t *testing.T) {
	root := pictures(t, "Ann/1.png")
	for _, name := range []string{"Thumbs.db", "Ann/Thumbs.db", "Ann/desktop.ini", "Ann/Desktop.ini", "Ann/.DS_Store"} {
		if err := os.WriteFile(filepath.Join(root, name), []byte("x"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	src, err := Spec{Kind: "folder", Path: root}.Open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer src.Close()
	var keys []string
	if err := src.Walk(t.Context(), func(item Item) error { keys = append(keys, item.Key); return nil }); err != nil {
		t.Fatal(err)
	}
	wantList(t, keys, "Ann/1.png", "some.png")
}
