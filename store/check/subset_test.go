package check

import (
	"math"
	"slices"
	"testing"
)

func TestParseSubset(t *testing.T) {
	for s, want := range map[string]Subset{
		"1/1": {Part: 1, Parts: 1}, "3/10": {Part: 3, Parts: 10}, "5%": {Share: 0.05}, "0.5%": {Share: 0.005}, "100%": {Share: 1},
	} {
		got, err := ParseSubset(s)
		if err != nil || got != want || got.String() != s {
			t.Errorf("%s is %+v (%v), %v", s, got, got, err)
		}
	}
	for _, s := range []string{
		"", "/", "%", "5", "0/3", "4/3", "-1/3", "1/-3", "1/0", "1/3/5", "a/b", "1 / 3", "0%", "-5%", "101%", "NaN%", "+Inf%", "5%%",
		"1/99999999999", "1.5/3",
	} {
		if got, err := ParseSubset(s); err == nil {
			t.Errorf("%q is %+v", s, got)
		}
	}
}

// The parts share the shards out evenly and without rest; shards that come later change
// nothing about earlier ones. A sample has the size asked for and depends on its seed.
func TestSubsetChooses(t *testing.T) {
	count := func(chosen []bool) (n int) {
		for _, yes := range chosen {
			if yes {
				n++
			}
		}
		return n
	}
	for n := range 30 {
		for parts := 1; parts < 12; parts++ {
			times := make([]int, n)
			for part := 1; part <= parts; part++ {
				s := Subset{Part: part, Parts: parts}
				chosen := s.choose(n)
				for i, yes := range chosen {
					if yes {
						times[i]++
					}
				}
				if k := count(chosen); k != n/parts && k != (n+parts-1)/parts {
					t.Errorf("%v of %d shards are %d", s, n, k)
				}
				if more := s.choose(n + 5); !slices.Equal(more[:n], chosen) {
					t.Errorf("%v of %d shards changes with more shards", s, n)
				}
			}
			for i, k := range times {
				if k != 1 {
					t.Errorf("shard %d is in %d of %d parts", i, k, parts)
				}
			}
		}
		for _, share := range []float64{0.001, 0.05, 0.5, 1} {
			if k, want := count(Subset{Share: share}.choose(n)), int(math.Ceil(share*float64(n))); k != want {
				t.Errorf("%g of %d shards are %d, want %d", share, n, k, want)
			}
		}
	}
	a, b := Subset{Share: 0.2, Seed: 1}, Subset{Share: 0.2, Seed: 2}
	if !slices.Equal(a.choose(1000), a.choose(1000)) || slices.Equal(a.choose(1000), b.choose(1000)) {
		t.Error("the sample does not follow from its seed")
	}
	if !slices.Equal(Subset{}.choose(3), []bool{true, true, true}) {
		t.Error("the zero value leaves something out")
	}
}
