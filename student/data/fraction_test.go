package data

import (
	"math/rand/v2"
	"slices"
	"testing"
)

// remaining are the rows that an exclusion leaves of some.
func remaining(rows []int, e *Exclusion) []int { return without(slices.Clone(rows), 0, e) }

// A fraction has as many crops as it says, lies within larger ones, and is spread over the
// dataset; what was excluded stays so, and identities without a crop are no classes.
func TestSample(t *testing.T) {
	ds, _ := fixture(t, false)
	all := make([]int, ds.Rows())
	for i := range all {
		all[i] = i
	}
	var before []int
	for _, fraction := range []float64{0.001, 0.1, 0.3, 0.5, 0.99, 1} {
		e, n, of, err := (*Exclusion)(nil).Sample(t.Context(), ds, "", fraction)
		if err != nil {
			t.Fatal(err)
		}
		left := remaining(all, e)
		if of != len(all) || n != Share(of, fraction) || len(left) != n || !slices.IsSorted(e.Rows) {
			t.Errorf("%g: %d of %d crops, %d are left", fraction, n, of, len(left))
		}
		for _, row := range before {
			if !slices.Contains(left, row) {
				t.Errorf("row %d is in a smaller fraction than %g alone", row, fraction)
			}
		}
		before = left
	}
	lists, err := Exclude(t.Context(), ds, []string{list(t, "p1\n")})
	if err != nil {
		t.Fatal(err)
	}
	e, n, of, err := lists.Sample(t.Context(), ds, "", 0.5)
	if err != nil || of != len(all)-len(lists.Rows) || n != Share(of, 0.5) || len(remaining(all, e)) != n {
		t.Errorf("%d of %d crops, %v", n, of, err)
	}
	for _, row := range lists.Rows {
		if !slices.Contains(e.Rows, row) {
			t.Errorf("row %d is no longer excluded", row)
		}
	}
	if len(lists.Rows) != len(person(1)) {
		t.Error("the lists' own exclusion has changed")
	}
	if _, _, _, err := lists.Sample(t.Context(), ds, "nobody's", 0.5); err == nil {
		t.Error("a split that is not there has a fraction")
	}
}

// Hashes spread rows evenly: of any stretch of a dataset about the fraction is taken.
func TestFractionsAreEven(t *testing.T) {
	rows := make([]int, 10000)
	for i := range rows {
		rows[i] = i
	}
	out := leastHashes(rows, 3000)
	for range 20 {
		from := rand.IntN(9000)
		n := 0
		for _, row := range out {
			if row >= from && row < from+1000 {
				n++
			}
		}
		if n < 620 || n > 780 { // 700 ± 5.5 standard deviations
			t.Errorf("of the rows from %d on %d of 1000 are left out", from, n)
		}
	}
}
