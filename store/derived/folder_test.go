package derived

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"testing"

	"facepipe/internal/durable"
	"facepipe/store"
	"facepipe/store/internal/table"
)

// syncs notes the folders whose names are made durable.
type syncs struct {
	durable.OS
	dirs []string
}

func (s *syncs) SyncDir(dir string) error {
	s.dirs = append(s.dirs, dir)
	return s.OS.SyncDir(dir)
}

// A folder of tables may be there by the hand of a run that was killed before its name was
// durable: who finds it makes it so before anything is committed in it.
func TestFoundFolderIsMadeDurable(t *testing.T) {
	dir, fs := t.TempDir(), new(syncs)
	f := folder{dir: filepath.Join(dir, "centres"), dataset: dir, below: "centres", disk: durable.Disk{FS: fs}}
	if err := os.Mkdir(f.dir, table.FolderMode); err != nil {
		t.Fatal(err)
	}
	lock, err := f.claim(durable.TryLock)
	if err != nil {
		t.Fatal(err)
	}
	if err := lock.Unlock(); err != nil {
		t.Error(err)
	}
	if !slices.Contains(fs.dirs, dir) {
		t.Errorf("synced were %v", fs.dirs)
	}
}

// Tables that another process replaces between two looks are not damaged.
func TestTwice(t *testing.T) {
	for want, answers := range map[string][]error{"1": {nil}, "2": {store.ErrDamaged, nil}, "damaged": {store.ErrDamaged, store.ErrDamaged}, "gone": {os.ErrNotExist}} {
		n := 0
		got, err := twice(func() (int, error) {
			n++
			return n, answers[n-1]
		})
		switch {
		case want == "damaged" && !errors.Is(err, store.ErrDamaged), want == "gone" && (n != 1 || !errors.Is(err, os.ErrNotExist)):
			t.Errorf("%s: %v after %d looks", want, err, n)
		case len(want) == 1 && (err != nil || want != strconv.Itoa(got)):
			t.Errorf("%s: look %d, %v", want, got, err)
		}
	}
}
