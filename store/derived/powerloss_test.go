package derived_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"facepipe/internal/durable"
	"facepipe/internal/powerloss"
	"facepipe/store"
	"facepipe/store/cache"
	"facepipe/store/check"
	"facepipe/store/derived"
	"facepipe/store/storetest"
)

// importClass stores a classifier of one class, in the place of another.
func importClass(d *store.Dataset, origin string) error {
	teacher, err := cache.Open(d, "r50")
	if err != nil {
		return err
	}
	w, err := derived.CreateClassifier(teacher, derived.ClassifierInfo{Origin: origin, OriginDigest: origin}, true)
	if err != nil {
		return err
	}
	weights := make([]float32, teacher.Info().Dim)
	weights[0] = float32(len(origin))
	if err := w.Append("person_00", weights); err != nil {
		return err
	}
	return w.Commit()
}

// Power that is lost at any moment while tables are replaced leaves the old or the new
// ones, whole; what was committed stays; and the same command finishes.
func TestPowerLossOfSides(t *testing.T) {
	about := storetest.Info(cache.FP16, true)
	for name, run := range map[string]func(d *store.Dataset) error{
		"centres": func(d *store.Dataset) error {
			teacher, err := cache.Open(d, "r50")
			if err != nil {
				return err
			}
			c, err := derived.OpenCentres(t.Context(), teacher, nil)
			if err != nil {
				return err
			}
			return c.Close()
		},
		"neighbours": func(d *store.Dataset) error {
			return derived.EnsureNeighbours(t.Context(), d, "r50", few(3))
		},
		"classifier": func(d *store.Dataset) error { return importClass(d, "another") },
		// An import that finds its matrix there only tidies.
		"classifier, found": func(d *store.Dataset) error {
			teacher, err := cache.Open(d, "r50")
			if err != nil {
				return err
			}
			if have, err := derived.FindClassifier(teacher); err == nil && have != nil && have.Origin == "another" {
				return derived.TidyClassifier(teacher)
			}
			return importClass(d, "another")
		},
	} {
		root := storetest.MemoryDir(t)
		dir := filepath.Join(root, "faces.ds")
		whole, _ := datasetOf(t, 12, about, nil)
		if err := importClass(storetest.Open(t, whole), "one"); err != nil {
			t.Fatal(err)
		}
		deriveNeighbours(t, whole, few(3))
		w := storetest.Writer(t, whole, 8)
		storetest.Ingest(t, w, storetest.Source, 12, 24)
		storetest.Close(t, w)
		storetest.Embed(t, storetest.Open(t, whole), about, -1, nil)
		if err := os.CopyFS(dir, os.DirFS(whole)); err != nil {
			t.Fatal(err)
		}
		disk, err := powerloss.Watch(root)
		if err != nil {
			t.Fatal(err)
		}
		if err := run(storetest.OpenOn(t, dir, durable.Disk{FS: disk})); err != nil {
			t.Fatal(err)
		}
		h := disk.History()
		rng := rand.New(rand.NewPCG(1, 1))
		kept := false
		for n := range h.Len() + 1 {
			for _, s := range h.After(n).States(16, rng) {
				after := storetest.MemoryDir(t)
				if err := s.Write(after); err != nil {
					t.Fatal(err)
				}
				kept, err = finishSide(t, filepath.Join(after, "faces.ds"), dir, run)
				if err != nil {
					t.Fatalf("%s: power lost after call %d of %d (%s): %v", name, n, h.Len(), h.Describe(max(0, n-1)), err)
				}
				if err := os.RemoveAll(after); err != nil {
					t.Fatal(err)
				}
				if n == h.Len() && !kept {
					t.Errorf("%s: lost after it was committed", name)
				}
			}
		}
	}
}

// finishSide judges a state and runs the command again; kept says that what it makes was
// there.
func finishSide(t *testing.T, dir, want string, run func(*store.Dataset) error) (kept bool, err error) {
	t.Helper()
	r, err := check.Run(t.Context(), dir, check.Options{ReadData: true})
	if err != nil || !r.OK {
		return false, fmt.Errorf("check: %+v, %w", r.Problems, err)
	}
	manifests := func(dir string) (text string) {
		for _, side := range []string{"centres", "classifier", "neighbours"} {
			data, err := os.ReadFile(filepath.Join(dir, "teachers", "r50", side, side+".json"))
			if err != nil {
				t.Fatal(err)
			}
			text += string(data)
		}
		return text
	}
	kept = manifests(dir) == manifests(want)
	if err := run(storetest.Open(t, dir)); err != nil {
		return kept, fmt.Errorf("the same command again: %w", err)
	}
	storetest.SameContents(t, dir, want)
	return kept, nil
}
