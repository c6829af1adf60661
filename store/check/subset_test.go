package check

import (
	"math"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"facepipe/store/cache"
	"facepipe/store/storetest"
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

// Damage inside a shard, of crops or embeddings, is found by the part that the shard is
// in, and by no other.
func TestCheckSubset(t *testing.T) {
	dir := storetest.Build(t, 60, 8)
	storetest.Embed(t, storetest.Open(t, dir), storetest.Info(cache.FP16, true), -1, nil)
	storetest.FlipBit(t, filepath.Join(dir, "crops/000004.arrow"), -2000)
	storetest.FlipBit(t, filepath.Join(dir, "teachers/r50/000003.arrow"), -2000)
	for _, tc := range []struct {
		part, parts int
		want        string
	}{{1, 8, ""}, {2, 3, "crops/000004.arrow"}, {4, 5, "teachers/r50/000003.arrow"}} {
		part, parts, want := tc.part, tc.parts, tc.want
		r, err := Run(t.Context(), dir, Options{ReadData: true, Subset: Subset{Part: part, Parts: parts}})
		if err != nil || r.OK != (want == "") || r.Shards != 8 || r.ShardsRead == 0 || r.ShardsRead == 8 {
			t.Fatalf("part %d of %d: %+v, %v", part, parts, r, err)
		}
		if !r.OK && (len(r.Problems) != 1 || r.Problems[0].File != want) {
			t.Errorf("part %d of %d: %+v, want %s", part, parts, r.Problems, want)
		}
		if !strings.Contains(strings.Join(r.Notes, "\n"), "subset") {
			t.Errorf("notes are %q", r.Notes)
		}
	}
	r, err := Run(t.Context(), dir, Options{ReadData: true, Subset: Subset{Share: 1}})
	if err != nil || len(r.Problems) != 2 || r.ShardsRead != 8 {
		t.Errorf("100%%: %+v, %v", r, err)
	}
	if r, err := Run(t.Context(), dir, Options{}); err != nil || !r.OK || r.ShardsRead != 0 {
		t.Errorf("structure: %+v, %v", r, err)
	}
	if r, err := Run(t.Context(), dir, Options{ReadData: true, Subset: Subset{Part: 9, Parts: 9}}); err != nil || !r.OK || r.ShardsRead != 0 {
		t.Errorf("an empty part: %+v, %v", r, err)
	}
}
