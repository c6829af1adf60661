package store_test

import (
	"fmt"
	"path/filepath"
	"testing"

	"facepipe/store/cache"
	"facepipe/store/merge"
	"facepipe/store/storetest"
)

// BenchmarkMerge copies raw crops and their embeddings, commits and index included.
func BenchmarkMerge(b *testing.B) {
	d := benchDataset(b)
	benchTeacher(b, d, cache.FP16)
	out := b.TempDir()
	n := 0
	b.ReportAllocs()
	for b.Loop() {
		n++
		s, err := merge.Datasets(b.Context(), filepath.Join(out, fmt.Sprint(n)), []string{d.Dir()}, merge.Options{Logger: storetest.Quiet})
		if err != nil || s.Written != benchRows || s.Teachers[0].Copied != benchRows {
			b.Fatalf("%+v, %v", s, err)
		}
	}
	b.ReportMetric(float64(n*benchRows)/b.Elapsed().Seconds(), "crops/s")
}
