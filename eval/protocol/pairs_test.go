package protocol

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
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

// load parses a list.
func load(t *testing.T, ds *store.Dataset, text string, o Options) *pairs {
	t.Helper()
	p, err := loadPairs(t.Context(), faces.Of(ds), facestest.WriteFile(t, "pairs.txt", text), o)
	if err != nil {
		t.Fatal(err)
	}
	return p.(*pairs)
}

// lfw are the pairs of facestest' list.
func lfw(t *testing.T) *pairs {
	t.Helper()
	return load(t, storetest.Open(t, facestest.Faces(t)), facestest.LFWList(), Options{})
}

func TestLoadPairs(t *testing.T) {
	ds := storetest.Open(t, facestest.Faces(t))
	text := facestest.LFWList()
	s := load(t, ds, text, Options{})
	if d := s.Describe(); d.Used != 60 || d.MissingPairs != 0 || d.Missing == nil || len(d.Missing) != 0 || d.Crops != len(s.Faces()) {
		t.Errorf("%+v", d)
	}
	if s.Folds().Rule != verification.Declared || s.Folds().Count != 10 {
		t.Errorf("%s folds, %d of them", s.Folds().Rule, s.Folds().Count)
	}
	if len(s.Faces()) != facestest.People*facestest.Pictures {
		t.Errorf("%d crops, want each of %d once", len(s.Faces()), facestest.People*facestest.Pictures)
	}
	list, err := pairlist.Parse(strings.NewReader(text), "pairs.txt")
	if err != nil {
		t.Fatal(err)
	}
	identities := s.Pool(nil).Identities
	i := 0
	for c := range s.Comparisons() {
		if c.Same != list.Pairs[i].Same || c.Same != (identities[c.First] == identities[c.Second]) || int(c.Fold) != list.Set(i) {
			t.Errorf("pair %d: %+v of identities %d and %d", i, c, identities[c.First], identities[c.Second])
		}
		for _, end := range []struct{ at, image int32 }{{c.First, list.Pairs[i].A}, {c.Second, list.Pairs[i].B}} {
			want, err := ds.Lookup(list.Images[end.image].String() + ".png")
			if err != nil || s.Faces()[end.at] != ds.RowOf(want) {
				t.Fatalf("pair %d: crop %v, want %v (%v)", i, s.Faces()[end.at], want, err)
			}
		}
		i++
	}
	if i != 60 {
		t.Errorf("%d comparisons", i)
	}
}

// A template has its crop's identity, and a number of its own where there is none.
func TestIdentities(t *testing.T) {
	var crops []store.Crop
	for p := range facestest.People {
		for n := range facestest.Pictures {
			crop := facestest.Crop(facestest.Key(p, n+1, ".png"), p, n+1)
			if p == 3 {
				crop.Identity = ""
			}
			crops = append(crops, crop)
		}
	}
	s := load(t, storetest.Open(t, facestest.WriteDataset(t, crops)), lfwPlain(), Options{})
	pictures := map[int32]int{}
	templates := s.Pool(nil)
	for i, name := range templates.Names {
		pictures[templates.Identities[i]]++
		if alone := strings.HasPrefix(name, "P03/"); alone != (int(templates.Identities[i]) >= facestest.People-1) {
			t.Errorf("%s has identity %d", name, templates.Identities[i])
		}
	}
	if len(pictures) != facestest.People-1+facestest.Pictures {
		t.Errorf("pictures by identity: %v", pictures)
	}
}

func TestCropsAreReadInOrder(t *testing.T) {
	ds := storetest.Open(t, facestest.Faces(t))
	lines := strings.Split(strings.TrimSpace(lfwPlain()), "\n")
	slices.Reverse(lines)
	s := load(t, ds, strings.Join(lines, "\n"), Options{})
	rows := slices.Clone(s.Faces())
	if !slices.IsSorted(rows) || len(slices.Compact(rows)) != len(s.Faces()) {
		t.Errorf("rows %v, want ascending ones, each once", rows)
	}
}

// lfwPlain is lfwList as a plain list.
func lfwPlain() string {
	var b strings.Builder
	for s := range facestest.People {
		for n := 2; n <= facestest.Pictures; n++ {
			fmt.Fprintf(&b, "%s %s 1\n", facestest.Key(s, 1, ".png"), facestest.Key(s, n, ".png"))
		}
		for n := 1; n < facestest.Pictures; n++ {
			fmt.Fprintf(&b, "%s %s 0\n", facestest.Key(s, n, ".png"), facestest.Key((s+n)%facestest.People, n, ".png"))
		}
	}
	return b.String()
}

func TestEveryExtensionIsFound(t *testing.T) {
	var crops []store.Crop
	for i, ext := range []string{".jpg", ".jpeg", ".png", ".webp", ".bmp"} {
		crops = append(crops, facestest.Crop(facestest.Key(i, 1, ext), i, 1), facestest.Crop(facestest.Key(i, 2, ext), i, 2))
	}
	var b strings.Builder
	b.WriteString("1 5\n")
	for i := range 5 {
		fmt.Fprintf(&b, "P%02d 1 2\nP%02d 1 P%02d 2\n", i, i, (i+1)%5)
	}
	s := load(t, storetest.Open(t, facestest.WriteDataset(t, crops)), b.String(), Options{})
	if len(s.compared) != 10 || len(s.Faces()) != 10 {
		t.Errorf("%d pairs, %d crops", len(s.compared), len(s.Faces()))
	}
}

// Two photographs with the same pixels are one crop, as is a key given twice.
func TestIdenticalCrops(t *testing.T) {
	var crops []store.Crop
	for p := range facestest.People {
		for n := range facestest.Pictures {
			crops = append(crops, facestest.Crop(facestest.Key(p, n+1, ".png"), p, n+1))
		}
	}
	copied := crops[5]
	copied.Key = "copy.png"
	ds := storetest.Open(t, facestest.WriteDataset(t, append(crops, copied)))
	s := load(t, ds, lfwPlain()+fmt.Sprintf("copy.png %s 1\n%s %s 0\n", crops[5].Key, crops[0].Key, crops[0].Key), Options{})
	if got := s.Describe().IdenticalPairs; got != 2 {
		t.Errorf("%d pairs of one crop, want 2", got)
	}
	if len(s.Faces()) != facestest.People*facestest.Pictures {
		t.Errorf("%d crops, want %d", len(s.Faces()), facestest.People*facestest.Pictures)
	}
	if _, err := score(s, randomEmbeddings(s, 1), nil); err != nil {
		t.Error(err)
	}
}

func TestMissingImages(t *testing.T) {
	ds := storetest.Open(t, facestest.Faces(t))
	text := lfwPlain()
	var want []string
	for i := range 7 {
		text += fmt.Sprintf("gone%d.png %s 1\n", i, facestest.Key(0, 1, ".png"))
		want = append(want, fmt.Sprintf("gone%d.png", i))
	}
	text += "gone0.png gone1.png 0\n"
	path := facestest.WriteFile(t, "pairs.txt", text)

	_, err := loadPairs(t.Context(), faces.Of(ds), path, Options{})
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

	d := load(t, ds, text, Options{AllowMissing: true}).Describe()
	if d.Used != 60 || d.MissingPairs != 8 || !slices.Equal(d.Missing, want) {
		t.Errorf("%d pairs, %d missing for %v", d.Used, d.MissingPairs, d.Missing)
	}
}

// Without some of its images LFW keeps its own folds; without a whole fold's it
// cannot.
func TestFoldsWithoutMissingPairs(t *testing.T) {
	dir := facestest.Faces(t)
	ds := storetest.Open(t, dir)
	list := facestest.LFWList()
	one := strings.Replace(list, "P04\t1\t2\n", "P04\t1\t9\n", 1)
	s := load(t, ds, one, Options{AllowMissing: true})
	if s.Folds().Rule != verification.Declared || len(s.compared) != 59 {
		t.Errorf("%s folds of %d pairs, want declared ones of 59", s.Folds().Rule, len(s.compared))
	}
	listed := 0
	for c := range s.Comparisons() {
		if listed == 4*6 { // the pair that is left out
			listed++
		}
		if int(c.Fold) != listed/6 {
			t.Fatalf("pair %d of the list is in fold %d", listed, c.Fold)
		}
		listed++
	}
	whole := list
	for n := 2; n <= facestest.Pictures; n++ {
		whole = strings.Replace(whole, fmt.Sprintf("P04\t1\t%d\n", n), fmt.Sprintf("P04\t1\t%d\n", n+90), 1)
	}
	s = load(t, ds, whole, Options{AllowMissing: true})
	if s.Folds().Rule == verification.Declared || len(s.compared) != 57 {
		t.Errorf("%s folds of %d pairs, one of them without same pairs", s.Folds().Rule, len(s.compared))
	}
}

func TestListSortedByKindIsInterleaved(t *testing.T) {
	lines := strings.Split(strings.TrimSpace(lfwPlain()), "\n")
	slices.SortStableFunc(lines, func(a, b string) int { return strings.Compare(b[len(b)-1:], a[len(a)-1:]) })
	s := load(t, storetest.Open(t, facestest.Faces(t)), strings.Join(lines, "\n"), Options{})
	if s.Folds().Rule != verification.Interleaved {
		t.Errorf("%s folds of a sorted list", s.Folds().Rule)
	}
}

func TestLoadPairsErrors(t *testing.T) {
	ds := storetest.Open(t, facestest.Faces(t))
	same := facestest.Key(0, 1, ".png") + " " + facestest.Key(0, 2, ".png") + " 1\n"
	for name, c := range map[string]struct {
		text string
		want error
	}{
		"malformed":   {"a b 2\n", pairlist.ErrFormat},
		"too few":     {same + same, verification.ErrTooFew},
		"of one kind": {strings.Repeat(same, 20), verification.ErrTooFew},
	} {
		path := facestest.WriteFile(t, "pairs.txt", c.text)
		if _, err := loadPairs(t.Context(), faces.Of(ds), path, Options{}); !errors.Is(err, c.want) || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: error %v, want %v with the file's name", name, err, c.want)
		}
	}
	if _, err := loadPairs(t.Context(), faces.Of(ds), filepath.Join(t.TempDir(), "none"), Options{}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("error %v for a list that is not there", err)
	}
}
