package verification

import (
	"cmp"
	"slices"
)

// FoldCount is the number of folds where a list does not bring its own.
const FoldCount = 10

// FoldRule says how trials are dealt out to folds.
type FoldRule string

// The rules.
const (
	// Declared folds are those that the list of pairs itself announces.
	Declared FoldRule = "declared"
	// Contiguous folds are runs of the list in its own order, unshuffled; the first
	// n mod 10 of them have one trial more.
	Contiguous FoldRule = "contiguous"
	// Interleaved folds are contiguous ones of the list in another order: same and
	// different trials are merged at even spacing, each kind in its own order. It is
	// for lists that are sorted by kind, which would give folds of one kind.
	Interleaved FoldRule = "interleaved"
	// Blocks are runs of 600 trials of the list in its own order, the last of which takes
	// what is left; see [FaceXZoo].
	Blocks FoldRule = "blocks-600"
	// InterleavedBlocks are such blocks of the list in the order of Interleaved.
	InterleavedBlocks FoldRule = "interleaved-blocks-600"
)

// About says in words what the folds are.
func (r FoldRule) About() string {
	const merged = " after merging same and different pairs evenly (in the list's own order some folds would be of one kind)"
	const six = "600 pairs each, the last with what is left, "
	switch r {
	case Declared:
		return "the list's own"
	case Interleaved:
		return "contiguous" + merged
	case Blocks:
		return six + "in the list's order"
	case InterleavedBlocks:
		return six + "contiguous" + merged
	}
	return "contiguous in the list's order"
}

// Folds deal trials out to the parts of a cross-validation.
type Folds struct {
	Rule  FoldRule
	Count int
	// Of is the fold of each trial, 0 .. Count-1.
	Of []int
}

// ChooseFolds takes the declared folds if there are any and each has trials of both
// kinds, else contiguous ones, else (a contiguous fold has one kind only) interleaved
// ones. same[i] tells the kind of trial i; declared may be nil.
func ChooseFolds(same []bool, declared []int) Folds {
	if declared != nil {
		f := Folds{Rule: Declared, Count: slices.Max(declared) + 1, Of: declared}
		if f.Count > 1 && f.bothKinds(same) {
			return f
		}
	}
	if f := cut(Contiguous, inOrder(len(same))); f.bothKinds(same) {
		return f
	}
	return cut(Interleaved, interleave(same))
}

// inOrder is the list's own order.
func inOrder(n int) []int {
	order := make([]int, n)
	for i := range order {
		order[i] = i
	}
	return order
}

// cut makes FoldCount runs of trials in the given order, of sizes that differ by one
// at most, the larger ones first.
func cut(rule FoldRule, order []int) Folds {
	f := Folds{Rule: rule, Count: FoldCount, Of: make([]int, len(order))}
	size, larger := len(order)/FoldCount, len(order)%FoldCount
	at := 0
	for fold := range FoldCount {
		end := at + size
		if fold < larger {
			end++
		}
		for _, trial := range order[at:end] {
			f.Of[trial] = fold
		}
		at = end
	}
	return f
}

// interleave orders trials so that trial j of a kind with n stands at (j+1/2)/n of the
// whole list, same ones first where two coincide.
func interleave(same []bool) []int {
	var ofKind [2][]int // different, same
	for i, s := range same {
		k := kind(s)
		ofKind[k] = append(ofKind[k], i)
	}
	type slot struct {
		trial   int
		halves  int // numerator over twice the kind's number
		ofTotal int
	}
	slots := make([]slot, 0, len(same))
	for _, k := range []int{1, 0} {
		for j, trial := range ofKind[k] {
			slots = append(slots, slot{trial, 2*j + 1, len(ofKind[k])})
		}
	}
	slices.SortStableFunc(slots, func(a, b slot) int { return cmp.Compare(a.halves*b.ofTotal, b.halves*a.ofTotal) })
	order := make([]int, len(slots))
	for i, s := range slots {
		order[i] = s.trial
	}
	return order
}

// kind numbers the two kinds of trials: different 0, same 1.
func kind(same bool) int {
	if same {
		return 1
	}
	return 0
}

// bothKinds says whether every fold has same trials and different ones.
func (f Folds) bothKinds(same []bool) bool {
	seen := make([][2]bool, f.Count)
	for i, fold := range f.Of {
		seen[fold][kind(same[i])] = true
	}
	return !slices.ContainsFunc(seen, func(s [2]bool) bool { return !s[0] || !s[1] })
}
