package main

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"facepipe/internal/durable"
)

// The dataset of an embedding of photographs leaves nothing behind, neither this one nor that of a run
// that was killed. Another run that writes the same file must wait.
func TestDatasetBesideFile(t *testing.T) {
	dir := t.TempDir()
	out := filepath.Join(dir, "e.npy")
	left := filepath.Join(dir, ".embed-e.npy", "faces.ds", "crops")
	if err := os.MkdirAll(left, 0o755); err != nil {
		t.Fatal(err)
	}
	dataset, discard, err := besideDataset(out)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(dataset); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("what a killed run left: %v", err)
	}
	if _, _, err := besideDataset(out); !errors.Is(err, durable.ErrLocked) {
		t.Errorf("another run: %v", err)
	}
	discard()
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("%v is left, %v", left, err)
	}
	if err := os.Symlink(t.TempDir(), filepath.Join(dir, ".embed-e.npy")); err != nil {
		t.Fatal(err)
	}
	if _, _, err := besideDataset(out); !errors.Is(err, durable.ErrLink) {
		t.Errorf("a link in its place: %v", err)
	}
}
