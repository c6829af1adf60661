package store

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"facepipe/internal/durable"
	"facepipe/internal/powerloss"
)

// importClass stores a classifier of one class, in the place of another.
func importClass(d *Dataset, origin string) error {
	t, err := d.OpenTeacher("r50")
	if err != nil {
		return err
	}
	w, err := t.CreateClassifier(ClassifierInfo{Origin: origin, OriginDigest: origin}, true)
	if err != nil {
		return err
	}
	weights := make([]float32, t.info.Dim)
	weights[0] = float32(len(origin))
	if err := w.Append("person_00", weights); err != nil {
		return err
	}
	return w.Commit()
}

// Power that is lost at any moment while tables are replaced leaves the old or the new
// ones, whole; what was committed stays; and the same command finishes.
func TestPowerLossOfSides(t *testing.T) {
	info := testTeacher(FP16, true)
	for name, run := range map[string]func(d *Dataset) error{
		"centres": func(d *Dataset) error {
			c, err := d.OpenTeacher("r50")
			if err == nil {
				_, _, err = ensureCentres(t.Context(), c, CentresOptions{})
			}
			return err
		},
		"classifier": func(d *Dataset) error { return importClass(d, "another") },
		// An import that finds its matrix there only tidies.
		"classifier, found": func(d *Dataset) error {
			c, err := d.OpenTeacher("r50")
			if err != nil {
				return err
			}
			if m, err := readClassifierManifest(c); err == nil && m.Origin == "another" {
				return c.TidyClassifier()
			}
			return importClass(d, "another")
		},
	} {
		root := memoryDir(t)
		dir := filepath.Join(root, "faces.ds")
		whole, _ := derived(t, 12, info, nil)
		if err := importClass(mustOpen(t, whole), "one"); err != nil {
			t.Fatal(err)
		}
		w := mustWriter(t, whole, 8)
		ingest(t, w, testSource, 12, 24)
		mustClose(t, w)
		embed(t, mustOpen(t, whole), info, -1, nil)
		if err := os.CopyFS(dir, os.DirFS(whole)); err != nil {
			t.Fatal(err)
		}
		disk, err := powerloss.Watch(root)
		if err != nil {
			t.Fatal(err)
		}
		d, err := Open(dir, WithDisk(durable.Disk{FS: disk}), WithLogger(quiet))
		if err != nil {
			t.Fatal(err)
		}
		if err := run(d); err != nil {
			t.Fatal(err)
		}
		h := disk.History()
		rng := rand.New(rand.NewPCG(1, 1))
		kept := false
		for n := range h.Len() + 1 {
			for _, s := range h.After(n).States(16, rng) {
				after := memoryDir(t)
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
func finishSide(t *testing.T, dir, want string, run func(*Dataset) error) (kept bool, err error) {
	t.Helper()
	r, err := Check(t.Context(), dir, CheckOptions{ReadData: true})
	if err != nil || !r.OK {
		return false, fmt.Errorf("check: %+v, %w", r.Problems, err)
	}
	manifests := func(dir string) (text string) {
		for _, side := range []string{centresFolder, classifierFolder} {
			data, err := os.ReadFile(filepath.Join(dir, teachersFolder, "r50", side, side+manifestSuffix))
			if err != nil {
				t.Fatal(err)
			}
			text += string(data)
		}
		return text
	}
	kept = manifests(dir) == manifests(want)
	if err := run(mustOpen(t, dir)); err != nil {
		return kept, fmt.Errorf("the same command again: %w", err)
	}
	sameContents(t, dir, want)
	return kept, nil
}
