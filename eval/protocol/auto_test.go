package protocol

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"facepipe/eval/faces"
	"facepipe/eval/internal/facestest"
	"facepipe/eval/pairlist"
	"facepipe/eval/verification"
	"facepipe/store"
	"facepipe/store/storetest"
)

// crowd has so many pictures of each person, and some of nobody.
func crowd(t *testing.T, nobody int, pictures ...int) faces.Set {
	t.Helper()
	var crops []store.Crop
	for p, n := range pictures {
		for k := range n {
			crops = append(crops, facestest.Crop(facestest.Key(p, k+1, ".png"), p, k+1))
		}
	}
	for k := range nobody {
		c := facestest.Crop(fmt.Sprintf("nobody/%d.png", k), 90, k)
		c.Identity = ""
		crops = append(crops, c)
	}
	return faces.Of(storetest.Open(t, facestest.WriteDataset(t, crops)))
}

// checkDraw holds a list against what it promises.
func checkDraw(t *testing.T, l *pairlist.List) (same, different int) {
	t.Helper()
	foldOf, seen := map[string]int{}, map[[2]string]bool{}
	kinds := make([][2]int, l.Sets)
	for i, pair := range l.Pairs {
		x, y := l.Images[pair.A].String(), l.Images[pair.B].String()
		if key := [2]string{min(x, y), max(x, y)}; x == y || seen[key] {
			t.Errorf("pair %s %s again", x, y)
		} else {
			seen[key] = true
		}
		if (x[:3] == y[:3]) != pair.Same || strings.HasPrefix(x, "nob") || strings.HasPrefix(y, "nob") {
			t.Errorf("pair %s %s is told as %v", x, y, pair.Same)
		}
		for _, who := range []string{x[:3], y[:3]} {
			if fold, met := foldOf[who]; met && fold != l.Set(i) {
				t.Errorf("%s is in folds %d and %d", who, fold, l.Set(i))
			}
			foldOf[who] = l.Set(i)
		}
		if pair.Same {
			same++
			kinds[l.Set(i)][0]++
		} else {
			different++
			kinds[l.Set(i)][1]++
		}
	}
	for fold, n := range kinds {
		if n[0] == 0 || n[0] != n[1] {
			t.Errorf("fold %d has %d same and %d different pairs", fold, n[0], n[1])
		}
	}
	return same, different
}

func TestAuto(t *testing.T) {
	many := make([]int, 40)
	for i := range many {
		many[i] = 1 + i%4
	}
	many[7] = 30
	for name, c := range map[string]struct {
		set   faces.Set
		auto  Auto
		each  int
		folds int
		note  string
	}{
		"many people":      {crowd(t, 3, many...), Auto{Seed: 1}, -1, 10, "3 of 129 crops have no identity"},
		"some pairs":       {crowd(t, 0, many...), Auto{Seed: 2, Pairs: 41}, 20, 10, ""},
		"four people":      {crowd(t, 0, 2, 2, 1, 1), Auto{}, 2, 2, "2 folds, as of 4 identities 2"},
		"one of very many": {crowd(t, 0, 90, 2, 2, 2), Auto{}, -1, 2, ""},
	} {
		l, err := c.auto.Draw(t.Context(), c.set)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		same, different := checkDraw(t, l)
		if same != different || c.each >= 0 && same != c.each || l.Sets != c.folds || !strings.Contains(strings.Join(l.Notes, "; "), c.note) {
			t.Errorf("%s: %d same and %d different pairs in %d folds, notes %q", name, same, different, l.Sets, l.Notes)
		}
		again, err := c.auto.Draw(t.Context(), c.set)
		if err != nil || !reflect.DeepEqual(again, l) {
			t.Errorf("%s: another draw by the same seed (%v)", name, err)
		}
	}
}

// The list that is written and read again is the same test.
func TestAutoIsWritten(t *testing.T) {
	set := crowd(t, 0, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3)
	l, err := Auto{Seed: 4}.Draw(t.Context(), set)
	if err != nil {
		t.Fatal(err)
	}
	drawn, err := Listed(t.Context(), set, "auto", l, Options{})
	if err != nil {
		t.Fatal(err)
	}
	text, err := l.Table()
	if err != nil {
		t.Fatal(err)
	}
	read, err := Pairs.Load(t.Context(), set, facestest.WriteFile(t, "pairs.txt", string(text)), Options{})
	if err != nil {
		t.Fatal(err)
	}
	if read.Describe().Digest != drawn.Describe().Digest || drawn.Folds().Rule != verification.Declared {
		t.Errorf("%+v and %+v", drawn.Describe(), read.Describe())
	}
	if a, b := slices.Collect(drawn.Comparisons()), slices.Collect(read.(Verification).Comparisons()); !slices.Equal(a, b) {
		t.Errorf("%v was read as %v", a, b)
	}
}

// Hard pairs are the nearest ones of two people of a fold, of different people first.
func TestHardPairs(t *testing.T) {
	pictures := slices.Repeat([]int{4}, 20)
	set := crowd(t, 0, pictures...)
	names := make([]string, set.Len())
	for i := range names {
		head, err := set.Head(i)
		if err != nil {
			t.Fatal(err)
		}
		names[i] = head.Key
	}
	embeddings := facestest.Embeddings(names, 8, 0.3)
	mean := func(a Auto) float64 {
		l, err := a.Draw(t.Context(), set)
		if err != nil {
			t.Fatal(err)
		}
		checkDraw(t, l)
		p, err := Listed(t.Context(), set, "auto", l, Options{})
		if err != nil {
			t.Fatal(err)
		}
		rows := make(Rows, len(p.Faces()))
		for i, place := range p.Faces() {
			rows[i] = embeddings[place]
		}
		r, err := p.Evaluate(t.Context(), rows, Settings{Distances: true})
		if err != nil {
			t.Fatal(err)
		}
		sum, n := 0.0, 0
		i := 0
		for c := range p.Comparisons() {
			if !c.Same {
				sum += r.Distances[i]
				n++
			}
			i++
		}
		return sum / float64(n)
	}
	chance, hard := mean(Auto{Pairs: 60}), mean(Auto{Pairs: 60, Hard: Rows(embeddings)})
	if hard > chance-0.2 {
		t.Errorf("mean distance of hard pairs %.3f, of others %.3f", hard, chance)
	}
	l, err := Auto{Hard: Rows(embeddings)}.Draw(t.Context(), set) // more than there are neighbours
	if err != nil {
		t.Fatal(err)
	}
	checkDraw(t, l)
}

func TestAutoRefuses(t *testing.T) {
	for name, c := range map[string]struct {
		set  faces.Set
		auto Auto
		want string
	}{
		"nobody":         {crowd(t, 5), Auto{}, "0 images of 0 identities, 0 of which have two or more, and 5 images without an identity"},
		"three people":   {crowd(t, 0, 5, 5, 5), Auto{}, "15 images of 3 identities"},
		"single images":  {crowd(t, 0, 1, 1, 1, 1, 1), Auto{}, "5 images of 5 identities, 0 of which"},
		"too many pairs": {crowd(t, 0, 2, 2, 2, 2), Auto{Pairs: 100}, "100 pairs are wanted, and these have 8"},
		"too few pairs":  {crowd(t, 0, 2, 2, 2, 2), Auto{Pairs: 3}, "3 pairs are wanted, at least 4"},
	} {
		_, err := c.auto.Draw(t.Context(), c.set)
		if err == nil || !strings.Contains(err.Error(), c.want) || c.auto.Pairs == 0 && !errors.Is(err, ErrTooFewFaces) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}
