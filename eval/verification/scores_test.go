package verification

import (
	"math"
	"math/rand/v2"
	"runtime"
	"slices"
	"testing"
)

// Millions of trials take 16 bytes each, and as much again while they are evaluated.
func TestMemoryOfManyTrials(t *testing.T) {
	const same, different = 100_000, 1_900_000
	rng := rand.New(rand.NewPCG(4, 4))
	var before, filled, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	s := NewScores(same, different, 0)
	for i := range same + different {
		isSame := i%20 == 0
		s.Add(Trial{Distance: 4 * rng.Float64(), Same: isSame, First: int32(i), Second: int32(i / 2)})
	}
	runtime.ReadMemStats(&filled)
	r, err := Plain.Evaluate(s, []float64{1e-1, 1e-5, 1e-9})
	if err != nil {
		t.Fatal(err)
	}
	runtime.ReadMemStats(&after)
	const slack = 64 << 10
	if got := filled.TotalAlloc - before.TotalAlloc; got > 16*(same+different)+slack {
		t.Errorf("%d trials take %d bytes, %.2f each", same+different, got, float64(got)/(same+different))
	}
	if got := after.TotalAlloc - filled.TotalAlloc; got > 16*(same+different)+8<<20 {
		t.Errorf("evaluating them takes %d bytes more", got)
	}
	if r.Same != same || r.Different != different || len(r.OperatingPoints) != 2 || r.CrossValidation != nil || len(r.Folds) != 0 {
		t.Errorf("%d same, %d different, points %+v, folds %v", r.Same, r.Different, r.OperatingPoints, r.Folds)
	}
}

// Trials stay in the order in which they were added, whatever was sorted in between.
func TestTrialsKeepTheirOrder(t *testing.T) {
	rng := rand.New(rand.NewPCG(6, 6))
	s := NewScores(0, 0, 4)
	var added [2][]Trial
	for i := range 3000 {
		trial := Trial{Distance: 0.1 * float64(rng.IntN(30)), Same: rng.IntN(3) == 0, First: rng.Int32N(50), Second: rng.Int32N(50), Fold: rng.Int32N(4)}
		s.Add(trial)
		added[kind(trial.Same)] = append(added[kind(trial.Same)], trial)
		if i%1000 == 500 {
			s.ROC()
		}
	}
	for k, want := range added {
		c := s.Column(k == 1)
		var got []Trial
		for i := range c.Distances {
			got = append(got, Trial{c.Distances[i], k == 1, c.First[i], c.Second[i], c.Fold[i]})
		}
		if !slices.Equal(got, want) {
			t.Errorf("trials of kind %d are not as they were added", k)
		}
		sorted := s.Sorted(k == 1)
		slices.Sort(c.Distances)
		if !slices.Equal(sorted, c.Distances) {
			t.Errorf("distances of kind %d are not those in order", k)
		}
	}
}

func TestSortedCopy(t *testing.T) {
	rng := rand.New(rand.NewPCG(8, 6))
	draws := map[string]func() float64{
		"distances":     func() float64 { return 4 * rng.Float64() },
		"few different": func() float64 { return float64(rng.IntN(5)) },
		"all equal":     func() float64 { return 1.5 },
		"any bits": func() float64 {
			if d := math.Float64frombits(rng.Uint64()); !math.IsNaN(d) {
				return d
			}
			return math.Inf(-1)
		},
	}
	for name, draw := range draws {
		for _, n := range []int{0, 1, 2, 1000, fewNumbers + 1, 3 * fewNumbers} {
			numbers := make([]float64, n)
			for i := range numbers {
				numbers[i] = draw()
			}
			before := slices.Clone(numbers)
			got := sortedCopy(numbers)
			if !slices.Equal(numbers, before) {
				t.Fatalf("%s: %d numbers have changed", name, n)
			}
			slices.Sort(numbers)
			if !slices.Equal(got, numbers) {
				t.Errorf("%s: %d numbers are not in order", name, n)
			}
		}
	}
}

func BenchmarkSort(b *testing.B) {
	numbers := make([]float64, 15_658_489)
	rng := rand.New(rand.NewPCG(1, 1))
	for i := range numbers {
		numbers[i] = 4 * rng.Float64()
	}
	for b.Loop() {
		sortedCopy(numbers)
	}
}
