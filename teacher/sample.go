package teacher

import (
	"maps"
	"math/rand/v2"
	"slices"
)

// sample draws n distinct rows of total, in ascending order, or all if there are no more. The
// same seed draws the same. Its memory grows with n only (Floyd's method: Bentley and Floyd,
// "A sample of brilliance", CACM 30(9), 1987).
func sample(total, n int, seed uint64) []int {
	rng := rand.New(rand.NewPCG(seed, 0))
	n = max(0, min(n, total))
	drawn := make(map[int]bool, n)
	for last := total - n; last < total; last++ {
		row := rng.IntN(last + 1)
		if drawn[row] {
			row = last
		}
		drawn[row] = true
	}
	return slices.Sorted(maps.Keys(drawn))
}
