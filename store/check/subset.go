package check

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strconv"
	"strings"
)

// Subset chooses shards whose data [Run] reads, so that a large dataset can be read
// bit by bit over many runs. The zero value chooses all. Write it as restic does, see
// [ParseSubset].
type Subset struct {
	// Part of Parts: the shards are dealt out in turn to the parts 1 .. Parts, so that
	// checks of all parts read everything once. Appending moves no shard to another
	// part. 0 of 0 if Share is meant.
	Part, Parts int
	// Share is the size of a random sample of the shards, above 0 and up to 1, rounded
	// up to a whole number of shards.
	Share float64
	// Seed draws the sample: another one gives other shards.
	Seed uint64
}

// ParseSubset reads "n/t", the n-th of t parts, or "P%", a random sample.
func ParseSubset(s string) (Subset, error) {
	if percent, ok := strings.CutSuffix(s, "%"); ok {
		p, err := strconv.ParseFloat(percent, 64)
		if err != nil || !(p > 0 && p <= 100) {
			return Subset{}, fmt.Errorf("subset %q: want a number above 0 and up to 100 before %%", s)
		}
		return Subset{Share: p / 100}, nil
	}
	n, t, ok := strings.Cut(s, "/")
	part, err := strconv.ParseUint(n, 10, 31)
	if parts, err2 := strconv.ParseUint(t, 10, 31); ok && err == nil && err2 == nil && part >= 1 && part <= parts {
		return Subset{Part: int(part), Parts: int(parts)}, nil
	}
	return Subset{}, fmt.Errorf("subset %q: want n/t with n from 1 to t, or a percentage such as 5%%", s)
}

// all says that nothing is left out, of however many shards.
func (s Subset) all() bool { return s.Parts <= 1 && (s.Share == 0 || s.Share == 1) }

// String is the subset as [ParseSubset] reads it.
func (s Subset) String() string {
	switch {
	case s.Parts > 0:
		return fmt.Sprintf("%d/%d", s.Part, s.Parts)
	case s.Share > 0:
		return fmt.Sprintf("%g%%", 100*s.Share)
	}
	return "100%"
}

// choose says which of n shards are in the subset.
func (s Subset) choose(n int) []bool {
	chosen := make([]bool, n)
	switch {
	case s.Parts > 0:
		for i := s.Part - 1; i < n; i += s.Parts {
			chosen[i] = true
		}
	case s.Share > 0:
		size := min(n, int(math.Ceil(s.Share*float64(n))))
		for _, i := range rand.New(rand.NewPCG(s.Seed, 0)).Perm(n)[:size] {
			chosen[i] = true
		}
	default:
		for i := range chosen {
			chosen[i] = true
		}
	}
	return chosen
}
