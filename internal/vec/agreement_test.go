package vec

import (
	"math"
	"testing"
)

func TestAgree(t *testing.T) {
	a := []float64{1, 2, 3, 10, 11, 12, 5}
	b := []float64{1, 2, 3, 12, 11, 10, 5}
	g := Agree(a, b, func(i int) bool { return i < 3 }, func(i int) bool { return i >= 3 && i < 6 })
	if *g.SpearmanSame != 1 || *g.SpearmanDifferent != -1 || *g.Spearman != Spearman(a, b) {
		t.Errorf("%v %v %v", *g.Spearman, *g.SpearmanSame, *g.SpearmanDifferent)
	}
	none := func(int) bool { return false }
	if g := Agree(nil, nil, none, none); g != (Agreement{}) {
		t.Errorf("of no pairs: %+v", g)
	}
	if g := Agree([]float64{1, 1}, []float64{1, 2}, none, none); g.Spearman != nil {
		t.Errorf("of equal ones: %v", *g.Spearman)
	}
	if Defined(math.NaN()) != nil || *Defined(2) != 2 {
		t.Error("Defined")
	}
}
