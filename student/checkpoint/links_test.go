package checkpoint

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"facepipe/internal/durable"
)

// Checkpoints are neither written nor deleted where a link leads.
func TestLinkedFolder(t *testing.T) {
	run, elsewhere := t.TempDir(), t.TempDir()
	theirs := filepath.Join(elsewhere, Name(1))
	if err := errors.Join(os.WriteFile(theirs, nil, 0o600), os.Symlink(elsewhere, Folder(run))); err != nil {
		t.Fatal(err)
	}
	if err := Save(run, nil, Position{Step: 2}, 1); !errors.Is(err, durable.ErrLink) {
		t.Error(err)
	}
	if entries, err := os.ReadDir(elsewhere); err != nil || len(entries) != 1 {
		t.Errorf("%v, %v", entries, err)
	}
}
