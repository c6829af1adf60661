package detect

import (
	"cmp"
	"math"
	"slices"
)

// best sorts faces by falling score, equal ones in the order they came, and keeps
// at most n.
func best(faces []Face, n int) []Face {
	slices.SortStableFunc(faces, func(a, b Face) int { return cmp.Compare(b.Score, a.Score) })
	return faces[:min(n, len(faces))]
}

// suppress keeps, of faces sorted by falling score, each that overlaps no better one
// by more than threshold (non-maximum suppression). overlap is the family's
// definition of intersection over union.
func suppress(faces []Face, threshold float64, overlap func(a, b Face) float64) []Face {
	var kept []Face
next:
	for _, f := range faces {
		for _, better := range kept {
			if overlap(better, f) > threshold {
				continue next
			}
		}
		kept = append(kept, f)
	}
	return kept
}

// inclusiveOverlap counts the pixels of a box with both its edges, as SCRFD does.
func inclusiveOverlap(a, b Face) float64 {
	return intersectionOverUnion(a, b, 1)
}

// integerOverlap truncates position and size to whole pixels first, as OpenCV does
// for YuNet.
func integerOverlap(a, b Face) float64 {
	return intersectionOverUnion(truncate(a), truncate(b), 0)
}

func truncate(f Face) Face {
	w, h := math.Trunc(f.X2-f.X1), math.Trunc(f.Y2-f.Y1)
	f.X1, f.Y1 = math.Trunc(f.X1), math.Trunc(f.Y1)
	f.X2, f.Y2 = f.X1+w, f.Y1+h
	return f
}

// intersectionOverUnion measures two boxes whose sides are edge longer than the
// difference of their coordinates.
func intersectionOverUnion(a, b Face, edge float64) float64 {
	side := func(lo, hi float64) float64 { return max(0, hi-lo+edge) }
	inter := side(max(a.X1, b.X1), min(a.X2, b.X2)) * side(max(a.Y1, b.Y1), min(a.Y2, b.Y2))
	if inter == 0 {
		return 0
	}
	union := side(a.X1, a.X2)*side(a.Y1, a.Y2) + side(b.X1, b.X2)*side(b.Y1, b.Y2) - inter
	return inter / union
}
