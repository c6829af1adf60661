package ingest_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"facepipe/ingest"
	"facepipe/internal/imgcodec"
)

// people is a folder of aligned crops: two photographs of each, other pixels for each seed.
func people(t *testing.T, seed uint64, names ...string) string {
	t.Helper()
	files := map[string][]byte{}
	for i, name := range names {
		for k := range 2 {
			key := fmt.Sprintf("%s/%d_%d.png", name, seed, k)
			files[key] = imgcodec.EncodePNG(photo(seed+uint64(2*i+k), 112, 112, 8, 8))
		}
	}
	return folder(t, files)
}

// listOf is a manifest of a folder's people, two photographs each, under labels of its own.
func listOf(t *testing.T, root string, seed uint64, file string, labels map[string]string) string {
	t.Helper()
	text := "path,label\n"
	for name, label := range labels {
		for k := range 2 {
			text += fmt.Sprintf("%s/%d_%d.png,%s\n", name, seed, k, label)
		}
	}
	path := filepath.Join(root, file)
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

// Numbers of two sources are different people, in one run and in two.
func TestRunKeepsPeopleApart(t *testing.T) {
	a, b := people(t, 1, "0", "1", "Ann"), people(t, 100, "1", "2", "Ann")
	deep, deeper := people(t, 200, "train/7"), people(t, 300, "train/7")
	set := filepath.Join(t.TempDir(), "set")
	other := filepath.Join(t.TempDir(), "set")
	for dir, seed := range map[string]uint64{set: 400, other: 500} {
		if err := os.Rename(people(t, seed, "x", "y"), dir); err != nil {
			t.Fatal(err)
		}
	}
	first := listOf(t, set, 400, "first.csv", map[string]string{"x": "5"})
	second := listOf(t, set, 400, "second.csv", map[string]string{"y": "5"})
	foreign := listOf(t, other, 500, "list.csv", map[string]string{"x": "5"})
	for _, tt := range []struct {
		name       string
		a, b       string
		identities int // of both, if they go together
		mixed      string
	}{
		{"folders with a number in common", "folder=" + a, "folder=" + b, 0, "number: 1:"},
		{"folders with numbers apart", "folder=" + a, "folder=" + people(t, 600, "2", "Ann"), 4, ""},
		{"numbers below a name", "folder=" + deep, "folder=" + deeper, 0, "train/7"},
		{"one folder in two words", "folder=" + a, "folder=" + filepath.Join(a, "..", filepath.Base(a)), 3, ""},
		{"lists of one set", "manifest=" + first, "manifest=" + second, 1, ""},
		{"lists of two sets of one name", "manifest=" + first, "manifest=" + foreign, 0, "set/"},
		{"names", "folder=" + people(t, 700, "Ann", "n000017"), "folder=" + people(t, 800, "Ann", "n000017"), 2, ""},
	} {
		for how, runs := range map[string][][]string{"at once": {{tt.a, tt.b}}, "one after the other": {{tt.a}, {tt.b}}} {
			out := filepath.Join(t.TempDir(), "faces.ds")
			var err error
			var before, s ingest.Summary
			for _, sources := range runs {
				before = s
				if s, err = run(t, ingest.Options{Sources: sources, Out: out}); err != nil {
					break
				}
			}
			switch {
			case tt.mixed == "":
				if err != nil || s.Identities != tt.identities {
					t.Errorf("%s, %s: %d identities, %v", tt.name, how, s.Identities, err)
				}
				// The same again, and each by itself, are nothing new.
				for _, sources := range [][]string{{tt.a, tt.b}, {tt.a}, {tt.b}} {
					if again, err := run(t, ingest.Options{Sources: sources, Out: out}); err != nil || again.Digest != s.Digest {
						t.Errorf("%s, %s, again %q: %v", tt.name, how, sources, err)
					}
				}
			case err == nil || !strings.Contains(err.Error(), tt.mixed) || !strings.Contains(err.Error(), "prefix") || !strings.Contains(err.Error(), "--same-people"):
				t.Errorf("%s, %s: %v, want %q", tt.name, how, err, tt.mixed)
			default:
				_, statErr := os.Stat(out)
				if len(runs) == 1 && !errors.Is(statErr, os.ErrNotExist) {
					t.Errorf("%s, %s: the dataset was begun", tt.name, how)
				}
				if len(runs) == 2 {
					if again := mustRun(t, ingest.Options{Sources: []string{tt.a}, Out: out}); again.Digest != before.Digest {
						t.Errorf("%s, %s: the dataset changed", tt.name, how)
					}
				}
				prefixed := mustRun(t, ingest.Options{Sources: []string{tt.b}, Out: out, KeyPrefixes: []string{"b/"}})
				again := mustRun(t, ingest.Options{Sources: []string{tt.b}, Out: out, KeyPrefixes: []string{"b/"}})
				if prefixed.Written == 0 || again.Written != 0 || again.Digest != prefixed.Digest {
					t.Errorf("%s, %s, with a prefix: %+v, then %+v", tt.name, how, prefixed, again)
				}
				joined := mustRun(t, ingest.Options{Sources: []string{tt.a, tt.b}, Out: filepath.Join(t.TempDir(), "joined.ds"), SamePeople: true})
				if want := map[string]int{"folder=" + a: 4}[tt.a]; want != 0 && joined.Identities != want {
					t.Errorf("%s: as the same people %d identities", tt.name, joined.Identities)
				}
			}
		}
	}
}

// A source that brings a new number of another's is refused, even if it was ingested before; what
// a run was told to join stays joined.
func TestRunKeepsGrownSourcesApart(t *testing.T) {
	a, b := people(t, 1, "0", "1"), people(t, 100, "2")
	out := filepath.Join(t.TempDir(), "faces.ds")
	mustRun(t, ingest.Options{Sources: []string{"folder=" + a, "folder=" + b}, Out: out})
	if err := os.Rename(filepath.Join(people(t, 200, "0"), "0"), filepath.Join(b, "0")); err != nil {
		t.Fatal(err)
	}
	o := ingest.Options{Sources: []string{"folder=" + b}, Out: out}
	if _, err := run(t, o); err == nil || !strings.Contains(err.Error(), "the dataset's source folder="+a) {
		t.Errorf("error %v", err)
	}
	o.SamePeople = true
	if s := mustRun(t, o); s.Written != 2 || s.Identities != 3 {
		t.Errorf("%+v", s)
	}
	o.SamePeople = false
	if err := os.Rename(filepath.Join(people(t, 300, "3"), "3"), filepath.Join(b, "3")); err != nil {
		t.Fatal(err)
	}
	if s := mustRun(t, o); s.Written != 2 || s.Identities != 4 {
		t.Errorf("a new person: %+v", s)
	}
	// One prefix for all keeps nothing apart.
	c := people(t, 400, "0")
	o = ingest.Options{Sources: []string{"folder=" + a, "folder=" + c}, Out: filepath.Join(t.TempDir(), "p.ds"), KeyPrefixes: []string{"p"}}
	if _, err := run(t, o); err == nil || !strings.Contains(err.Error(), "p0") {
		t.Errorf("one prefix: %v", err)
	}
	if _, err := ingest.MakePlan(t.Context(), o, filepath.Join(t.TempDir(), "job"), 0); err == nil || !strings.Contains(err.Error(), "p0") {
		t.Errorf("a plan: %v", err)
	}
	o = ingest.Options{Sources: []string{"folder=" + c}, Out: out}
	if _, err := ingest.MakePlan(t.Context(), o, filepath.Join(t.TempDir(), "job"), 0); err == nil || !strings.Contains(err.Error(), "the dataset's source") {
		t.Errorf("a plan to append: %v", err)
	}
}
