package overlap_test

import (
	"iter"
	"slices"
	"testing"

	"facepipe/eval/overlap"
	"facepipe/eval/protocol"
	"facepipe/eval/verification"
)

// listed is a protocol of comparisons and nothing else.
type listed struct {
	protocol.Verification
	pairs []protocol.Comparison
	folds verification.Folds
}

func (l listed) Comparisons() iter.Seq[protocol.Comparison] { return slices.Values(l.pairs) }
func (l listed) Folds() verification.Folds                  { return l.folds }

// some are n comparisons of templates i and i+1 in folds of ten, same and different by turns.
func some(n, folds int) listed {
	l := listed{folds: verification.Folds{Rule: verification.Declared, Count: folds}}
	for i := range n {
		fold := 0
		if folds > 0 {
			fold = i * folds / n
		}
		l.pairs = append(l.pairs, protocol.Comparison{First: int32(i), Second: int32(i + 1), Same: i%2 == 0, Fold: int32(fold)})
		l.folds.Of = append(l.folds.Of, fold)
	}
	return l
}

// Clean leaves out exactly what has a dirty side, and keeps order and folds.
func TestClean(t *testing.T) {
	l := some(100, 10)
	dirty := make([]bool, 101)
	dirty[0], dirty[37], dirty[38], dirty[100] = true, true, true, true
	c := overlap.Clean(l, dirty)
	got := slices.Collect(c.Comparisons())
	var want []protocol.Comparison
	for _, p := range l.pairs {
		if !dirty[p.First] && !dirty[p.Second] {
			want = append(want, p)
		}
	}
	if !slices.Equal(got, want) || len(got) != 95 {
		t.Errorf("%d comparisons are left, want %d", len(got), len(want))
	}
	f := c.Folds()
	if f.Rule != verification.Declared || f.Count != 10 || len(f.Of) != len(got) {
		t.Errorf("folds %+v", f)
	}
	for i, p := range got {
		if f.Of[i] != int(p.Fold) {
			t.Errorf("comparison %d is in folds %d and %d", i, f.Of[i], p.Fold)
		}
	}
	for range c.Comparisons() {
		break // may end early
	}
}

// A fold that loses all of a kind has the comparisons dealt out anew.
func TestCleanOfAFold(t *testing.T) {
	l := some(200, 10)
	dirty := make([]bool, 201)
	for i := range 20 {
		dirty[i] = true
	}
	c := overlap.Clean(l, dirty)
	got := slices.Collect(c.Comparisons())
	f := c.Folds()
	if f.Rule != verification.Contiguous || f.Count != verification.FoldCount || len(f.Of) != len(got) || len(got) != 180 {
		t.Errorf("%d comparisons in folds %s, %d of %d", len(got), f.Rule, f.Count, len(f.Of))
	}
	for i, p := range got {
		if f.Of[i] != int(p.Fold) {
			t.Errorf("comparison %d is in folds %d and %d", i, f.Of[i], p.Fold)
		}
	}
}

// Without folds, and with nothing left, there is nothing to deal out.
func TestCleanDegenerate(t *testing.T) {
	if c := overlap.Clean(some(10, 0), make([]bool, 11)); c.Folds().Count != 0 || len(slices.Collect(c.Comparisons())) != 10 {
		t.Error("comparisons without folds")
	}
	all := slices.Repeat([]bool{true}, 11)
	if c := overlap.Clean(some(10, 2), all); len(slices.Collect(c.Comparisons())) != 0 || len(c.Folds().Of) != 0 {
		t.Error("something is left")
	}
}
