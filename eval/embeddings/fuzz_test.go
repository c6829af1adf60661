package embeddings

import (
	"archive/zip"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"facepipe/internal/alloctest"
)

// Whatever a file says of itself, reading it gives rows or an error, and takes memory by its size: a
// compressed array's numbers are some thousand times as many as its bytes at most.
func FuzzOpen(f *testing.F) {
	for _, ending := range Endings {
		path := filepath.Join(f.TempDir(), "e"+ending)
		w, err := Create(path, 2, 3)
		if err != nil {
			f.Fatal(err)
		}
		if err := errors.Join(w.Add("a", "A", []float32{1, 2, 3}), w.Add("b", "", []float32{4, 5, 6}), w.Close()); err != nil {
			f.Fatal(err)
		}
		data, err := os.ReadFile(path)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	four := floats(1, 2, 3, 4)
	for _, method := range []uint16{zip.Store, zip.Deflate} {
		f.Add(npz(f, method, "arr_0", arr("<f4", four, 2, 2), "arr_1", arr("|S3", []byte("JoeJoe"), 2)))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		path := write(t, "e.any", data)
		alloctest.AtMost(t, 16<<20+8000*len(data), func() {
			table, err := Open(t.Context(), path)
			if err != nil {
				if !errors.Is(err, ErrFormat) {
					t.Errorf("an error of another kind: %v", err)
				}
				return
			}
			row := make([]float32, table.Dim())
			for i := range table.Len() {
				_, _ = table.Row(i, row) // no row is out of reach
			}
			if n := len(table.Keys); n > 0 && (n != table.Len() || len(slices.Compact(slices.Sorted(slices.Values(table.Keys)))) != n) {
				t.Errorf("%d keys of %d rows: %q", n, table.Len(), table.Keys)
			}
		})
	})
}
