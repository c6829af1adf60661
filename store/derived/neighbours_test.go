package derived_test

import (
	"cmp"
	"errors"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"facepipe/store"
	"facepipe/store/cache"
	"facepipe/store/check"
	"facepipe/store/derived"
	"facepipe/store/info"
	"facepipe/store/storetest"
)

// embedded is a dataset of n crops with a cache.
func embedded(t testing.TB, n int, teacher cache.Info, spoil storetest.Spoil) string {
	t.Helper()
	dir := storetest.Build(t, n, 8)
	storetest.Embed(t, storetest.Open(t, dir), teacher, -1, spoil)
	return dir
}

// few are neighbours in tables of a few rows each.
func few(k int) derived.NeighboursOptions { return derived.NeighboursOptions{K: k}.InParts(16, 2) }

func deriveNeighbours(t testing.TB, dir string, o derived.NeighboursOptions) derived.NeighboursSummary {
	t.Helper()
	s, err := derived.DeriveNeighbours(t.Context(), dir, "r50", o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func mustNeighbours(t testing.TB, dir string, k int) *derived.Neighbours {
	t.Helper()
	n, err := derived.OpenNeighbours(t.Context(), storetest.Cache(t, storetest.Open(t, dir), "r50"), k, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { storetest.Close(t, n) })
	return n
}

// sameNeighbours compares the lists with what their definition gives.
func sameNeighbours(t testing.TB, dir string, n *derived.Neighbours) {
	t.Helper()
	all, _, labels := allEmbeddings(t, dir)
	if n.Len() != len(all) {
		t.Fatalf("neighbours of %d rows, want %d", n.Len(), len(all))
	}
	for row := range all {
		var others, own []derived.Neighbour
		for i, e := range all {
			if i == row || e[0] == nil || all[row][0] == nil {
				continue
			}
			one := derived.Neighbour{Row: i, Cosine: float32(cosineOf(all[row][0], e[0]))}
			if labels[i] == labels[row] && labels[i] != store.NoLabel {
				own = append(own, one)
			} else {
				others = append(others, one)
			}
		}
		for what, list := range map[string]struct {
			get  func(int, []derived.Neighbour) ([]derived.Neighbour, error)
			want []derived.Neighbour
		}{"others": {n.Others, others}, "own": {n.Own, own}} {
			slices.SortStableFunc(list.want, func(a, b derived.Neighbour) int { return cmp.Compare(b.Cosine, a.Cosine) })
			got, err := list.get(row, nil)
			if err != nil || len(got) != min(n.K(), len(list.want)) {
				t.Fatalf("row %d: %d %s of %d, %v", row, len(got), what, len(list.want), err)
			}
			for i, g := range got {
				if w := list.want[i]; g.Row != w.Row || math.Abs(float64(g.Cosine-w.Cosine)) > 1e-6 {
					t.Fatalf("row %d, %s: %v, want %v", row, what, got, list.want)
				}
			}
		}
	}
}

// unlabelled adds crops of nobody to a dataset, and their embeddings.
func unlabelled(t testing.TB, dir string, about cache.Info, from, to int) {
	t.Helper()
	w := storetest.Writer(t, dir, 8)
	source := w.AddSource(storetest.Source)
	for i := from; i < to; i++ {
		c := storetest.Crop(source, i)
		c.Identity = ""
		if _, err := w.Append(c); err != nil {
			t.Fatal(err)
		}
	}
	storetest.Close(t, w)
	storetest.Embed(t, storetest.Open(t, dir), about, -1, storetest.SpoilSome)
}

func TestNeighbours(t *testing.T) {
	for _, about := range []cache.Info{storetest.Info(cache.FP16, true), storetest.Info(cache.FP32, false)} {
		dir := embedded(t, 40, about, storetest.SpoilSome)
		unlabelled(t, dir, about, 40, 60)
		s := deriveNeighbours(t, dir, few(7))
		if s.K != 7 || s.Rows != 60 || s.Unusable != 12 || s.Unlabelled != 25 || !s.Exact || s.Recall != 1 || s.Reused || s.Bytes == 0 {
			t.Errorf("summary %+v", s)
		}
		n := mustNeighbours(t, dir, 7)
		sameNeighbours(t, dir, n)
		if again := deriveNeighbours(t, dir, few(5)); !again.Reused || again.K != 7 {
			t.Errorf("fewer than there are: %+v", again)
		}
		fewer := mustNeighbours(t, dir, 3)
		if got, err := fewer.Others(0, nil); err != nil || len(got) != 3 || fewer.K() != 3 {
			t.Errorf("three of seven: %v, %v", got, err)
		}
		storetest.CleanCheck(t, dir)
	}
}

// The bytes do not depend on the number of processors.
func TestNeighboursOnManyProcessors(t *testing.T) {
	about := storetest.Info(cache.FP16, true)
	for _, upTo := range []int{1000, 1} {
		one, many := embedded(t, 200, about, storetest.SpoilSome), embedded(t, 200, about, storetest.SpoilSome)
		s := deriveNeighbours(t, one, derived.NeighboursOptions{K: 5, ExactUpTo: upTo}.InParts(64, 1))
		deriveNeighbours(t, many, derived.NeighboursOptions{K: 5, ExactUpTo: upTo}.InParts(64, 9))
		storetest.SameContents(t, many, one)
		if s.Recall < 0.9 {
			t.Errorf("up to %d: %+v", upTo, s)
		}
	}
}

// Tables that were found by lists do not do where all are to be compared; those of all do anywhere.
func TestNeighboursThatWillDo(t *testing.T) {
	dir := embedded(t, 60, storetest.Info(cache.FP16, true), func(row int, e []float32) {
		for i := range e { // two heaps, so that a list is enough
			e[i] = e[i]/100 + float32(row%2*2-1)*float32(i%2*2-1)
		}
	})
	lists := few(3)
	lists.ExactUpTo = 1
	s := deriveNeighbours(t, dir, lists)
	if s.Exact || s.Lists < 3 || s.Recall <= 0 {
		t.Fatalf("by lists: %+v", s)
	}
	if s := deriveNeighbours(t, dir, lists); !s.Reused {
		t.Errorf("again: %+v", s)
	}
	if s := deriveNeighbours(t, dir, few(3)); s.Reused || !s.Exact {
		t.Errorf("of all: %+v", s)
	}
	if s := deriveNeighbours(t, dir, lists); !s.Reused || !s.Exact {
		t.Errorf("by lists, of all there: %+v", s)
	}
	if s := deriveNeighbours(t, dir, few(4)); s.Reused || s.K != 4 {
		t.Errorf("more: %+v", s)
	}
	sameNeighbours(t, dir, mustNeighbours(t, dir, 4))
	if tables, _ := filepath.Glob(filepath.Join(dir, "teachers", "r50", "neighbours", "*.arrow")); len(tables) != 4 {
		t.Errorf("left %v", tables)
	}
	storetest.CleanCheck(t, dir)
}

// An interrupted call goes on after what it has committed, unless that is damaged or of another
// state of the cache.
func TestNeighboursResume(t *testing.T) {
	about := storetest.Info(cache.FP16, true)
	whole := embedded(t, 60, about, nil)
	deriveNeighbours(t, whole, few(5))
	folder := func(dir string) string { return filepath.Join(dir, "teachers", "r50", "neighbours") }
	for name, c := range map[string]struct {
		hurt    func(dir string) // of a folder that lacks the manifest, and has two parts of four
		resumed int
	}{
		"stopped":          {func(string) {}, 32},
		"a damaged table":  {func(dir string) { storetest.FlipBit(t, glob(t, dir, "*-000001-*.arrow"), 900) }, 16},
		"a damaged part":   {func(dir string) { storetest.Truncate(t, glob(t, dir, "*-000000-*.part")) }, 16},
		"a table too few":  {func(dir string) { remove(t, glob(t, dir, "*-000000-*.arrow")) }, 16},
		"a part too few":   {func(dir string) { remove(t, glob(t, dir, "*-000001-*.part")) }, 16},
		"something is new": {func(string) {}, 0},
	} {
		dir := embedded(t, 60, about, nil)
		err := derived.StopNeighbours(t.Context(), dir, "r50", few(5), 2)
		if !errors.Is(err, derived.ErrStopped) {
			t.Fatal(name, err)
		}
		if r := storetest.CleanCheck(t, dir); !r.OK {
			t.Errorf("%s: %+v", name, r)
		}
		c.hurt(folder(dir))
		want := whole
		if name == "something is new" {
			want = embedded(t, 60, about, nil)
			for _, dir := range []string{dir, want} {
				w := storetest.Writer(t, dir, 8)
				storetest.Ingest(t, w, storetest.Source, 60, 70)
				storetest.Close(t, w)
				storetest.Embed(t, storetest.Open(t, dir), about, -1, nil)
			}
			deriveNeighbours(t, want, few(5))
		}
		if s := deriveNeighbours(t, dir, few(5)); s.Resumed != c.resumed || s.Reused {
			t.Errorf("%s: %+v, want %d resumed", name, s, c.resumed)
		}
		storetest.SameContents(t, dir, want)
	}
}

func glob(t testing.TB, dir, pattern string) string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(dir, pattern))
	if err != nil || len(found) != 1 {
		t.Fatalf("%s: %v, %v", pattern, found, err)
	}
	return found[0]
}

func remove(t testing.TB, path string) {
	t.Helper()
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
}

// They follow the cache.
func TestNeighboursFollow(t *testing.T) {
	about := storetest.Info(cache.FP16, true)
	dir := embedded(t, 20, about, nil)
	deriveNeighbours(t, dir, few(4))
	open := mustNeighbours(t, dir, 4)
	w := storetest.Writer(t, dir, 8)
	storetest.Ingest(t, w, storetest.Source, 20, 40)
	storetest.Close(t, w)
	if _, err := derived.DeriveNeighbours(t.Context(), dir, "r50", few(4)); err == nil || !strings.Contains(err.Error(), "precompute-teacher") {
		t.Errorf("of half a cache: %v", err)
	}
	storetest.Embed(t, storetest.Open(t, dir), about, -1, nil)
	if r := storetest.CleanCheck(t, dir); !strings.Contains(strings.Join(r.Notes, "\n"), "neighbours") {
		t.Errorf("nothing is noted of old neighbours: %q", r.Notes)
	}
	if list, err := info.Caches(dir); err != nil || list[0].Neighbours != "outdated" {
		t.Errorf("state %+v, %v", list, err)
	}
	sameNeighbours(t, dir, mustNeighbours(t, dir, 4))
	if list, err := info.Caches(dir); err != nil || list[0].Neighbours != "current" || list[0].NeighboursBytes == 0 {
		t.Errorf("state %+v, %v", list, err)
	}
	if got, err := open.Others(19, nil); err != nil || len(got) != 4 {
		t.Errorf("who had the old ones open: %v, %v", got, err)
	}
	if _, err := cache.Drop(dir, "r50", false); err != nil {
		t.Error(err)
	}
}

// Damage is found by check, and what was derived is derived again.
func TestNeighboursDamaged(t *testing.T) {
	whole := embedded(t, 20, storetest.Info(cache.FP16, true), nil)
	deriveNeighbours(t, whole, few(4))
	for _, pattern := range []string{"neighbours.json", "*-000001-*.arrow"} {
		for what, hurt := range map[string]func(path string){
			"bit":   func(path string) { storetest.FlipBit(t, path, 200) },
			"short": func(path string) { storetest.Truncate(t, path) },
			"gone":  func(path string) { remove(t, path) },
		} {
			dir := filepath.Join(t.TempDir(), "d")
			if err := os.CopyFS(dir, os.DirFS(whole)); err != nil {
				t.Fatal(err)
			}
			hurt(glob(t, filepath.Join(dir, "teachers", "r50", "neighbours"), pattern))
			r, err := check.Run(t.Context(), dir, check.Options{ReadData: true})
			if err != nil || r.OK != (pattern == "neighbours.json" && what == "gone") {
				t.Errorf("%s, %s: %+v, %v", pattern, what, r, err)
			}
			o := few(4)
			o.Rebuild = what == "bit"
			deriveNeighbours(t, dir, o)
			storetest.SameContents(t, dir, whole)
			storetest.CleanCheck(t, dir)
		}
	}
}

func TestNeighboursOfNothing(t *testing.T) {
	empty := filepath.Join(t.TempDir(), "d")
	storetest.Close(t, storetest.Writer(t, empty, 8))
	storetest.Embed(t, storetest.Open(t, empty), storetest.Info(cache.FP16, true), -1, nil)
	if s := deriveNeighbours(t, empty, few(4)); s.Rows != 0 || s.Bytes != 0 {
		t.Errorf("of nothing: %+v", s)
	}
	if s := deriveNeighbours(t, empty, few(4)); !s.Reused {
		t.Errorf("again: %+v", s)
	}
	storetest.CleanCheck(t, empty)
	dir := storetest.Build(t, 10, 8)
	if _, err := derived.DeriveNeighbours(t.Context(), dir, "r50", few(4)); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("without a cache: %v", err)
	}
	for _, o := range []derived.NeighboursOptions{{K: -1}, {K: derived.MaxNeighbours + 1}, {ExactUpTo: -1}} {
		if _, err := derived.DeriveNeighbours(t.Context(), dir, "r50", o); err == nil {
			t.Errorf("%+v was taken", o)
		}
	}
}
