package protocol

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"facepipe/eval/faces"
	"facepipe/eval/internal/facestest"
	"facepipe/eval/pairlist"
	"facepipe/eval/verification"
	"facepipe/store"
	"facepipe/store/storetest"
)

// named is a dataset of facestest's faces under other keys.
func named(t *testing.T, key func(person, number int) string) *store.Dataset {
	t.Helper()
	var crops []store.Crop
	for p := range facestest.People {
		for n := range facestest.Pictures {
			crops = append(crops, facestest.Crop(key(p, n+1), p, n+1))
		}
	}
	return storetest.Open(t, facestest.WriteDataset(t, crops))
}

// namedPairs is a list of pairs of all faces by their names.
func namedPairs(name func(person, number int) string) string {
	var b strings.Builder
	for p := range facestest.People {
		for n := 2; n <= facestest.Pictures; n++ {
			fmt.Fprintf(&b, "%s\t%s\t1\n", name(p, 1), name(p, n))
			fmt.Fprintf(&b, "%s\t%s\t0\n", name(p, n), name((p+1)%facestest.People, n))
		}
	}
	return b.String()
}

func key(format string) func(person, number int) string {
	return func(person, number int) string {
		return strings.NewReplacer("PERSON", fmt.Sprintf("P%02d", person), "N", fmt.Sprint(number)).Replace(format)
	}
}

func TestNamesAreMatched(t *testing.T) {
	tests := []struct {
		name, list, key string
		note            string
	}{
		{"as it stands", "PERSON/N.png", "PERSON/N.png", ""},
		{"dot", "./PERSON/N.png", "PERSON/N.png", "in another writing of the path or its accents: ./P00/1.png is read as the key P00/1.png"},
		{"up and down", "../x/../PERSON//N.png", "PERSON/N.png", "in another writing"},
		{"Windows", `PERSON\N.png`, "PERSON/N.png", "in another writing"},
		{"drive", `C:\faces\PERSON\N.png`, "PERSON/N.png", "without the list's folders in front"},
		{"absolute", "/home/a b/faces/PERSON/N.png", "PERSON/N.png", "without the list's folders in front"},
		{"as a URL", "file:///faces/PERSON/N.png", "PERSON/N.png", "without the list's folders in front"},
		{"folders of the dataset", "PERSON/N.png", "lfw/deep/PERSON/N.png", "below the dataset's folders in front"},
		{"folders of both", "/data/PERSON/N.png", "lfw/PERSON/N.png", "without the list's folders in front and below the dataset's folders in front"},
		{"names like extensions", "/jpg/PERSON/jpgN.jpg", "x/PERSON/jpgN.png", "with another extension"},
		{"names alone", "PERSON_N.png", "PERSON/PERSON_N.png", "below the dataset's folders"},
		{"flat dataset", "PERSON/PERSON_N.png", "PERSON_N.png", "without the list's folders"},
		{"extension", "PERSON/N.jpg", "PERSON/N.png", "40 of 40 images are matched with another extension: P00/1.jpg is read as the key P00/1.png"},
		{"extension in capitals", "PERSON/N.JPG", "PERSON/N.jpg", "in another writing"},
		{"no extension", "PERSON/N", "PERSON/N.png", "in another writing"},
		{"composed for decomposed", "Jos\u00e9/PERSON/N.png", "Jose\u0301/PERSON/N.png", "in another writing"},
		{"decomposed for composed", "Jose\u0301/PERSON/N.png", "Jos\u00e9/PERSON/N.png", "in another writing"},
		{"all at once", `.\a\Jos` + "\u00e9" + `\PERSON\N.jpg`, "b/Jose\u0301/PERSON/N.png", "with another extension"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p := load(t, named(t, key(tt.key)), namedPairs(key(tt.list)), Options{})
			d := p.Describe()
			if d.Used != 60 || d.Crops != 40 {
				t.Errorf("%d pairs, %d crops", d.Used, d.Crops)
			}
			for c := range p.Comparisons() {
				if c.Same != (p.identities[c.First] == p.identities[c.Second]) {
					t.Fatalf("%s and %s: same %v", p.names[c.First], p.names[c.Second], c.Same)
				}
			}
			if (tt.note == "") != (len(d.Notes) == 0) || !strings.Contains(fmt.Sprint(d.Notes), tt.note) {
				t.Errorf("notes %v, want %q", d.Notes, tt.note)
			}
		})
	}
}

// LFW's names lack the extension, and may stand in a flat dataset.
func TestLFWNamesAreMatched(t *testing.T) {
	p := load(t, named(t, key("lfw/PERSON_000N.jpg")), facestest.LFWList(), Options{})
	if d := p.Describe(); d.Used != 60 || len(d.Notes) != 1 || p.Folds().Rule != verification.Declared {
		t.Errorf("%+v, %s folds", d, p.Folds().Rule)
	}
}

func TestNamesThatAreNotMatched(t *testing.T) {
	tests := []struct {
		name, list, key, want string
	}{
		{"another folder", "PERSON/N.png", "PERSON/frontal_N.png", `the list's "P00/1.png" is unlike the dataset's nearest key "P00/frontal_1.png"`},
		{"another number", "PERSON/PERSON_000N.png", "PERSON/PERSON_N.png", `unlike the dataset's nearest key "P00/P00_`},
		{"another folder of each person", "xPERSON/PERSON_N.png", "PERSON/PERSON_N.png", "40 of 40 images"},
		{"one name for all people", "PERSON/N.png", "N/PERSON.png", "40 of 40 images"},
		{"several names for a key", "PERSON/x/N.png", "N.png", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			ds := named(t, func(p, n int) string {
				if tt.want == "" && p > 0 {
					return fmt.Sprintf("other/%d_%d.png", p, n)
				}
				return key(tt.key)(p, n)
			})
			_, err := loadPairs(t.Context(), faces.Of(ds), facestest.WriteFile(t, "pairs.txt", namedPairs(key(tt.list))), Options{})
			var missing *MissingError
			if !errors.As(err, &missing) || len(missing.Images) != 40 || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want one with %q", err, tt.want)
			}
		})
	}
}

// A name that two keys are as near to has none, nor has one whose key is another's.
func TestAmbiguousNames(t *testing.T) {
	crops := func(keys ...string) *store.Dataset {
		var all []store.Crop
		for p := range facestest.People {
			for n := range facestest.Pictures {
				all = append(all, facestest.Crop(facestest.Key(p, n+1, ".png"), p, n+1))
			}
		}
		for i, k := range keys {
			all = append(all, facestest.Crop(k, 20+i, 1))
		}
		return storetest.Open(t, facestest.WriteDataset(t, all))
	}
	tests := []struct {
		name string
		keys []string
		line string
		want string
	}{
		{"two extensions", []string{"x.png", "x.bmp"}, "x.jpg", `the list's "x.jpg" may be any of the dataset's x.png, x.bmp`},
		{"two accents", []string{"\u00e9e\u0301.png", "e\u0301\u00e9.png"}, "\u00e9\u00e9.png", "may be any of"},
		{"another name's key", []string{"x.png"}, "x.png x.jpg 1\n" + facestest.Key(0, 1, ".png"), `"x.jpg" is unlike`},
		{"folders, though others are found", []string{"x/y.png"}, "y.png", `"y.png" is unlike`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			text := lfwPlain() + tt.line + " " + facestest.Key(0, 1, ".png") + " 0\n"
			_, err := loadPairs(t.Context(), faces.Of(crops(tt.keys...)), facestest.WriteFile(t, "pairs.txt", text), Options{})
			var missing *MissingError
			if !errors.As(err, &missing) || len(missing.Images) != 1 || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want one with %q", err, tt.want)
			}
		})
	}
	text := lfwPlain() + "./x.jpg " + facestest.Key(0, 1, ".png") + " 0\n"
	d := load(t, crops("x.jpg", "x.png", "y/x.jpg"), text, Options{}).Describe()
	if len(d.Notes) != 1 || !strings.Contains(d.Notes[0].Text, "1 of 41 images are matched in another writing of the path or its accents: ./x.jpg is read as the key x.jpg") {
		t.Errorf("notes %v", d.Notes)
	}
}

// CALFW's lists have all same pairs first; the published folds are the first 300 of each
// kind, the next 300 and so on.
func TestTwoLinesAreDealtOut(t *testing.T) {
	var b strings.Builder
	for _, label := range []int{1, 0} {
		for p := range facestest.People {
			for n := 2; n <= facestest.Pictures; n++ {
				fmt.Fprintf(&b, "P%02d_%d.jpg %d\nP%02d_%d.jpg %d\n", p, n-label, label, (p+1-label)%facestest.People, n, label)
			}
		}
	}
	p := load(t, named(t, key("aligned images/PERSON_N.jpg")), b.String(), Options{})
	at := 0
	for c := range p.Comparisons() {
		if c.Same != (at < 30) || int(c.Fold) != at%30/3 {
			t.Fatalf("pair %d: %+v", at, c)
		}
		at++
	}
	if d := p.Describe(); d.Format != "two-lines" || at != 60 || len(d.Notes) != 2 {
		t.Errorf("%d pairs, %+v", at, d)
	}
}

func TestLabelsAgainstIdentities(t *testing.T) {
	ds := storetest.Open(t, facestest.Faces(t))
	opposite := strings.NewReplacer(" 1\n", " 0\n", " 0\n", " 1\n").Replace(lfwPlain())
	path := facestest.WriteFile(t, "pairs.txt", opposite)
	if _, err := loadPairs(t.Context(), faces.Of(ds), path, Options{}); !errors.Is(err, pairlist.ErrFormat) || !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), "30 same pairs 30 have two identities") {
		t.Errorf("error %v for labels that mean the opposite", err)
	}
	one := fmt.Sprintf("%s %s 0\n", facestest.Key(0, 1, ".png"), facestest.Key(0, 2, ".png"))
	d := load(t, ds, lfwPlain()+one, Options{}).Describe()
	if len(d.Notes) != 1 || !strings.Contains(d.Notes[0].Text, "two identities to 0 of 30 same pairs and one to 1 of 31 different pairs") {
		t.Errorf("notes %v", d.Notes)
	}
	var b strings.Builder
	d.PrintNotes(&b)
	if want := "note: pair list " + filepath.Clean(d.Path) + ": identities: the dataset"; !strings.HasPrefix(b.String(), want) {
		t.Errorf("printed %q, want %q", b.String(), want)
	}
	b.Reset()
	Description{Path: "a\nwarning: b", Notes: []Note{{"Images", "c\nd"}}}.PrintNotes(&b)
	if got := b.String(); strings.Count(got, "\n") != 1 {
		t.Errorf("what a file says stands as a line of its own: %q", got)
	}
	d.PrintNotes(nil)
}
