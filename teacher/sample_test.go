package teacher

import (
	"slices"
	"testing"
)

func TestSample(t *testing.T) {
	for _, c := range []struct{ total, n, want int }{{10, 3, 3}, {10, 10, 10}, {10, 99, 10}, {0, 5, 0}, {5, 0, 0}, {5, -1, 0}, {1 << 40, 4, 4}} {
		rows := sample(c.total, c.n, 1)
		if len(rows) != c.want || !slices.IsSorted(rows) || len(slices.Compact(slices.Clone(rows))) != c.want {
			t.Errorf("%d of %d: %v", c.n, c.total, rows)
		}
		for _, row := range rows {
			if row < 0 || row >= c.total {
				t.Errorf("%d of %d: row %d", c.n, c.total, row)
			}
		}
		if !slices.Equal(rows, sample(c.total, c.n, 1)) {
			t.Errorf("%d of %d: one seed drew twice differently", c.n, c.total)
		}
	}
	if slices.Equal(sample(1000, 10, 1), sample(1000, 10, 2)) {
		t.Error("two seeds drew the same")
	}
}

// Every row is as likely as any other.
func TestSampleIsUniform(t *testing.T) {
	const total, n, rounds = 8, 3, 8000
	var drawn [total]int
	for seed := range uint64(rounds) {
		for _, row := range sample(total, n, seed) {
			drawn[row]++
		}
	}
	for row, count := range drawn {
		// 3000 expected, with a standard deviation of 43.
		if count < 2750 || count > 3250 {
			t.Errorf("row %d was drawn %d times", row, count)
		}
	}
}
