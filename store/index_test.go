package store_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"facepipe/internal/durable"
	"facepipe/store"
	"facepipe/store/check"
	"facepipe/store/internal/index"
	"facepipe/store/storetest"
)

// badgerOf opens the index on disk of a snapshot.
func badgerOf(d *store.Dataset) (*index.Badger, error) { return index.Open(d.Dir(), d.Digest()) }

// notices collects what a dataset logs.
type notices struct {
	mu   sync.Mutex
	text strings.Builder
}

func (n *notices) Write(p []byte) (int, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.text.Write(p)
}

func (n *notices) option() store.Option {
	return store.WithLogger(slog.New(slog.NewTextHandler(n, nil)))
}

// Whatever became of the index, look-ups work, and it is whole afterwards.
func TestIndexIsRebuilt(t *testing.T) {
	dir := storetest.Build(t, 40, 16)
	folder := filepath.Join(dir, index.Folder)
	table := func() string {
		tables, err := filepath.Glob(filepath.Join(folder, "*.sst"))
		if err != nil || len(tables) == 0 {
			t.Fatalf("no tables: %v", err)
		}
		return tables[0]
	}
	for _, tc := range []struct {
		name   string
		hurt   func()
		notice string
	}{
		{"intact", func() {}, ""},
		{"missing", func() { os.RemoveAll(folder) }, ""},
		{"flipped bit", func() { storetest.FlipBit(t, table(), 100) }, "is not what was built"},
		{"truncated", func() { storetest.Truncate(t, table()) }, "is not what was built"},
		{"file lost", func() { os.Remove(table()) }, "missing"},
		{"seal broken", func() { storetest.FlipBit(t, filepath.Join(folder, "BUILT.json"), 100) }, "damaged"},
		{"of another dataset", func() {
			other := storetest.Build(t, 10, 8)
			os.RemoveAll(folder)
			os.Rename(filepath.Join(other, index.Folder), folder)
		}, ""}, // as good as stale: nothing is wrong with it
		{"a file in its place", func() { os.RemoveAll(folder); os.WriteFile(folder, nil, 0o644) }, "rebuilt"},
		{"left half built", func() {
			os.RemoveAll(folder)
			os.Mkdir(filepath.Join(dir, index.TempPrefix+"1"), 0o755)
		}, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			tc.hurt()
			var log notices
			d, err := store.Open(dir, log.option())
			if err != nil {
				t.Fatal(err)
			}
			if l, err := d.Lookup(storetest.Crop(0, 33).Key); err != nil || d.RowOf(l) != 33 {
				t.Errorf("look-up: %+v, %v", l, err)
			}
			if _, err := d.Lookup("nobody"); !errors.Is(err, store.ErrNotFound) {
				t.Errorf("unknown key: %v", err)
			}
			storetest.Close(t, d)
			if text := log.text.String(); !strings.Contains(text, tc.notice) || (tc.notice == "") != (text == "") {
				t.Errorf("notices are %q, want %q", text, tc.notice)
			}
			if ix, err := badgerOf(d); err != nil {
				t.Errorf("afterwards: %v", err)
			} else {
				storetest.Close(t, ix)
			}
			if temps, _ := filepath.Glob(filepath.Join(dir, index.TempPrefix+"*")); len(temps) > 0 {
				t.Errorf("left %v", temps)
			}
		})
	}
	storetest.CleanCheck(t, dir)
}

// A writer removes what a killed builder left beside a good index.
func TestIndexIsTidied(t *testing.T) {
	dir := storetest.Build(t, 20, 8)
	if err := os.CopyFS(filepath.Join(dir, index.TempPrefix+"1", index.Folder), os.DirFS(filepath.Join(dir, index.Folder))); err != nil {
		t.Fatal(err)
	}
	storetest.Close(t, storetest.Writer(t, dir, 8))
	if notes := storetest.CleanCheck(t, dir).Notes; len(notes) > 0 {
		t.Errorf("notes are %q", notes)
	}
}

// An old snapshot neither replaces a newer index nor is led astray by it.
func TestIndexOfGrownDataset(t *testing.T) {
	dir := storetest.Build(t, 20, 8)
	old := storetest.Open(t, dir)
	w := storetest.Writer(t, dir, 8)
	storetest.Ingest(t, w, storetest.Source, 20, 40)
	storetest.Close(t, w)
	if _, err := old.Lookup(storetest.Crop(0, 30).Key); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("a crop of the future: %v", err)
	}
	if l, err := old.Lookup(storetest.Crop(0, 10).Key); err != nil || old.RowOf(l) != 10 {
		t.Errorf("%+v, %v", l, err)
	}
	ix, err := badgerOf(storetest.Open(t, dir))
	if err != nil {
		t.Fatalf("the new index was replaced: %v", err)
	}
	storetest.Close(t, ix)
}

// A dataset on a read-only medium without an index is searched in memory.
func TestLookupReadOnly(t *testing.T) {
	dir := storetest.Build(t, 20, 8)
	if err := os.RemoveAll(filepath.Join(dir, index.Folder)); err != nil {
		t.Fatal(err)
	}
	// Root ignores permissions; a folder where the lock file should be stops anybody.
	os.Remove(filepath.Join(dir, index.LockFile))
	if err := os.Mkdir(filepath.Join(dir, index.LockFile), 0o755); err != nil {
		t.Fatal(err)
	}
	d := storetest.Open(t, dir)
	if l, err := d.LookupID(storetest.Crop(0, 12).ID); err != nil || d.RowOf(l) != 12 {
		t.Errorf("%+v, %v", l, err)
	}
	if _, err := os.Stat(filepath.Join(dir, index.Folder)); err == nil {
		t.Error("an index appeared")
	}
}

// Who waits for another process that builds the index can be told to stop; what a writer has
// committed is there then.
func TestWaitForIndexEnds(t *testing.T) {
	dir := storetest.Build(t, 20, 8)
	lock, err := durable.TryLock(filepath.Join(dir, index.LockFile))
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Unlock()
	soon := func() context.Context {
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(50*time.Millisecond, cancel)
		return ctx
	}
	w, err := store.OpenWriter(dir, storetest.Contract, store.WriterOptions{ShardRows: 8, Logger: storetest.Quiet, Context: soon()})
	if err != nil {
		t.Fatal(err)
	}
	storetest.Ingest(t, w, storetest.Source, 20, 24)
	if err := w.Close(); !errors.Is(err, context.Canceled) {
		t.Errorf("a writer is stopped: %v", err)
	}
	d, err := store.Open(dir, store.WithLogger(storetest.Quiet), store.WithContext(soon()))
	if err != nil || d.Rows() != 24 {
		t.Fatal(d, err)
	}
	defer d.Close()
	if _, err := d.Lookup(storetest.Crop(0, 3).Key); !errors.Is(err, context.Canceled) {
		t.Errorf("a reader is stopped: %v", err)
	}
}

// Readers in several goroutines and datasets share and rebuild one index.
func TestIndexConcurrently(t *testing.T) {
	dir := storetest.Build(t, 60, 16)
	if err := os.RemoveAll(filepath.Join(dir, index.Folder)); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for g := range 6 {
		wg.Go(func() {
			d, err := store.Open(dir, store.WithLogger(storetest.Quiet))
			if err != nil {
				t.Error(err)
				return
			}
			defer d.Close()
			for row := g; row < 60; row += 6 {
				if l, err := d.Lookup(storetest.Crop(0, row).Key); err != nil || d.RowOf(l) != row {
					t.Errorf("row %d: %+v, %v", row, l, err)
				}
			}
		})
	}
	wg.Wait()
}

// lying is the source of an index that says what a change makes of the entries.
type lying struct {
	index.Entries
	crop func(to index.Entries, row int, id store.ID, key string) error
}

func (l lying) Crop(row int, id store.ID, key string) error { return l.crop(l.Entries, row, id, key) }

// Whoever made the index on disk: look-ups say what the shards say, and then the index does, too.
func TestStrangersIndexIsNotBelieved(t *testing.T) {
	const n = 40
	crop := func(row int) store.Crop { return storetest.Crop(0, row) }
	for name, tell := range map[string]func(to index.Entries, row int, id store.ID, key string) error{
		"another row": func(to index.Entries, row int, id store.ID, key string) error {
			return to.Crop((row+1)%n, id, key)
		},
		"another crop's id": func(to index.Entries, row int, id store.ID, key string) error {
			return to.Crop(row, crop((row+1)%n).ID, key)
		},
		"one less": func(to index.Entries, row int, id store.ID, key string) error {
			if row == 12 {
				return nil
			}
			return to.Crop(row, id, key)
		},
		"a key that is none": func(to index.Entries, row int, id store.ID, key string) error {
			if row == 12 {
				key = "nobody"
			}
			return to.Crop(row, id, key)
		},
		"nothing": func(index.Entries, int, store.ID, string) error { return nil },
	} {
		dir := storetest.Build(t, n, 16)
		source := storetest.Open(t, dir).IndexSource()
		truth := source.Each
		source.Each = func(ctx context.Context, to index.Entries) error {
			return truth(ctx, lying{to, tell})
		}
		if err := source.Replace(t.Context()); err != nil {
			t.Fatal(err)
		}
		if r, err := check.Run(t.Context(), dir, check.Options{ReadData: true}); err != nil || r.OK {
			t.Errorf("%s: check says %+v, %v", name, r, err)
		}
		var log notices
		d, err := store.Open(dir, log.option())
		if err != nil {
			t.Fatal(err)
		}
		for row := range n {
			for what, find := range map[string]func() (store.Location, error){
				"key": func() (store.Location, error) { return d.Lookup(crop(row).Key) },
				"id":  func() (store.Location, error) { return d.LookupID(crop(row).ID) },
			} {
				if l, err := find(); err != nil || d.RowOf(l) != row {
					t.Errorf("%s: %s of row %d: %+v, %v", name, what, row, l, err)
				}
			}
		}
		if l, err := d.Lookup("twins/0020.png"); err != nil || d.RowOf(l) != 19 {
			t.Errorf("%s: duplicate: %+v, %v", name, l, err)
		}
		if _, err := d.Lookup("nobody"); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("%s: unknown key: %v", name, err)
		}
		if text := log.text.String(); strings.Count(text, "wrong index is rebuilt") != 1 {
			t.Errorf("%s: notices are %q", name, text)
		}
		storetest.Close(t, d)
		storetest.CleanCheck(t, dir)
	}
}

// A good index is left alone, whatever is asked: names that nobody has, and those of duplicates.
func TestGoodIndexIsLeftAlone(t *testing.T) {
	dir := storetest.Build(t, 40, 16)
	var log notices
	d, err := store.Open(dir, log.option())
	if err != nil {
		t.Fatal(err)
	}
	before := storetest.Contents(t, dir)
	var wg sync.WaitGroup
	for row := range 40 {
		wg.Go(func() {
			if l, err := d.Lookup(storetest.Crop(0, row).Key); err != nil || d.RowOf(l) != row {
				t.Errorf("row %d: %+v, %v", row, l, err)
			}
			if _, err := d.LookupID(store.ID{byte(row)}); !errors.Is(err, store.ErrNotFound) {
				t.Errorf("unknown id: %v", err)
			}
			if l, err := d.Lookup("twins/0020.png"); err != nil || d.RowOf(l) != 19 {
				t.Errorf("duplicate: %+v, %v", l, err)
			}
		})
	}
	wg.Wait()
	storetest.Close(t, d)
	if text := log.text.String(); text != "" {
		t.Errorf("notices are %q", text)
	}
	if n := mappings(t, dir); n != 0 {
		t.Errorf("%d files are still open", n)
	}
	if after := storetest.Contents(t, dir); !maps.EqualFunc(before, after, bytes.Equal) {
		t.Error("files were changed")
	}
}

// A shard that is damaged is named by a look-up that it could answer.
func TestLookupInDamagedShard(t *testing.T) {
	dir := storetest.Build(t, 40, 16)
	path := filepath.Join(dir, store.CropsFolder, "000001.arrow")
	storetest.FlipBit(t, path, 2000)
	d := storetest.Open(t, dir)
	if l, err := d.Lookup(storetest.Crop(0, 3).Key); err != nil || d.RowOf(l) != 3 {
		t.Errorf("in another shard: %+v, %v", l, err)
	}
	for _, key := range []string{storetest.Crop(0, 20).Key, "nobody"} {
		if l, err := d.Lookup(key); !errors.Is(err, store.ErrDamaged) || !strings.Contains(err.Error(), path) {
			t.Errorf("%q: %+v, %v", key, l, err)
		}
	}
}
