package tensorboard

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"facepipe/internal/durable"
)

// Nothing is cut or written where a link leads.
func TestLinks(t *testing.T) {
	run, elsewhere := t.TempDir(), t.TempDir()
	theirs := filepath.Join(elsewhere, "events.out.tfevents.0000000000.pipe")
	dir, linked := filepath.Join(run, "tensorboard"), filepath.Join(run, "linked")
	if err := errors.Join(
		os.WriteFile(theirs, []byte("precious"), 0o600), os.Symlink(elsewhere, linked),
		os.Mkdir(dir, 0o700), os.Symlink(theirs, filepath.Join(dir, filepath.Base(theirs))),
	); err != nil {
		t.Fatal(err)
	}
	keep := func(Event) bool { return true }
	if _, err := Open(linked, 1, keep); !errors.Is(err, durable.ErrLink) {
		t.Errorf("a folder that is a link: %v", err)
	}
	w, err := Open(dir, 1, keep)
	if err != nil {
		t.Fatal(err)
	}
	event := Event{Step: 1, Scalars: []Scalar{{Tag: "train/loss", Value: 1}}}
	if err := w.Write(event); err == nil { // the name is taken, by the link
		t.Error("an event was written")
	}
	if data, err := os.ReadFile(theirs); string(data) != "precious" || err != nil {
		t.Errorf("their file is %q, %v", data, err)
	}
}
