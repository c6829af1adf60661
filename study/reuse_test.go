package study

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"facepipe/internal/regular"
	"facepipe/store/storetest"
	"facepipe/student/checkpoint"
)

// A row that another study has trained is not trained again: its files are copied, the figures
// count if they were made by the same tests.
func TestReuse(t *testing.T) {
	dir, s := madeStudy(t, labelsAlone)
	other := filepath.Join(t.TempDir(), "other")
	before := opened(t, s, other)
	finish := func(row *Row, figures string) {
		touch(t, row, rowFile, fmt.Sprintf(`{"group": "another name", "digest": %q}`, row.Digest))
		for name, text := range map[string]string{summaryFile: `{"steps": 2}`, "student.onnx": "model", figuresFile: figures, "checkpoints/2": "state", ".lock": "1@host", failedFile: `{"error": "the measurement"}`} {
			if err := os.MkdirAll(filepath.Join(row.dir, "checkpoints"), 0o755); err != nil {
				t.Fatal(err)
			}
			storetest.WriteText(t, row.file(name), text)
		}
	}
	finish(before.rows[0], fmt.Sprintf(`{"measured": %q}`, before.measured))
	finish(before.rows[1], `{"measured": "by other tests"}`)
	touch(t, before.rows[2], rowFile, fmt.Sprintf(`{"digest": %q}`, before.rows[2].Digest)) // begun

	var told strings.Builder
	now := opened(t, rewritten(t, dir, labelsAlone), filepath.Join(t.TempDir(), "study"))
	now.o.Reuse, now.o.Progress = []string{filepath.Join(dir, "no such study"), other}, &told
	for i, want := range []State{Done, Trained, New, New} {
		row := now.rows[i]
		if want == New {
			if err := now.reuse(row); err != nil {
				t.Fatal(err)
			}
		} else if err := errors.Join(os.MkdirAll(row.dir, 0o755), now.takeOver(row)); err != nil {
			t.Fatal(err)
		}
		if state, err := row.reached(now.measured); err != nil || state != want {
			t.Errorf("%s: %s, %v, want %s", row.Name(), state, err, want)
		}
	}
	row := now.rows[0]
	if _, err := os.Stat(row.file(".lock")); err == nil {
		t.Error("a lock was copied")
	}
	if data, err := os.ReadFile(row.file("checkpoints/2")); string(data) != "state" || err != nil {
		t.Errorf("a checkpoint: %q, %v", data, err)
	}
	var is recorded
	if sealed, err := readJSON(row.file(rowFile), &is); err != nil || !sealed || is.Group != row.Group {
		t.Errorf("%+v, %v", is, err)
	}
	if strings.Count(told.String(), "is taken over from "+other) != 2 {
		t.Error(told.String())
	}
	// One of another digest in a folder of that name is none of ours.
	touch(t, before.rows[3], rowFile, `{"digest": "another"}`)
	finish(before.rows[3], "{}")
	storetest.WriteText(t, before.rows[3].file(rowFile), `{"digest": "another"}`)
	if err := now.reuse(now.rows[3]); err != nil {
		t.Fatal(err)
	}
	if state, err := now.rows[3].reached(now.measured); err != nil || state != New {
		t.Errorf("%s, %v", state, err)
	}
}

// What says that a row is finished and measured is copied last: a copy that ends before is a row that
// goes on.
func TestCopyThatEndsEarly(t *testing.T) {
	from, to := t.TempDir(), t.TempDir()
	if err := os.Mkdir(checkpoint.Folder(from), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{summaryFile, figuresFile, "metrics.jsonl", "checkpoints/step"} {
		storetest.WriteText(t, filepath.Join(from, name), "{}")
	}
	last := filepath.Join(from, "scores-faces.npy")
	if err := unix.Mkfifo(last, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := copyRun(from, to); !errors.Is(err, regular.ErrIrregular) {
		t.Error(err)
	}
	is := func(want ...string) {
		t.Helper()
		var names []string
		entries, err := os.ReadDir(to)
		for _, e := range entries {
			names = append(names, e.Name())
		}
		if err != nil || !slices.Equal(names, want) {
			t.Errorf("%v, %v, want %v", names, err, want)
		}
	}
	is("checkpoints", "metrics.jsonl")
	if entries, err := os.ReadDir(checkpoint.Folder(to)); err != nil || len(entries) > 0 {
		t.Errorf("a checkpoint came before the rest: %v, %v", entries, err)
	}
	if err := os.Remove(last); err != nil {
		t.Fatal(err)
	}
	if err := copyRun(from, to); err != nil {
		t.Error(err)
	}
	is("checkpoints", figuresFile, "metrics.jsonl", summaryFile)
}
