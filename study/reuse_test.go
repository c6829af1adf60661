package study

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"facepipe/store/storetest"
)

// A row that another study has trained is not trained again: its files are copied, the figures
// count if they were made by the same tests.
func TestReuse(t *testing.T) {
	dir, s := madeStudy(t, labelsAlone)
	other := filepath.Join(t.TempDir(), "other")
	before := opened(t, s, other)
	finish := func(row *Row, figures string) {
		touch(t, row, rowFile, fmt.Sprintf(`{"group": "another name", "digest": %q}`, row.Digest))
		for name, text := range map[string]string{summaryFile: `{"steps": 2}`, "student.onnx": "model", figuresFile: figures, "checkpoints/2": "state", ".lock": "1@host"} {
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
		} else if err := now.takeOver(row); err != nil {
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
	if err := readJSON(row.file(rowFile), &is); err != nil || is.Group != row.Group {
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
