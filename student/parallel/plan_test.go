package parallel

import (
	"math/rand/v2"
	"slices"
	"testing"
)

// The rules of a plan, on random sizes: every number up to the last is used, later
// parameters are in earlier buckets, all but the last bucket hold the limit, and none
// exceeds it by more than its last parameter.
func TestPlan(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for range 2000 {
		sizes := make([]int, 1+rng.IntN(40))
		for i := range sizes {
			sizes[i] = 1 + rng.IntN(1<<rng.IntN(12))
		}
		limit := 1 + rng.IntN(3000)
		plan := Plan(sizes, limit)
		held := map[int]int{}
		for i, b := range slices.Backward(plan) {
			if i < len(plan)-1 && b != plan[i+1] && b != plan[i+1]+1 || i == len(plan)-1 && b != 0 {
				t.Fatalf("%v by %d: %v", sizes, limit, plan)
			}
			if held[b] >= limit {
				t.Fatalf("%v by %d: bucket %d went on after it was full: %v", sizes, limit, b, plan)
			}
			held[b] += sizes[i]
		}
		for b := range plan[0] {
			if held[b] < limit {
				t.Fatalf("%v by %d: bucket %d has only %d: %v", sizes, limit, b, held[b], plan)
			}
		}
	}
}

func TestBucketBytes(t *testing.T) {
	for total, want := range map[int]int{0: 1 << 20, 2 << 20: 1 << 20, 8 << 20: 2 << 20, 1 << 30: 25 << 20} {
		if got := bucketBytes(total); got != want {
			t.Errorf("%d bytes are cut into buckets of %d, want %d", total, got, want)
		}
	}
}
