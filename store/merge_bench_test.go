package store

import (
	"fmt"
	"path/filepath"
	"testing"
)

// BenchmarkMerge copies raw crops and their embeddings, commits and index included.
func BenchmarkMerge(b *testing.B) {
	d := benchDataset(b)
	benchTeacher(b, d, FP16)
	out := b.TempDir()
	n := 0
	b.ReportAllocs()
	for b.Loop() {
		n++
		s, err := Merge(b.Context(), filepath.Join(out, fmt.Sprint(n)), []string{d.Dir()}, MergeOptions{Logger: quiet})
		if err != nil || s.Written != benchRows || s.Teachers[0].Copied != benchRows {
			b.Fatalf("%+v, %v", s, err)
		}
	}
	b.ReportMetric(float64(n*benchRows)/b.Elapsed().Seconds(), "crops/s")
}
