package cache_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"facepipe/internal/durable"
	"facepipe/internal/regular"
	"facepipe/store"
	"facepipe/store/cache"
	"facepipe/store/derived"
	"facepipe/store/plan"
	"facepipe/store/storetest"
)

// Whatever stands in the place of a dataset's file, reading it ends, in bounded memory, as damage
// that names the file.
func TestStrangeFiles(t *testing.T) {
	whole := twoTeachers(t)
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for what, replace := range map[string]func(path string) error{
		"a named pipe":    func(path string) error { return unix.Mkfifo(path, 0o600) },
		"a folder":        func(path string) error { return os.Mkdir(path, 0o700) },
		"a symbolic link": func(path string) error { return os.Symlink("/dev/zero", path) },
		"bytes": func(path string) error {
			return errors.Join(os.WriteFile(path, nil, 0o600), os.Truncate(path, 1<<40))
		},
	} {
		for _, name := range []string{
			"dataset.json", "crops/000000.json", "crops/000001.arrow", "teachers/r50/teacher.json", "teachers/r50/000000.json", "teachers/r50/000001.arrow",
		} {
			dir := storetest.Copy(t, whole)
			path := filepath.Join(dir, filepath.FromSlash(name))
			if err := errors.Join(os.Remove(path), replace(path)); err != nil {
				t.Fatal(err)
			}
			err := storetest.ReadEverything(dir)
			if !errors.Is(err, store.ErrDamaged) || !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), what) {
				t.Errorf("%s is %s: %v", name, what, err)
			}
		}
	}
}

// A link to a good file is damage, too: in a stranger's dataset it could lead anywhere.
func TestLinkedFiles(t *testing.T) {
	whole := twoTeachers(t)
	for _, name := range []string{"dataset.json", "crops/000000.arrow", "teachers/r50/000000.json"} {
		dir := storetest.Copy(t, whole)
		path := filepath.Join(dir, filepath.FromSlash(name))
		if err := errors.Join(os.Remove(path), os.Symlink(filepath.Join(whole, filepath.FromSlash(name)), path)); err != nil {
			t.Fatal(err)
		}
		if err := storetest.ReadEverything(dir); !errors.Is(err, store.ErrDamaged) || !errors.Is(err, regular.ErrIrregular) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Nothing is written or deleted through a folder of a dataset, or of a plan, that is a link.
func TestLinkedFolders(t *testing.T) {
	whole := twoTeachers(t)
	teacher := storetest.Info(cache.FP16, true)
	embed := func(d *store.Dataset) error {
		w, err := cache.Create(d, teacher)
		if err != nil {
			return err
		}
		return errors.Join(w.RecordRun(cache.Run{Ended: cache.RunDone}), w.Close())
	}
	for name, write := range map[string]func(dir string, d *store.Dataset) error{
		"crops": func(dir string, _ *store.Dataset) error {
			_, err := store.OpenWriter(dir, storetest.Contract, store.WriterOptions{ShardRows: 8, Logger: storetest.Quiet})
			return err
		},
		"teachers":          func(_ string, d *store.Dataset) error { return embed(d) },
		"teachers/r50":      func(_ string, d *store.Dataset) error { return embed(d) },
		"teachers/r50/runs": func(_ string, d *store.Dataset) error { return embed(d) },
		"teachers/spare": func(dir string, _ *store.Dataset) error {
			_, err := cache.Drop(dir, "spare", false)
			return err
		},
		"teachers/r50/classifier": func(_ string, d *store.Dataset) error {
			_, err := derived.CreateClassifier(storetest.Cache(t, d, "r50"), derived.ClassifierInfo{}, false)
			return err
		},
		"parts": func(dir string, d *store.Dataset) error {
			_, err := cache.OpenParts(d, teacher, plan.PartsFolder(dir))
			_, removeErr := plan.RemovePart(filepath.Join(plan.PartsFolder(dir), "000000.ds"))
			if !errors.Is(removeErr, durable.ErrLink) {
				t.Errorf("a part behind a link is deleted: %v", removeErr)
			}
			return err
		},
	} {
		dir, elsewhere := storetest.Copy(t, whole), t.TempDir()
		path, away := filepath.Join(dir, filepath.FromSlash(name)), filepath.Join(elsewhere, "away")
		if err := os.Rename(path, away); errors.Is(err, os.ErrNotExist) {
			err = os.MkdirAll(filepath.Join(away, "000000.ds"), 0o700)
			if err != nil {
				t.Fatal(err)
			}
		} else if err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(away, path); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(away, durable.TempPrefix+"x"), nil, 0o600); err != nil {
			t.Fatal(err)
		}
		before := storetest.Contents(t, elsewhere)
		if err := write(dir, storetest.Open(t, dir)); !errors.Is(err, durable.ErrLink) || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: %v", name, err)
		}
		if after := storetest.Contents(t, elsewhere); len(after) != len(before) {
			t.Errorf("%s: %d files became %d", name, len(before), len(after))
		}
	}
}

// A dataset that is reached by a link itself is one like any other.
func TestLinkToDataset(t *testing.T) {
	whole := twoTeachers(t)
	link := filepath.Join(t.TempDir(), "link.ds")
	if err := os.Symlink(whole, link); err != nil {
		t.Fatal(err)
	}
	if err := storetest.ReadEverything(link); err != nil {
		t.Error(err)
	}
	w := storetest.Writer(t, link, 8)
	storetest.Ingest(t, w, storetest.Source, 20, 30)
	storetest.Close(t, w)
	d := storetest.Open(t, link)
	storetest.Embed(t, d, storetest.Info(cache.FP16, true), -1, nil)
	if d.Rows() < 25 {
		t.Errorf("%d rows", d.Rows())
	}
	if err := storetest.ReadEverything(link); err != nil {
		t.Error(err)
	}
}
