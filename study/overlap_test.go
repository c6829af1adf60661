package study

import (
	"bytes"
	"errors"
	"path/filepath"
	"strings"
	"testing"

	"facepipe/store/storetest"
)

// warnings are those of a study.
func warnings(t *testing.T, s *Study) string {
	t.Helper()
	return strings.Join(opened(t, s, t.TempDir()).warnings, "\n")
}

// Faces of a test that are trained on are counted by their pixels and by their keys, those that
// are left out of the training not; so they are where crops were made in another way.
func TestSharedFaces(t *testing.T) {
	dir, s := madeStudy(t, labelsAlone)
	if got, want := warnings(t, s), "test faces: of its 160 faces 4 are crops that are trained on, and 16 have the keys of such"; !strings.HasPrefix(got, want) {
		t.Errorf("%s, want %s", got, want)
	}
	storetest.WriteText(t, filepath.Join(dir, "out.txt"), "0\n1\n2\n")
	s = rewritten(t, dir, labelsAlone+"\nrows: [{name: without, settings: {loss: arcface, exclude: out.txt}}]\n")
	if got := warnings(t, s); !strings.Contains(got, "4 are crops") {
		t.Errorf("a row of several is trained on them: %s", got)
	}
	s = rewritten(t, dir, `
rows: [{name: without, settings: {loss: arcface, exclude: out.txt}}]
tests: [{name: faces, dataset: test.ds, pairs: pairs.txt}]`)
	if got := warnings(t, s); !strings.Contains(got, "0 are crops that are trained on, and 4 have the keys") {
		t.Errorf("excluded ones are counted: %s", got)
	}
	other := contract
	other.Decoder = "another"
	addPhotos(t, filepath.Join(dir, "other.ds"), other, people(0, 40, 4))
	s = rewritten(t, dir, strings.Replace(labelsAlone, "test.ds", "other.ds", 1))
	if got := warnings(t, s); !strings.Contains(got, "16 are crops that are trained on, and 16 have the keys") {
		t.Errorf("crops of another contract: %s", got)
	}
	other.CropSize = 96
	addPhotos(t, filepath.Join(dir, "small.ds"), other, people(0, 40, 4))
	s = rewritten(t, dir, strings.Replace(labelsAlone, "test.ds", "small.ds", 1))
	if got := warnings(t, s); !strings.Contains(got, "0 are crops that are trained on, and 16 have the keys") {
		t.Errorf("crops of another size: %s", got)
	}
	s = rewritten(t, dir, labelsAlone+"\nvalidation: {name: val, dataset: test.ds, pairs: pairs.txt}\n")
	if got := warnings(t, s); !strings.Contains(got, "test faces is the validation val") {
		t.Errorf("the validation is a test: %s", got)
	}
}

// With exclude_overlap a test has a second column without the people that the teacher finds.
func TestExcludeOverlap(t *testing.T) {
	dir, s := madeStudy(t, strings.Replace(labelsAlone, "pairs: pairs.txt", "pairs: pairs.txt, exclude_overlap: big", 1))
	var said bytes.Buffer
	r, err := open(t.Context(), s, Options{Out: t.TempDir(), Progress: &said})
	if err != nil {
		t.Fatal(err)
	}
	if len(r.tests) != 2 || r.tests[1].Name != "faces (clean)" || r.tests[0].digest == r.tests[1].digest {
		t.Fatalf("%+v", r.tests)
	}
	n := 0
	for c := range r.tests[1].protocol.Comparisons() {
		n++
		for _, face := range []int32{c.First, c.Second} {
			head, err := r.tests[1].set.Head(r.tests[1].protocol.Faces()[face])
			if err != nil || head.Label < 4 {
				t.Fatalf("person %s is compared, %v", head.Identity, err)
			}
		}
	}
	// Four pairs of one person, four of the first four with others and one with the first.
	if n != 71 || !strings.Contains(said.String(), "teacher big finds 16 of 160 faces") || !strings.Contains(said.String(), "71 pairs are without") {
		t.Errorf("%d pairs are clean: %s", n, said.String())
	}
	if name := r.tests[1].scoresFile(); name != "scores-faces+clean.npy" {
		t.Error(name)
	}
	measured := r.measured
	if err := r.close(); err != nil {
		t.Error(err)
	}
	if without := opened(t, rewritten(t, dir, labelsAlone), t.TempDir()); without.measured == measured {
		t.Error("rows without the column count as measured")
	}
	s = rewritten(t, dir, strings.ReplaceAll(strings.Replace(labelsAlone, "pairs: pairs.txt", "pairs: train.txt, exclude_overlap: big", 1), "test.ds", "train.ds"))
	storetest.WriteText(t, filepath.Join(dir, "train.txt"), strings.Repeat("0/0 0/1 1\n0/2 1/3 0\n", 10))
	if _, err := open(t.Context(), s, Options{Out: t.TempDir()}); !errors.Is(err, ErrUsage) || !strings.Contains(err.Error(), "two datasets") {
		t.Errorf("the training set itself: %v", err)
	}
	s = rewritten(t, dir, strings.Replace(labelsAlone, "pairs: pairs.txt", "pairs: pairs.txt, exclude_overlap: small", 1))
	if _, err := open(t.Context(), s, Options{Out: t.TempDir()}); err == nil || !strings.Contains(err.Error(), "precompute-teacher") {
		t.Errorf("a teacher that has cached nothing: %v", err)
	}
}
