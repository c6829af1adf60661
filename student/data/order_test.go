package data

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
)

// read is all of an epoch, window after window.
func read(o *order) []int {
	var rows []int
	for i := range o.windows() {
		rows = append(rows, o.fill(i)...)
	}
	return rows
}

// sizes are numbers of rows and windows around the edges of blocks.
var sizes = []struct{ rows, window int }{
	{1, 0}, {1, 1}, {2, 1}, {511, 512}, {512, 511}, {513, 512}, {1024, 512}, {1025, 512}, {5000, 1}, {5000, 7},
	{5000, 511}, {5000, 513}, {5000, 1024}, {5000, 2500}, {5000, 4999}, {5000, 5000}, {5000, 0}, {5120, 600}, {20000, 3000},
}

// An epoch reads every row once, and the first rows of a window where they belong.
func TestOrderIsAPermutation(t *testing.T) {
	for _, s := range sizes {
		for epoch := range 3 {
			o := newOrder(s.rows, s.window, 1, epoch)
			rows := read(o)
			for i := range o.windows() {
				want := min(o.window, s.rows-i*o.window)
				if part := o.fill(i); len(part) != want || !slices.Equal(part, rows[i*o.window:][:want]) {
					t.Fatalf("%+v: window %d by itself is another", s, i)
				}
			}
			sorted := slices.Sorted(slices.Values(rows))
			for i, row := range sorted {
				if i != row {
					t.Fatalf("%+v, epoch %d: row %d at place %d of %d", s, epoch, row, i, len(sorted))
				}
			}
		}
	}
}

// A window has the rows of few blocks, and a row is never further than a window from
// its place among the shuffled blocks.
func TestOrderStaysInItsWindow(t *testing.T) {
	for _, s := range sizes {
		o := newOrder(s.rows, s.window, 7, 3)
		if o.blocks == nil {
			continue
		}
		place := map[int]int{} // of each row in the ring, counted from the epoch's first
		for _, block := range o.blocks {
			for row := block * blockRows; row < min((block+1)*blockRows, s.rows); row++ {
				place[row] = (len(place) + s.rows - o.begin) % s.rows
			}
		}
		for at, row := range read(o) {
			if d := at - place[row]; d <= -o.window || d >= o.window || at/o.window != place[row]/o.window {
				t.Fatalf("%+v: row %d is read at %d, its block is at %d", s, row, at, place[row])
			}
		}
		for i := range o.windows() {
			blocks := map[int]bool{}
			for _, row := range o.fill(i) {
				blocks[row/blockRows] = true
			}
			if most := o.window/blockRows + 4; len(blocks) > most {
				t.Errorf("%+v: window %d reads %d blocks, more than %d", s, i, len(blocks), most)
			}
		}
	}
}

// Epochs, windows and seeds differ, and the same ones do not.
func TestOrderIsNewEveryEpoch(t *testing.T) {
	for _, window := range []int{0, 700, 3000} {
		seen := map[string]string{}
		for seed := range uint64(3) {
			for epoch := range 4 {
				name := fmt.Sprintf("seed %d, epoch %d", seed, epoch)
				text := fmt.Sprint(read(newOrder(5000, window, seed, epoch)))
				if again := fmt.Sprint(read(newOrder(5000, window, seed, epoch))); again != text {
					t.Errorf("window %d: %s has two orders", window, name)
				}
				if other, ok := seen[text]; ok {
					t.Errorf("window %d: %s and %s have one order", window, name, other)
				}
				seen[text] = name
			}
		}
	}
	// Of two windows of full blocks, the rows move differently within each.
	o := newOrder(4*blockRows, 2*blockRows, 1, 1)
	o.begin = 0
	a, b := o.fill(0), o.fill(1)
	same := 0
	for k := range a {
		if a[k]%blockRows == b[k]%blockRows {
			same++
		}
	}
	if same > 30 {
		t.Errorf("%d of %d rows moved alike in two windows", same, len(a))
	}
}

// A row is as likely in one half of the epoch as in the other: those that were always at
// its end would be left out by the last, partial batch in every epoch.
func TestOrderIsFair(t *testing.T) {
	const rows, window, epochs = 1400, 600, 400
	early := make([]int, rows)
	for epoch := range epochs {
		for at, row := range read(newOrder(rows, window, 5, epoch)) {
			if at < rows/2 {
				early[row]++
			}
		}
	}
	for _, row := range []int{0, 511, 512, 1023, 1024, 1399} {
		// 200 are expected, the standard deviation is 10.
		if early[row] < 150 || early[row] > 250 {
			t.Errorf("row %d is in the first half of %d of %d epochs", row, early[row], epochs)
		}
	}
}

// A window that holds everything is today's order, which runs have been trained with.
func TestOrderOfAllRows(t *testing.T) {
	for epoch := range 3 {
		want := rand.New(rand.NewPCG(9, uint64(epoch))).Perm(1000)
		for _, window := range []int{0, 1000, 5000} {
			if got := newOrder(1000, window, 9, epoch).fill(0); !slices.Equal(got, want) {
				t.Errorf("epoch %d, window %d: another order", epoch, window)
			}
		}
	}
}
