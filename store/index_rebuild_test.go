package store

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"facepipe/internal/durable"
)

// Whatever became of the derived files, also if they look good, they are made anew.
func TestRebuildIndex(t *testing.T) {
	dir := buildDataset(t, 40, 16)
	folder, rejects := filepath.Join(dir, indexFolder), filepath.Join(dir, rejectsFile)
	for _, tc := range []struct {
		name string
		hurt func()
	}{
		{"good", func() {}},
		{"missing", func() { os.RemoveAll(folder); os.Remove(rejects) }},
		{"of no entries, but sealed", func() {
			empty := mustOpen(t, dir)
			empty.shards = nil
			if err := empty.indexSource().replace(t.Context()); err != nil {
				t.Fatal(err)
			}
		}},
		{"a file in its place", func() { os.RemoveAll(folder); writeText(t, folder, "index") }},
		{"interrupted", func() {
			if err := os.Mkdir(filepath.Join(dir, indexTempPrefix+"1"), 0o755); err != nil {
				t.Fatal(err)
			}
			writeText(t, filepath.Join(dir, durable.TempPrefix+"1"), "half")
			truncate(t, rejects)
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			tc.hurt()
			before, _ := os.Stat(folder)
			r, err := RebuildIndex(t.Context(), dir, WithLogger(quiet))
			d := mustOpen(t, dir)
			if err != nil || r.Rows != d.Rows() || r.Duplicates != d.Duplicates() || r.Digest != d.Digest() || r.Dataset != dir {
				t.Fatalf("%+v, %v", r, err)
			}
			if after, err := os.Stat(folder); err != nil || before != nil && os.SameFile(before, after) {
				t.Errorf("the old index is still there: %v", err)
			}
			if notes := cleanCheck(t, dir).Notes; len(notes) > 0 {
				t.Errorf("notes are %q", notes)
			}
		})
	}
}

func writeText(t testing.TB, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestRebuildIndexRefuses(t *testing.T) {
	foreign := t.TempDir()
	if _, err := RebuildIndex(t.Context(), foreign); !errors.Is(err, ErrNotFound) {
		t.Errorf("no dataset: %v", err)
	}
	if entries, err := os.ReadDir(foreign); err != nil || len(entries) > 0 {
		t.Errorf("left %v in a foreign folder: %v", entries, err)
	}
	dir := buildDataset(t, 20, 8)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := RebuildIndex(ctx, dir); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	if temps, _ := filepath.Glob(filepath.Join(dir, indexTempPrefix+"*")); len(temps) > 0 {
		t.Errorf("left %v", temps)
	}
	cleanCheck(t, dir)
	w := mustWriter(t, dir, 8)
	if _, err := RebuildIndex(t.Context(), dir); !errors.Is(err, ErrLocked) {
		t.Errorf("while a run appends: %v", err)
	}
	mustAbort(t, w)
	flipBit(t, filepath.Join(dir, "crops/000001.arrow"), 600)
	if _, err := RebuildIndex(t.Context(), dir); !errors.Is(err, ErrDamaged) {
		t.Errorf("of damaged crops: %v", err)
	}
}
