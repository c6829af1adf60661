package store_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"facepipe/store"
	"facepipe/store/cache"
	"facepipe/store/check"
	"facepipe/store/internal/table"
	"facepipe/store/storetest"
)

// No single flipped bit in any file that readers use gets past them, or past check,
// and both name the file.
func TestEveryFlippedBitIsFound(t *testing.T) {
	dir := storetest.Build(t, 12, 8)
	storetest.Embed(t, storetest.Open(t, dir), storetest.Info(cache.FP16, true), -1, nil)
	if err := storetest.ReadEverything(dir); err != nil {
		t.Fatal(err)
	}
	step := 41 // coprime to the alignments of the format
	if testing.Short() {
		step = 409
	}
	for name, data := range storetest.Contents(t, dir) {
		if name == store.RejectsFile {
			continue // nothing reads it
		}
		path := filepath.Join(dir, name)
		for offset := 0; offset < len(data); offset += step {
			storetest.FlipBit(t, path, offset)
			err := storetest.ReadEverything(dir)
			if name == store.DatasetFile || strings.HasSuffix(name, table.ManifestSuffix) {
				// The version is looked at before the seal.
				if errors.Is(err, store.ErrVersion) {
					err = store.ErrDamaged
				} else if err != nil && !strings.Contains(err.Error(), path) {
					t.Fatalf("%s at %d: %v", name, offset, err)
				}
			} else if err != nil && !strings.Contains(err.Error(), path) {
				t.Fatalf("%s at %d: %v", name, offset, err)
			}
			if !errors.Is(err, store.ErrDamaged) {
				t.Fatalf("%s at %d was read: %v", name, offset, err)
			}
			if offset%(8*step) == 0 {
				checkNames(t, dir, name)
			}
			storetest.FlipBit(t, path, offset)
		}
	}
	if err := storetest.ReadEverything(dir); err != nil {
		t.Fatal(err)
	}
}

// checkNames fails unless check finds a problem in that file, whatever else it finds.
func checkNames(t *testing.T, dir, name string) {
	t.Helper()
	r, err := check.Run(t.Context(), dir, check.Options{ReadData: true})
	if errors.Is(err, store.ErrVersion) {
		return
	}
	if err != nil || r.OK {
		t.Fatalf("%s: check says %+v, %v", name, r, err)
	}
	for _, p := range r.Problems {
		if p.File == name {
			return
		}
	}
	t.Fatalf("%s is not among %+v", name, r.Problems)
}

// Lost and shortened files are found on opening.
func TestLostFilesAreFound(t *testing.T) {
	for _, name := range []string{
		"crops/000000.arrow", "crops/000000.json", "crops/000001.json",
		"teachers/r50/000001.arrow", "dataset.json", "teachers/r50/teacher.json",
	} {
		for verb, hurt := range map[string]func(path string){
			"truncated": func(path string) { storetest.Truncate(t, path) },
			"emptied":   func(path string) { storetest.Rewrite(t, path, func([]byte) []byte { return nil }) },
			"removed":   func(path string) { os.Remove(path) },
		} {
			dir := storetest.Build(t, 12, 8)
			storetest.Embed(t, storetest.Open(t, dir), storetest.Info(cache.FP16, true), -1, nil)
			hurt(filepath.Join(dir, name))
			want := store.ErrDamaged
			if verb == "removed" && name == store.DatasetFile {
				want = store.ErrUnfinished // ingest writes it again
			}
			if verb == "removed" && name == "teachers/r50/teacher.json" {
				want = store.ErrDamaged
			}
			if err := storetest.ReadEverything(dir); !errors.Is(err, want) {
				t.Errorf("%s %s: %v, want %v", name, verb, err, want)
			}
			_, err := store.OpenWriter(dir, storetest.Contract, store.WriterOptions{Logger: storetest.Quiet})
			if strings.HasPrefix(name, store.CropsFolder) && !errors.Is(err, store.ErrDamaged) {
				t.Errorf("%s %s: writer says %v", name, verb, err)
			}
		}
	}
}

// Damage in one shard does not keep the others from being read.
func TestOtherShardsStayReadable(t *testing.T) {
	dir := storetest.Build(t, 24, 8)
	storetest.FlipBit(t, filepath.Join(dir, "crops/000001.arrow"), -2000)
	d := storetest.Open(t, dir)
	for i, want := range []error{nil, store.ErrDamaged, nil} {
		s, err := d.CropShard(i)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.Crop(0); !errors.Is(err, want) {
			t.Errorf("shard %d: %v", i, err)
		}
		if _, err := s.Image(0); !errors.Is(err, want) {
			t.Errorf("image of shard %d: %v", i, err)
		}
		storetest.Close(t, s)
	}
}

// A file that shrinks under its mapping is an error, not a crash.
func TestShrunkUnderMapping(t *testing.T) {
	dir := storetest.Build(t, 600, 600)
	d := storetest.Open(t, dir)
	s, err := d.CropShard(0)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	path := filepath.Join(dir, "crops/000000.arrow")
	if err := os.Chmod(path, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(path, 4096); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Crop(599); !errors.Is(err, store.ErrDamaged) {
		t.Errorf("read past the end: %v", err)
	}
}

func TestVersions(t *testing.T) {
	dir := storetest.Build(t, 5, 8)
	for _, name := range []string{"dataset.json", "crops/000000.json"} {
		path := filepath.Join(dir, name)
		storetest.Rewrite(t, path, func(b []byte) []byte {
			return []byte(strings.Replace(string(b), `"version": 2`, `"version": 3`, 1))
		})
		if _, err := store.Open(dir); !errors.Is(err, store.ErrVersion) || !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), "version 3") {
			t.Errorf("%s: %v", name, err)
		}
		if r, err := check.Run(t.Context(), dir, check.Options{}); name == store.DatasetFile && !errors.Is(err, store.ErrVersion) ||
			name != store.DatasetFile && (err != nil || len(r.Problems) != 1 || r.Problems[0].File != name || !strings.Contains(r.Problems[0].What, "version 3")) {
			t.Errorf("%s: check says %+v, %v", name, r, err)
		}
		if _, err := store.OpenWriter(dir, storetest.Contract, store.WriterOptions{}); !errors.Is(err, store.ErrVersion) {
			t.Errorf("%s: writer says %v", name, err)
		}
		storetest.Rewrite(t, path, func(b []byte) []byte {
			return []byte(strings.Replace(string(b), `"version": 3`, `"version": 2`, 1))
		})
	}
	storetest.Open(t, dir)
}

// mappings is the number of files in a folder that the process has mapped.
func mappings(t *testing.T, dir string) int {
	t.Helper()
	maps, err := os.ReadFile("/proc/self/maps")
	if err != nil {
		t.Skip(err)
	}
	return strings.Count(string(maps), dir)
}

// Views of one shard share its mapping, which lasts as long as any of them.
func TestViews(t *testing.T) {
	dir := storetest.Build(t, 10, 8)
	d := storetest.Open(t, dir)
	a, err := d.CropShard(0)
	if err != nil {
		t.Fatal(err)
	}
	b, err := d.CropShard(0)
	if err != nil {
		t.Fatal(err)
	}
	c := a.Retain()
	crop, err := a.Crop(3)
	if err != nil {
		t.Fatal(err)
	}
	storetest.Close(t, a)
	storetest.Close(t, a)
	storetest.Close(t, b)
	if string(crop.Image) != string(storetest.Crop(0, 3).Image) {
		t.Error("the image changed while a view was open")
	}
	if n := mappings(t, dir); n != 1 {
		t.Errorf("%d shards are open", n)
	}
	storetest.Close(t, c)
	if n := mappings(t, dir); n != 0 {
		t.Errorf("%d shards are still open", n)
	}
	for name, use := range map[string]func(){
		"crop": func() { a.Crop(0) }, "rows": func() { c.Rows() }, "retain": func() { c.Retain() },
		"row out of range": func() {
			s, _ := d.CropShard(0)
			defer s.Close()
			s.Crop(8)
		},
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s: no panic", name)
				}
			}()
			use()
		}()
	}
}

// Whatever happens to whichever file of a dataset, check says so with the file's name.
// A teacher's manifest that is gone is all that it can only note: the shard is then
// one that was not embedded yet.
func TestCheckFindsEveryHurtFile(t *testing.T) {
	whole := storetest.Build(t, 12, 8)
	storetest.Embed(t, storetest.Open(t, whole), storetest.Info(cache.FP16, true), -1, nil)
	var names []string
	err := filepath.WalkDir(whole, func(path string, e os.DirEntry, err error) error {
		if err == nil && !e.IsDir() && !strings.HasPrefix(e.Name(), table.LockFile) {
			name, _ := filepath.Rel(whole, path)
			names = append(names, name)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(names) < 14 {
		t.Fatalf("the dataset has only %q", names)
	}
	for _, name := range names {
		for verb, hurt := range map[string]func(path string){
			"flipped":   func(path string) { storetest.Rewrite(t, path, func(b []byte) []byte { b[len(b)/2] ^= 2; return b }) },
			"truncated": func(path string) { storetest.Truncate(t, path) },
			"emptied":   func(path string) { storetest.Rewrite(t, path, func([]byte) []byte { return nil }) },
			"lengthened": func(path string) {
				storetest.Rewrite(t, path, func(b []byte) []byte { return append(b, '\n') })
			},
			"removed": func(path string) { os.Remove(path) },
		} {
			dir := filepath.Join(storetest.MemoryDir(t), "copy")
			if err := os.CopyFS(dir, os.DirFS(whole)); err != nil {
				t.Fatal(err)
			}
			path := filepath.Join(dir, name)
			if info, err := os.Stat(path); err != nil || info.Size() == 0 {
				t.Fatalf("%s is empty: %v", name, err)
			}
			hurt(path)
			r, err := check.Run(t.Context(), dir, check.Options{ReadData: true})
			found := strings.Join(r.Notes, "\n")
			for _, p := range r.Problems {
				found += "\n" + p.File
			}
			switch {
			case verb == "removed" && name == store.DatasetFile:
				if !errors.Is(err, store.ErrUnfinished) {
					t.Errorf("%s %s: %v", name, verb, err)
				}
			case err != nil:
				t.Errorf("%s %s: %v", name, verb, err)
			case verb == "removed" && strings.HasPrefix(name, "teachers/r50/0") && strings.HasSuffix(name, table.ManifestSuffix):
				if arrow := strings.TrimSuffix(name, table.ManifestSuffix) + table.ArrowSuffix; r.OK || !strings.Contains(found, name) || !strings.Contains(r.Problems[0].What, filepath.Base(arrow)) {
					t.Errorf("%s %s: %+v", name, verb, r)
				}
			case verb == "lengthened" && name == store.RejectsFile:
				if !strings.Contains(found, store.RejectsFile) { // an interrupted run may have left more
					t.Errorf("%s %s: %+v", name, verb, r)
				}
			case r.OK || !strings.Contains(found, name):
				t.Errorf("%s %s: %+v", name, verb, r)
			}
		}
	}
}
