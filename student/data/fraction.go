package data

import (
	"context"
	"math"
	"slices"

	"facepipe/store"
)

// Share is how many of n crops a fraction of them is: at least one.
func Share(n int, fraction float64) int {
	return min(n, max(1, int(math.Round(fraction*float64(n)))))
}

// Sample takes a fraction of the crops that e (nil for nothing) leaves of a split ("" for all of
// the dataset), and excludes the others, too. Which ones are taken follows from their rows alone:
// a smaller fraction lies within a larger one, whatever the seed. n is how many are taken, of so
// many.
func (e *Exclusion) Sample(ctx context.Context, ds *store.Dataset, split string, fraction float64) (sampled *Exclusion, n, of int, err error) {
	if e == nil {
		e = &Exclusion{}
	}
	var rows []int
	if split != "" {
		if rows, err = ds.SplitRows(split); err != nil {
			return nil, 0, 0, err
		}
	}
	rows = without(rows, ds.Rows(), e)
	out := leastHashes(rows, Share(len(rows), fraction))
	sampled = &Exclusion{Rows: slices.Concat(e.Rows, out), Labels: map[int32]bool{}, Lists: e.Lists}
	slices.Sort(sampled.Rows)
	return sampled, len(rows) - len(out), len(rows), sampled.noteLabels(ctx, ds)
}

// leastHashes are the rows but the n with the least hashes.
func leastHashes(rows []int, n int) (others []int) {
	if n >= len(rows) {
		return nil
	}
	hashes := make([]uint64, len(rows))
	for i, row := range rows {
		hashes[i] = hash(row)
	}
	slices.Sort(hashes)
	for _, row := range rows {
		if hash(row) >= hashes[n] {
			others = append(others, row)
		}
	}
	return others
}

// hash scatters rows; no two have the same one (the finaliser of SplitMix64, Steele, Lea, Flood,
// "Fast splittable pseudorandom number generators", 2014).
func hash(row int) uint64 {
	z := uint64(row) + 0x9e3779b97f4a7c15
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}
