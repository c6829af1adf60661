package data

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// list writes a list.
func list(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "list")
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

// person are the rows of an identity of the fixture.
func person(p int) (rows []int) {
	for i := p; i < crops; i += 4 {
		rows = append(rows, i)
	}
	return rows
}

func TestExclude(t *testing.T) {
	ds, _ := fixture(t, false)
	union := func(lists ...[]int) []int {
		all := slices.Concat(lists...)
		slices.Sort(all)
		return slices.Compact(all)
	}
	for name, c := range map[string]struct {
		text    string
		rows    []int
		unknown int
	}{
		"identities and keys":     {"p1\np2/2\n", union(person(1), []int{2}), 0},
		"comments, empty, CRLF":   {"\ufeff# drop\r\n\r\np1\r\n   \n# p2\np3/7", union(person(1), []int{7}), 0},
		"twice":                   {"p1\np1\np1/5\n", person(1), 0},
		"unknown ones":            {"p1\nnobody\np2/999\np2 \n", person(1), 3},
		"eval's list of overlaps": {"by,test_key,test_identity,train_key,train_identity,cosine,pairs\ncentre,p3/3,p3,p1/1,p1,0.9,1\nimage,p3/3,p3,p2/2,,0.9,1\n", union(person(1), []int{2}), 0},
		"its header alone":        {"by,test_key,test_identity,train_key,train_identity,cosine,pairs\n", nil, 0},
		"nothing":                 {"# none\n", nil, 0},
		"other columns":           {"# mine\nidentity;why\np1;\"wrong; twice\"\n", person(1), 0},
		"keys by tabs":            {"key\tidentity\np1/1\t\n\tp2\n", union([]int{1}, person(2)), 0},
		"a key is no identity":    {"key\np1/1\np2\n", []int{1}, 1},
		"an identity is no key":   {"identity\np1\np2/2\n", person(1), 1},
	} {
		e, err := Exclude(t.Context(), ds, []string{list(t, c.text)})
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if !slices.Equal(e.Rows, c.rows) || e.Lists[0].Unknown != c.unknown {
			t.Errorf("%s: rows %v and %d unknown, want %v and %d", name, e.Rows, e.Lists[0].Unknown, c.rows, c.unknown)
		}
		if said := strings.Join(e.Describe(), "\n"); strings.Contains(said, "warning") != (c.unknown > 0) || !strings.Contains(said, fmt.Sprintf("%d crops", len(c.rows))) {
			t.Errorf("%s: says %s", name, said)
		}
	}
	// Several lists add up; what they come to has a digest, however it was written.
	both, err := Exclude(t.Context(), ds, []string{list(t, "p1"), list(t, "p2/2\np1/1")})
	if err != nil || !slices.Equal(both.Rows, union(person(1), []int{2})) {
		t.Fatalf("two lists: %v, %v", both, err)
	}
	one, err := Exclude(t.Context(), ds, []string{list(t, "p2/2\np1")})
	if err != nil || one.Digest() != both.Digest() || one.Digest() == (&Exclusion{}).Digest() {
		t.Errorf("digests %v and %v, %v", one.Digest(), both.Digest(), err)
	}
}

func TestExcludeRefuses(t *testing.T) {
	ds, _ := fixture(t, false)
	for text, want := range map[string]string{
		"nobody\nnowhere\n":                 "has none of its 2 names",
		"\x89PNG\x00\x01":                   "line 1",
		"ab\xff\n":                          "line 1",
		"train_key,train_identity\n,\n":     "line 2: it names neither",
		"train_key,train_identity\na,b,c":   "wrong number of fields",
		"p1\n" + strings.Repeat("x", 70000): "line of more than",
	} {
		if _, err := Exclude(t.Context(), ds, []string{list(t, text)}); !errors.Is(err, ErrOptions) || !strings.Contains(err.Error(), want) {
			t.Errorf("%.20q: %v, want %q", text, err, want)
		}
	}
	if _, err := Exclude(t.Context(), ds, []string{"/no/such/list"}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a list that is not there: %v", err)
	}
}

// Batches are made of the other crops alone, whatever draws them, and identities that lost all
// of theirs have no number.
func TestExcludedAreNotDrawn(t *testing.T) {
	ds, teacher := fixture(t, false)
	e, err := Exclude(t.Context(), ds, []string{list(t, "p1\np2/2\n")})
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range []Options{
		{Batch: 3}, {Batch: 3, Window: 5}, {Batch: 4, Sampler: ClassBalanced, PerIdentity: 2}, {Batch: 4, Sampler: Mixed, PerIdentity: 2}, {Batch: 3, Split: "train"},
	} {
		o.Exclude, o.Workers, o.Seed = e, 1, 4
		seen := map[int64]bool{}
		for _, b := range collect(t, ds, teacher, o, 0, 30) {
			for i, row := range b.Rows {
				seen[row] = true
				want := map[int64]int32{0: 0, 2: 1, 3: 2}[row%4]
				if _, out := slices.BinarySearch(e.Rows, int(row)); out || b.Labels[i] != want {
					t.Fatalf("%+v: row %d has label %d, want %d; excluded: %v", o, row, b.Labels[i], want, out)
				}
			}
		}
		l, err := New(ds, only(teacher), o)
		if err != nil {
			t.Fatal(err)
		}
		left, labels, out := crops-7, []int32{0, 2, 3}, 7
		if o.Split != "" {
			left, labels = left-len(person(3)), []int32{0, 2}
		}
		if l.Crops() != left || len(seen) != left || l.Labels() != len(labels) || !slices.Equal(l.DatasetLabels(), labels) || l.Excluded() != out || l.Holds(2) || !l.Holds(6) {
			t.Errorf("%+v: %d crops, %d seen, %d identities %v, %d excluded", o, l.Crops(), len(seen), l.Labels(), l.DatasetLabels(), l.Excluded())
		}
		l.Close()
	}
	if _, err := New(ds, only(teacher), Options{Batch: 17, Exclude: e, Workers: 1}); !errors.Is(err, ErrOptions) || !strings.Contains(err.Error(), "16 crops to train on") {
		t.Errorf("a batch of more than is left: %v", err)
	}
}

// Lists that take nothing out change nothing.
func TestExcludeNothing(t *testing.T) {
	ds, teacher := fixture(t, false)
	e, err := Exclude(t.Context(), ds, []string{list(t, "# nobody")})
	if err != nil {
		t.Fatal(err)
	}
	a := collect(t, ds, teacher, Options{Batch: 5, Workers: 1, Exclude: e}, 0, 8)
	b := collect(t, ds, teacher, Options{Batch: 5, Workers: 1}, 0, 8)
	for i := range a {
		if !slices.Equal(a[i].Rows, b[i].Rows) || !slices.Equal(a[i].Labels, b[i].Labels) {
			t.Fatalf("batch %d is another", i)
		}
	}
}

// without is what a set says.
func TestWithout(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for range 300 {
		n := rng.IntN(40)
		var split []int
		if rng.IntN(2) == 0 {
			split = []int{}
		}
		var e Exclusion
		var want []int
		for row := range n {
			in := split == nil || rng.IntN(2) == 0
			if in && split != nil {
				split = append(split, row)
			}
			if rng.IntN(3) == 0 {
				e.Rows = append(e.Rows, row)
			} else if in {
				want = append(want, row)
			}
		}
		if got := without(slices.Clone(split), n, &e); !slices.Equal(got, want) {
			t.Fatalf("%v without %v of %d is %v, want %v", split, e.Rows, n, got, want)
		}
	}
}
