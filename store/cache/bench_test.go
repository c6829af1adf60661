package cache

import "testing"

// BenchmarkEmbed writes one embedding as fp16, commits not included.
func BenchmarkEmbed(b *testing.B) {
	const dim = 512
	v := make([]float32, dim)
	for i := range v {
		v[i] = float32(i%7) - 3
	}
	batch := batch{}
	info := Info{Dim: dim, DType: FP16}
	batch.reset(&info)
	b.ReportAllocs()
	for b.Loop() {
		if batch.full() {
			batch.reset(&info)
		}
		if v := batch.plain.append(v); v.Reason != "" {
			b.Fatal(v)
		}
	}
}
