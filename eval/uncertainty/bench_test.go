package uncertainty

import (
	"math/rand/v2"
	"testing"

	"facepipe/eval/verification"
)

// benchmarked are sets of the size of known ones, whose intervals are timed.
var benchmarked = map[string]func() *verification.Scores{
	"LFW": func() *verification.Scores { return draw(rand.New(rand.NewPCG(1, 1)), 3000, 1, 3000, 10, 0) },
	"IJBC": func() *verification.Scores {
		return draw(rand.New(rand.NewPCG(1, 1)), 3531, 6, 15_658_489-3531*6, 0, 0)
	},
}

var benchmarkTargets = []float64{1e-1, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6}

func BenchmarkSummarize(b *testing.B) {
	for name, scores := range benchmarked {
		b.Run(name, func(b *testing.B) {
			s := scores()
			s.ROC()
			b.ReportAllocs()
			for b.Loop() {
				if _, err := Summarize(s, Options{Targets: benchmarkTargets}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkCompare(b *testing.B) {
	for name, scores := range benchmarked {
		b.Run(name, func(b *testing.B) {
			rng := rand.New(rand.NewPCG(2, 2))
			s := scores()
			other := moved(s, func(_ bool, d float64) float64 { return d + 0.02*rng.NormFloat64() })
			s.ROC()
			other.ROC()
			b.ReportAllocs()
			for b.Loop() {
				if _, err := Compare(s, other, Options{Targets: benchmarkTargets}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
