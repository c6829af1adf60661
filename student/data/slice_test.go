package data

import (
	"slices"
	"testing"
)

// The slices of a batch make it up, in their order; a batch that has none is whole.
func TestSlice(t *testing.T) {
	var rows []pick
	for _, row := range []int{9, 4, 7, 1, 0, 5} {
		rows = append(rows, pick{row: row, flip: row > 4})
	}
	for _, count := range []int{1, 2, 3, 6} {
		var all []pick
		for i := range count {
			all = append(all, Slice{i, count}.of(rows)...)
		}
		if !slices.Equal(all, rows) {
			t.Errorf("%d slices give %v", count, all)
		}
	}
	if got := (Slice{}).of(rows); !slices.Equal(got, rows) {
		t.Errorf("no slice gives %v", got)
	}
}

// What loaders of slices give together, batch by batch, is what one loader gives, however
// batches are drawn.
func TestSlicesOfBatches(t *testing.T) {
	ds, teacher := fixture(t, true)
	for _, sampler := range Samplers() {
		o := Options{Batch: 8, Parts: 2, Seed: 3, Flip: true, Workers: 3, Sampler: sampler, PerIdentity: 2}
		whole := collect(t, ds, teacher, o, 0, 5)
		parts := make([][]Batch, 2)
		for i := range parts {
			o.Slice = Slice{i, 2}
			parts[i] = collect(t, ds, teacher, o, 0, 5)
		}
		if len(whole) != 10 {
			t.Fatalf("%s: %d batches", sampler, len(whole))
		}
		for k, b := range whole {
			p, q := parts[0][k], parts[1][k]
			if !slices.Equal(slices.Concat(p.Rows, q.Rows), b.Rows) || !slices.Equal(slices.Concat(p.Labels, q.Labels), b.Labels) ||
				!slices.Equal(slices.Concat(p.Pixels, q.Pixels), b.Pixels) || !slices.Equal(slices.Concat(p.Mirrored, q.Mirrored), b.Mirrored) || !slices.Equal(slices.Concat(p.Teachers[0], q.Teachers[0]), b.Teachers[0]) {
				t.Errorf("%s, batch %d: rows %v and %v, of one loader %v", sampler, k, p.Rows, q.Rows, b.Rows)
			}
		}
	}
}

// What does not divide is refused, and so is a slice that is none.
func TestSliceThatIsNone(t *testing.T) {
	ds, _ := fixture(t, true)
	for _, s := range []Slice{{0, 3}, {2, 2}, {-1, 2}} {
		if l, err := New(ds, nil, Options{Batch: 4, Parts: 1, Workers: 1, Slice: s}); err == nil {
			l.Close()
			t.Errorf("%+v of a batch of 4 was accepted", s)
		}
	}
}
