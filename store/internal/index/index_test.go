package index

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"facepipe/internal/durable"
	"facepipe/store/internal/table"
)

// keyOf and idOf are those of the crop in a row.
func keyOf(row int) string { return fmt.Sprintf("person_%02d/%04d.png", row/5, row) }

func idOf(row int) table.ID { return table.ID(table.HashName(keyOf(row))) }

func locate(row int) table.Location {
	return table.Location{Shard: uint32(row / 8), Row: uint32(row % 8)}
}

// sourceOf is a dataset of n crops in shards of 8, of which every thirteenth has a second key.
func sourceOf(t testing.TB, n int) *Source {
	t.Helper()
	return &Source{
		Dir: t.TempDir(), Digest: fmt.Sprint(n), Inputs: 2 * n, Disk: durable.Disk{FS: durable.OS{}}, Log: slog.Default(),
		Locate: locate,
		File:   func(row int) string { return fmt.Sprint("shard ", row/8) },
		Each: func(ctx context.Context, to Entries) error {
			for row := range n {
				if err := errors.Join(ctx.Err(), to.Crop(row, idOf(row), keyOf(row))); err != nil {
					return err
				}
			}
			for row := 6; row < n; row += 13 {
				if err := to.Alias(aliasOf(row), idOf(row)); err != nil {
					return err
				}
			}
			return nil
		},
	}
}

// aliasOf is the second key of a crop.
func aliasOf(row int) string { return fmt.Sprintf("twins/%04d.png", row+1) }

// onDisk builds the index of a source, and opens it.
func onDisk(t *testing.T, s *Source) *Badger {
	t.Helper()
	if err := s.Replace(t.Context()); err != nil {
		t.Fatal(err)
	}
	ix, err := Open(s.Dir, s.Digest)
	if err != nil {
		t.Fatal(err)
	}
	return ix
}

func inMemory(t *testing.T, s *Source) *Memory {
	t.Helper()
	m, err := NewMemory(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func mustClose(t *testing.T, close func() error) {
	t.Helper()
	if err := close(); err != nil {
		t.Fatal(err)
	}
}

// Every implementation of Index passes this.
func TestConformance(t *testing.T) {
	const n = 300
	source := sourceOf(t, n)
	for name, ix := range map[string]Index{"memory": inMemory(t, source), "badger": onDisk(t, source)} {
		t.Run(name, func(t *testing.T) {
			for row := range n {
				if l, ok, err := ix.ByID(idOf(row)); l != locate(row) || !ok || err != nil {
					t.Fatalf("id of row %d: %+v, %t, %v", row, l, ok, err)
				}
				if l, ok, err := ix.ByKey(keyOf(row)); l != locate(row) || !ok || err != nil {
					t.Fatalf("key of row %d: %+v, %t, %v", row, l, ok, err)
				}
			}
			if l, ok, err := ix.ByKey("twins/0020.png"); l != locate(19) || !ok || err != nil {
				t.Errorf("key of a duplicate: %+v, %t, %v", l, ok, err)
			}
			for _, name := range []string{"", "nobody", "person_0", "person_00\x00", "broken/0005.jpg", strings.Repeat("x", 1<<17)} {
				if _, ok, err := ix.ByKey(name); ok || err != nil {
					t.Errorf("key %.20q: %t, %v", name, ok, err)
				}
			}
			if _, ok, err := ix.ByID(table.ID{1}); ok || err != nil {
				t.Errorf("unknown id: %t, %v", ok, err)
			}
			if err := ix.Close(); err != nil {
				t.Error(err)
			}
		})
	}
}
