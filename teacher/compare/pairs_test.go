package compare

import (
	"math"
	"slices"
	"testing"

	"facepipe/store"
)

func TestPairs(t *testing.T) {
	const none = store.NoLabel
	for name, c := range map[string]struct {
		labels          []int32
		same, different int // of 1000
	}{
		"both":               {[]int32{0, none, 1, 0, 2, 1, 1, 3, none}, 500, 500},
		"each once":          {[]int32{0, 1, 2, none}, 0, 1000},
		"one person":         {[]int32{none, 0, 0, 0}, 1000, 0},
		"nobody":             {[]int32{none, none, none}, 0, 0},
		"one person, once":   {[]int32{none, 0, none}, 0, 0},
		"labels with a hole": {[]int32{5, 5, 9}, 500, 500},
	} {
		deck := newPairDeck(c.labels)
		pairs := deck.draw(1000, 3)
		if len(pairs) != 1000 || !slices.Equal(pairs, newPairDeck(c.labels).draw(1000, 3)) || slices.Equal(pairs, deck.draw(1000, 4)) {
			t.Errorf("%s: %d pairs, or other ones for the same seed", name, len(pairs))
		}
		same, different := 0, 0
		for _, p := range pairs {
			a, b := c.labels[p.a], c.labels[p.b]
			switch {
			case p.a == p.b, p.kind == samePerson && (a != b || a == none), p.kind == twoPeople && (a == b || a == none || b == none):
				t.Fatalf("%s: pair %+v of labels %d, %d", name, p, a, b)
			case p.kind == samePerson:
				same++
			case p.kind == twoPeople:
				different++
			}
		}
		if same != c.same || different != c.different {
			t.Errorf("%s: %d same, %d different, want %d, %d", name, same, different, c.same, c.different)
		}
	}
	for _, labels := range [][]int32{nil, {0}, {none}} {
		if pairs := newPairDeck(labels).draw(10, 1); len(pairs) > 0 {
			t.Errorf("%v: pairs %v", labels, pairs)
		}
	}
}

// Every pair that there is, is drawn, and each partner as often as any other.
func TestPairsAreUniform(t *testing.T) {
	labels := []int32{0, 1, 0, 1, 0, 2}
	drawn := map[pair]int{}
	const n = 60000
	for _, p := range newPairDeck(labels).draw(n, 1) {
		drawn[p]++
	}
	for a := range labels {
		var counts []int
		for b := range labels {
			if a != b && labels[a] == labels[b] {
				counts = append(counts, drawn[pair{a, b, samePerson}])
			}
		}
		// Of 30000, a fifth begins with each of the five.
		for _, got := range counts {
			if want := n / 2 / 5 / len(counts); math.Abs(float64(got-want)) > 5*math.Sqrt(float64(want)) {
				t.Errorf("row %d: same partners are drawn %v times, want about %d", a, counts, want)
			}
		}
		counts = nil
		for b := range labels {
			if labels[a] != labels[b] {
				counts = append(counts, drawn[pair{a, b, twoPeople}])
			}
		}
		for _, got := range counts {
			if want := n / 2 / 6 / len(counts); math.Abs(float64(got-want)) > 5*math.Sqrt(float64(want)) {
				t.Errorf("row %d: other partners are drawn %v times, want about %d", a, counts, want)
			}
		}
	}
}
