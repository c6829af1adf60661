package eval

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"facepipe/eval/pairlist"
	"facepipe/eval/verification"
	"facepipe/store"
)

func loadPairs(t *testing.T, ds *store.Dataset, text string) *PairSet {
	t.Helper()
	s, err := LoadPairs(ds, writeFile(t, "pairs.txt", text), false)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestLoadPairs(t *testing.T) {
	ds := openDataset(t, faces(t))
	s := loadPairs(t, ds, lfwList())
	if s.Pairs() != 60 || s.MissingPairs() != 0 || len(s.Missing()) != 0 {
		t.Errorf("%d pairs, %d and %v missing", s.Pairs(), s.MissingPairs(), s.Missing())
	}
	if s.folds.Rule != verification.Declared || s.folds.Count != 10 {
		t.Errorf("%s folds, %d of them", s.folds.Rule, s.folds.Count)
	}
	if len(s.Locations()) != people*pictures {
		t.Errorf("%d crops, want each of %d once", len(s.Locations()), people*pictures)
	}
	for i, p := range s.pairs {
		for _, end := range []struct {
			at    int
			image int32
		}{{p.a, s.list.Pairs[i].A}, {p.b, s.list.Pairs[i].B}} {
			want, err := ds.Lookup(s.list.Images[end.image].String() + ".png")
			if err != nil || s.Locations()[end.at] != want {
				t.Fatalf("pair %d: crop %v, want %v (%v)", i, s.Locations()[end.at], want, err)
			}
		}
	}
}

func TestCropsAreReadInOrder(t *testing.T) {
	ds := openDataset(t, faces(t))
	lines := strings.Split(strings.TrimSpace(lfwPlain()), "\n")
	slices.Reverse(lines)
	s := loadPairs(t, ds, strings.Join(lines, "\n"))
	rows := make([]int, len(s.Locations()))
	for i, at := range s.Locations() {
		rows[i] = ds.RowOf(at)
	}
	if !slices.IsSorted(rows) || len(slices.Compact(rows)) != len(s.Locations()) {
		t.Errorf("rows %v, want ascending ones, each once", rows)
	}
}

// lfwPlain is lfwList as a plain list.
func lfwPlain() string {
	var b strings.Builder
	for s := range people {
		for n := 2; n <= pictures; n++ {
			fmt.Fprintf(&b, "%s %s 1\n", lfwKey(s, 1, ".png"), lfwKey(s, n, ".png"))
		}
		for n := 1; n < pictures; n++ {
			fmt.Fprintf(&b, "%s %s 0\n", lfwKey(s, n, ".png"), lfwKey((s+n)%people, n, ".png"))
		}
	}
	return b.String()
}

func TestEveryExtensionIsFound(t *testing.T) {
	var crops []store.Crop
	for i, ext := range []string{".jpg", ".jpeg", ".png", ".webp", ".bmp"} {
		crops = append(crops, testCrop(lfwKey(i, 1, ext), i, 1), testCrop(lfwKey(i, 2, ext), i, 2))
	}
	var b strings.Builder
	b.WriteString("1 5\n")
	for i := range 5 {
		fmt.Fprintf(&b, "P%02d 1 2\nP%02d 1 P%02d 2\n", i, i, (i+1)%5)
	}
	s := loadPairs(t, openDataset(t, writeDataset(t, crops)), b.String())
	if s.Pairs() != 10 || len(s.Locations()) != 10 {
		t.Errorf("%d pairs, %d crops", s.Pairs(), len(s.Locations()))
	}
}

// Two photographs with the same pixels are one crop, as is a key given twice.
func TestIdenticalCrops(t *testing.T) {
	var crops []store.Crop
	for p := range people {
		for n := range pictures {
			crops = append(crops, testCrop(lfwKey(p, n+1, ".png"), p, n+1))
		}
	}
	copied := crops[5]
	copied.Key = "copy.png"
	ds := openDataset(t, writeDataset(t, append(crops, copied)))
	s := loadPairs(t, ds, lfwPlain()+fmt.Sprintf("copy.png %s 1\n%s %s 0\n", crops[5].Key, crops[0].Key, crops[0].Key))
	if got := s.identicalPairs(); got != 2 {
		t.Errorf("%d pairs of one crop, want 2", got)
	}
	if len(s.Locations()) != people*pictures {
		t.Errorf("%d crops, want %d", len(s.Locations()), people*pictures)
	}
	if _, err := s.Verify(randomEmbeddings(s, 1)); err != nil {
		t.Error(err)
	}
}

func TestMissingImages(t *testing.T) {
	ds := openDataset(t, faces(t))
	text := lfwPlain()
	var want []string
	for i := range 7 {
		text += fmt.Sprintf("gone%d.png %s 1\n", i, lfwKey(0, 1, ".png"))
		want = append(want, fmt.Sprintf("gone%d.png", i))
	}
	text += "gone0.png gone1.png 0\n"
	path := writeFile(t, "pairs.txt", text)

	_, err := LoadPairs(ds, path, false)
	var missing *MissingError
	if !errors.As(err, &missing) {
		t.Fatalf("error %v, want a MissingError", err)
	}
	if !slices.Equal(missing.Images, want) || missing.Pairs != 8 || missing.Listed != 68 || missing.Named != 47 {
		t.Errorf("%+v", missing)
	}
	for _, part := range []string{path, ds.Dir(), "7 of 47 images", "8 of 68 pairs", "gone0.png, gone1.png, gone2.png, gone3.png, gone4.png and 2 more"} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("error %q lacks %q", err, part)
		}
	}

	s, err := LoadPairs(ds, path, true)
	if err != nil {
		t.Fatal(err)
	}
	if s.Pairs() != 60 || s.MissingPairs() != 8 || !slices.Equal(s.Missing(), want) {
		t.Errorf("%d pairs, %d missing for %v", s.Pairs(), s.MissingPairs(), s.Missing())
	}
}

// Without some of its images LFW keeps its own folds; without a whole fold's it
// cannot.
func TestFoldsWithoutMissingPairs(t *testing.T) {
	dir := faces(t)
	ds := openDataset(t, dir)
	list := lfwList()
	one := strings.Replace(list, "P04\t1\t2\n", "P04\t1\t9\n", 1)
	s, err := LoadPairs(ds, writeFile(t, "pairs.txt", one), true)
	if err != nil {
		t.Fatal(err)
	}
	if s.folds.Rule != verification.Declared || s.Pairs() != 59 {
		t.Errorf("%s folds of %d pairs, want declared ones of 59", s.folds.Rule, s.Pairs())
	}
	for i, p := range s.pairs {
		if s.folds.Of[i] != p.listed/6 {
			t.Fatalf("pair %d of the list is in fold %d", p.listed, s.folds.Of[i])
		}
	}
	whole := list
	for n := 2; n <= pictures; n++ {
		whole = strings.Replace(whole, fmt.Sprintf("P04\t1\t%d\n", n), fmt.Sprintf("P04\t1\t%d\n", n+90), 1)
	}
	if s, err = LoadPairs(ds, writeFile(t, "pairs.txt", whole), true); err != nil {
		t.Fatal(err)
	}
	if s.folds.Rule == verification.Declared || s.Pairs() != 57 {
		t.Errorf("%s folds of %d pairs, one of them without same pairs", s.folds.Rule, s.Pairs())
	}
}

func TestListSortedByKindIsInterleaved(t *testing.T) {
	lines := strings.Split(strings.TrimSpace(lfwPlain()), "\n")
	slices.SortStableFunc(lines, func(a, b string) int { return strings.Compare(b[len(b)-1:], a[len(a)-1:]) })
	s := loadPairs(t, openDataset(t, faces(t)), strings.Join(lines, "\n"))
	if s.folds.Rule != verification.Interleaved {
		t.Errorf("%s folds of a sorted list", s.folds.Rule)
	}
}

func TestLoadPairsErrors(t *testing.T) {
	ds := openDataset(t, faces(t))
	same := lfwKey(0, 1, ".png") + " " + lfwKey(0, 2, ".png") + " 1\n"
	for name, c := range map[string]struct {
		text string
		want error
	}{
		"malformed":   {"a b 2\n", pairlist.ErrFormat},
		"too few":     {same + same, verification.ErrTooFew},
		"of one kind": {strings.Repeat(same, 20), verification.ErrTooFew},
	} {
		path := writeFile(t, "pairs.txt", c.text)
		if _, err := LoadPairs(ds, path, false); !errors.Is(err, c.want) || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: error %v, want %v with the file's name", name, err, c.want)
		}
	}
	if _, err := LoadPairs(ds, filepath.Join(t.TempDir(), "none"), false); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("error %v for a list that is not there", err)
	}
}
