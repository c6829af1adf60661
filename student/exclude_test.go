package student

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"facepipe/internal/vec"
	"facepipe/store"
	"facepipe/store/cache"
	"facepipe/student/data"
)

// A run with --exclude has a centre for each identity that is left, says and records what it
// left out, and goes on only without the same crops, however the list is written.
func TestExcludedRun(t *testing.T) {
	o := options(t, splitWaves(t))
	o.Teacher, o.Loss.Name, o.Epochs, o.Size.Dim = "", "arcface", 1, 16
	path := filepath.Join(t.TempDir(), "hits.csv")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write("train_key,train_identity\n3/3,id3\n2/2,id2\n5/5,\n")
	o.Exclude = FileList{path}
	var said bytes.Buffer
	o.Progress = &said
	if _, err := Distill(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	if got := centres(t, o); !slices.Equal(got, []int{6, 16}) {
		t.Errorf("centres have shape %v", got)
	}
	left := fixtureCrops - 2*fixtureCrops/8 - 1
	var m manifest
	if err := json.Unmarshal([]byte(read(t, o, "run.json")), &m); err != nil || m.Exclude == nil || len(m.Exclude.Digest) != 64 || m.Exclude.Crops != fixtureCrops-left || m.Crops != left {
		t.Errorf("run.json has %+v, %d crops, %v", m.Exclude, m.Crops, err)
	}
	if !strings.Contains(said.String(), "2 identities and 1 keys") {
		t.Errorf("it says %s", said.String())
	}
	if text := read(t, o, "distill.yaml"); !strings.Contains(text, "exclude:\n  - "+path) || !strings.Contains(text, m.Exclude.Digest) {
		t.Errorf("distill.yaml is\n%s", text)
	}

	o.Resume, o.Progress = true, nil
	write("# the same\nid2\n5/5\nid3\n")
	if _, err := Distill(t.Context(), o); err != nil {
		t.Errorf("the same list in other words: %v", err)
	}
	write("id2\n")
	if _, err := Distill(t.Context(), o); !errors.Is(err, ErrUsage) || !strings.Contains(err.Error(), "another exclude") {
		t.Errorf("another list: %v", err)
	}
	without := o
	without.Exclude = nil
	if _, err := Distill(t.Context(), without); !errors.Is(err, ErrUsage) || !strings.Contains(err.Error(), "another exclude") {
		t.Errorf("no list: %v", err)
	}
	write("nobody\n")
	if _, err := Distill(t.Context(), o); !errors.Is(err, ErrUsage) || !strings.Contains(err.Error(), "none of its 1 names") {
		t.Errorf("a list of nobody: %v", err)
	}
}

// Class centres are those of the crops that are left.
func TestCentresOfWhatIsLeft(t *testing.T) {
	dataset := splitWaves(t)
	cacheTeacher(t, dataset, "t", target)
	ds, err := store.Open(dataset)
	if err != nil {
		t.Fatal(err)
	}
	defer ds.Close()
	r := run{ds: ds, o: options(t, dataset), progress: &bytes.Buffer{}}
	kept, err := cache.Open(ds, "t")
	if err != nil {
		t.Fatal(err)
	}
	r.teachers = teachers{names: []string{"t"}, caches: []*cache.Cache{kept}}
	path := filepath.Join(t.TempDir(), "list")
	if err := os.WriteFile(path, []byte("id3\n2/2\n2/10\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if r.excluded, err = data.Exclude(t.Context(), ds, []string{path}); err != nil {
		t.Fatal(err)
	}
	if r.loader, err = data.New(ds, r.teachers.caches, data.Options{Batch: 4, Workers: 1, Exclude: r.excluded}); err != nil {
		t.Fatal(err)
	}
	defer r.loader.Close()
	p, _, _, err := r.centreVectors(t.Context(), kept)
	if err != nil || p.Missing != 0 || len(p.Vectors) != 7*fixtureDim {
		t.Fatalf("%d vectors, %d missing, %v", len(p.Vectors)/fixtureDim, p.Missing, err)
	}
	want := make([]float64, fixtureDim)
	for i := 18; i < fixtureCrops; i += 8 { // of id2 without 2 and 10
		for _, flip := range []int{0, 1}[:map[bool]int{false: 1, true: 2}[kept.Info().Flip]] {
			e := target(i, flip)
			for k := range want {
				want[k] += float64(e[k]) / vec.Norm(e)
			}
		}
	}
	length := vec.Norm(want)
	for k, x := range p.Vectors[2*fixtureDim:][:fixtureDim] {
		if d := float64(x) - want[k]/length; d > 2e-3 || d < -2e-3 {
			t.Fatalf("the centre of id2 is %v, want %v over %v", p.Vectors[2*fixtureDim:][:fixtureDim], want, length)
		}
	}
}

func TestFileList(t *testing.T) {
	var l FileList
	if err := errors.Join(l.Set("a,b.txt"), l.Append("c")); err != nil || len(l.GetSlice()) != 2 || l.Set("") == nil {
		t.Errorf("%q, %v", l, err)
	}
	path := filepath.Join(t.TempDir(), "distill.yaml")
	for text, want := range map[string]FileList{"exclude: a.csv\n": {"a.csv"}, "exclude: [\"a,b\", c]\n": {"a,b", "c"}, "epochs: 1\n": nil} {
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		o := DefaultOptions()
		if err := o.ReadFile(path, nil); err != nil || !slices.Equal(o.Exclude, want) {
			t.Errorf("%q: %q, %v", text, o.Exclude, err)
		}
	}
}
