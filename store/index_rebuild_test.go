package store_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"facepipe/internal/durable"
	"facepipe/store"
	"facepipe/store/internal/index"
	"facepipe/store/storetest"
)

// Whatever became of the derived files, also if they look good, they are made anew.
func TestRebuildIndex(t *testing.T) {
	dir := storetest.Build(t, 40, 16)
	folder, rejects := filepath.Join(dir, index.Folder), filepath.Join(dir, store.RejectsFile)
	for _, tc := range []struct {
		name string
		hurt func()
	}{
		{"good", func() {}},
		{"missing", func() { os.RemoveAll(folder); os.Remove(rejects) }},
		{"of no entries, but sealed", func() {
			empty := storetest.Open(t, dir).IndexSource()
			empty.Each = func(context.Context, index.Entries) error { return nil }
			if err := empty.Replace(t.Context()); err != nil {
				t.Fatal(err)
			}
		}},
		{"a file in its place", func() { os.RemoveAll(folder); storetest.WriteText(t, folder, "index") }},
		{"interrupted", func() {
			if err := os.Mkdir(filepath.Join(dir, index.TempPrefix+"1"), 0o755); err != nil {
				t.Fatal(err)
			}
			storetest.WriteText(t, filepath.Join(dir, durable.TempPrefix+"1"), "half")
			storetest.Truncate(t, rejects)
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			tc.hurt()
			before, _ := os.Stat(folder)
			r, err := store.RebuildIndex(t.Context(), dir, store.WithLogger(storetest.Quiet))
			d := storetest.Open(t, dir)
			if err != nil || r.Rows != d.Rows() || r.Duplicates != d.Duplicates() || r.Digest != d.Digest() || r.Dataset != dir {
				t.Fatalf("%+v, %v", r, err)
			}
			if after, err := os.Stat(folder); err != nil || before != nil && os.SameFile(before, after) {
				t.Errorf("the old index is still there: %v", err)
			}
			if notes := storetest.CleanCheck(t, dir).Notes; len(notes) > 0 {
				t.Errorf("notes are %q", notes)
			}
		})
	}
}

func TestRebuildIndexRefuses(t *testing.T) {
	foreign := t.TempDir()
	if _, err := store.RebuildIndex(t.Context(), foreign); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("no dataset: %v", err)
	}
	if entries, err := os.ReadDir(foreign); err != nil || len(entries) > 0 {
		t.Errorf("left %v in a foreign folder: %v", entries, err)
	}
	dir := storetest.Build(t, 20, 8)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := store.RebuildIndex(ctx, dir); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	if temps, _ := filepath.Glob(filepath.Join(dir, index.TempPrefix+"*")); len(temps) > 0 {
		t.Errorf("left %v", temps)
	}
	storetest.CleanCheck(t, dir)
	w := storetest.Writer(t, dir, 8)
	if _, err := store.RebuildIndex(t.Context(), dir); !errors.Is(err, store.ErrLocked) {
		t.Errorf("while a run appends: %v", err)
	}
	storetest.Abort(t, w)
	storetest.FlipBit(t, filepath.Join(dir, "crops/000001.arrow"), 600)
	if _, err := store.RebuildIndex(t.Context(), dir); !errors.Is(err, store.ErrDamaged) {
		t.Errorf("of damaged crops: %v", err)
	}
}
