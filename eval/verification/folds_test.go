package verification

import (
	"math/rand/v2"
	"slices"
	"testing"
)

// repeated are n trials a kind, in runs of the given length.
func repeated(n, run int) []bool {
	var same []bool
	for len(same) < 2*n {
		same = append(same, slices.Repeat([]bool{true}, run)...)
		same = append(same, slices.Repeat([]bool{false}, run)...)
	}
	return same
}

// blocks are the declared sets of n trials in runs of size.
func blocks(n, size int) []int {
	of := make([]int, n)
	for i := range of {
		of[i] = i / size
	}
	return of
}

func TestChooseFolds(t *testing.T) {
	lfw := repeated(3000, 300)
	tests := []struct {
		name     string
		same     []bool
		declared []int
		want     FoldRule
		count    int
	}{
		{"lfw", lfw, blocks(6000, 600), Declared, 10},
		{"five sets", repeated(500, 100), blocks(1000, 200), Declared, 5},
		{"declared sets of one kind", repeated(3000, 300), blocks(6000, 300), Contiguous, 10},
		{"one declared set", lfw, blocks(6000, 6000), Contiguous, 10},
		{"order of lfw without sets", lfw, nil, Contiguous, 10},
		{"alternating", repeated(50, 1), nil, Contiguous, 10},
		{"sorted by kind", repeated(3000, 3000), nil, Interleaved, 10},
		{"few same", append(slices.Repeat([]bool{true}, 3), slices.Repeat([]bool{false}, 40)...), nil, Interleaved, 10},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := ChooseFolds(tt.same, tt.declared)
			if f.Rule != tt.want || f.Count != tt.count || len(f.Of) != len(tt.same) {
				t.Errorf("%s, %d folds of %d trials, want %s, %d of %d", f.Rule, f.Count, len(f.Of), tt.want, tt.count, len(tt.same))
			}
		})
	}
}

// LFW's own sets are what contiguous folds of its order are, so that a plain list in
// that order gives the same figures.
func TestContiguousFoldsOfLFWAreItsSets(t *testing.T) {
	same := repeated(3000, 300)
	if !slices.Equal(ChooseFolds(same, nil).Of, blocks(6000, 600)) {
		t.Error("contiguous folds differ from the sets")
	}
}

func TestContiguousSizes(t *testing.T) {
	f := ChooseFolds(repeated(12, 1)[:23], nil)
	want := []int{0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7, 8, 8, 9, 9}
	if f.Rule != Contiguous || !slices.Equal(f.Of, want) {
		t.Errorf("%s folds %v, want %v", f.Rule, f.Of, want)
	}
}

// Interleaved folds are as even as their sizes allow: of each kind a fold has its
// share, to within one trial at either end.
func TestInterleavedFoldsAreEven(t *testing.T) {
	rng := rand.New(rand.NewPCG(2, 2))
	for range 200 {
		nSame, nDifferent := 2+rng.IntN(300), 8+rng.IntN(300)
		same := append(slices.Repeat([]bool{true}, nSame), slices.Repeat([]bool{false}, nDifferent)...)
		f := cut(Interleaved, interleave(same))
		var count [FoldCount][2]int
		for i, fold := range f.Of {
			count[fold][kind(same[i])]++
		}
		for fold, c := range count {
			size := c[0] + c[1]
			if size < len(same)/FoldCount || size > len(same)/FoldCount+1 {
				t.Fatalf("fold %d of %d trials has %d", fold, len(same), size)
			}
			share := float64(size) * float64(nSame) / float64(len(same))
			if float64(c[1]) < share-2 || float64(c[1]) > share+2 {
				t.Fatalf("fold %d has %d same trials, its share is %.1f", fold, c[1], share)
			}
		}
		if nSame >= 2 && slices.ContainsFunc(count[:], func(c [2]int) bool { return c[1] == nSame }) {
			t.Fatalf("all %d same trials in one fold of %v", nSame, count)
		}
	}
}

func TestInterleavedIsTheStandardOrder(t *testing.T) {
	f := ChooseFolds(repeated(3000, 3000), nil)
	for i, fold := range f.Of {
		if want := i % 3000 / 300; fold != want {
			t.Fatalf("trial %d in fold %d, want %d: 300 same and 300 different each", i, fold, want)
		}
	}
}
