package index

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"facepipe/internal/alloctest"
	"facepipe/store/internal/table"
)

// tableFiles are the tables of an index.
func tableFiles(t testing.TB, dir string) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, Folder, "*"+tableSuffix))
	if err != nil || len(files) == 0 {
		t.Fatalf("tables are %q, %v", files, err)
	}
	return files
}

// Entries are found in whichever of several tables they are, and in whichever block.
func TestSeveralTables(t *testing.T) {
	const n = 5000
	source := sourceOf(t, n)
	long := func(row int) string { return keyOf(row) + strings.Repeat("/"+keyOf(row), 150) }
	source.Each = func(_ context.Context, to Entries) error {
		for row := range n {
			if err := to.Crop(row, idOf(row), long(row)); err != nil {
				return err
			}
		}
		return nil
	}
	ix := onDisk(t, source)
	defer mustClose(t, ix.Close)
	if files := tableFiles(t, source.Dir); len(files) < 2 {
		t.Fatalf("has only %q", files)
	}
	for row := range n {
		for _, find := range []func() (table.Location, bool, error){
			func() (table.Location, bool, error) { return ix.ByKey(long(row)) },
			func() (table.Location, bool, error) { return ix.ByID(idOf(row)) },
		} {
			if l, ok, err := find(); l != locate(row) || !ok || err != nil {
				t.Fatalf("row %d: %+v, %t, %v", row, l, ok, err)
			}
		}
	}
	for _, key := range []string{"", "a", long(7) + "x", keyOf(7), "zzz"} {
		if l, ok, err := ix.ByKey(key); ok || err != nil {
			t.Errorf("%.20q is at %+v, %v", key, l, err)
		}
	}
	if err := compareIndex(t.Context(), source, ix); err != nil {
		t.Error(err)
	}
}

// ask looks all crops of a dataset up, and some that it does not have, and reads all entries.
func ask(t testing.TB, data []byte, rows int) error {
	s := &sorted{path: "crafted", data: data}
	if err := s.readList(); err != nil {
		return err
	}
	ix := &Badger{folder: "crafted", tables: tables{s}}
	var all []error
	for row := range rows + 2 {
		_, _, idErr := ix.ByID(idOf(row))
		_, _, keyErr := ix.ByKey(keyOf(row))
		all = append(all, idErr, keyErr)
	}
	all = append(all, ix.each(t.Context(), func(_, _ []byte) error { return nil }))
	for _, err := range all {
		if err != nil && !errors.Is(err, table.ErrDamaged) {
			t.Fatal(err)
		}
	}
	return errors.Join(all...)
}

// Whatever one of Badger's tables holds, looking up in it neither ends the process nor takes much
// memory; how it is to be checksummed is not asked.
func TestCraftedTables(t *testing.T) {
	const n = 20
	source := sourceOf(t, n)
	mustClose(t, onDisk(t, source).Close)
	whole, err := os.ReadFile(tableFiles(t, source.Dir)[0])
	if err != nil {
		t.Fatal(err)
	}
	if err := ask(t, whole, n); err != nil {
		t.Fatal(err)
	}
	data := slices.Clone(whole)
	try := func(name string, at int, data []byte) {
		alloctest.AtMost(t, 64*len(whole)+512<<10, func() { _ = ask(t, data, n) })
		if t.Failed() {
			t.Fatalf("%s at %d of %d", name, at, len(whole))
		}
	}
	for at, was := range whole {
		for _, is := range []byte{was ^ 0x80, 0xff, was + 1} {
			data[at] = is
			try(fmt.Sprint("byte ", is), at, data)
		}
		data[at] = was
	}
	for at := 0; at+4 <= len(whole); at++ {
		binary.BigEndian.PutUint32(data[at:], 1<<31-1)
		try("length", at, data)
		copy(data, whole)
	}
	for at := range whole {
		if try("cut", at, whole[:at]); ask(t, whole[:at], n) == nil {
			t.Fatalf("cut at %d of %d is no damage", at, len(whole))
		}
	}
}

// FuzzTable reads a table of anything.
func FuzzTable(f *testing.F) {
	source := sourceOf(f, 20)
	if err := source.Replace(f.Context()); err != nil {
		f.Fatal(err)
	}
	whole, err := os.ReadFile(tableFiles(f, source.Dir)[0])
	if err != nil {
		f.Fatal(err)
	}
	f.Add(whole)
	f.Fuzz(func(t *testing.T, data []byte) {
		alloctest.AtMost(t, 64*len(data)+512<<10, func() { _ = ask(t, data, 20) })
	})
}

// Of entries that come twice only as many are counted as there are keys.
func TestRepeatedEntriesAreFound(t *testing.T) {
	const n = 30
	source := sourceOf(t, n)
	ix := onDisk(t, source)
	defer mustClose(t, ix.Close)
	ix.tables = append(ix.tables, ix.tables[0])
	if err := compareIndex(t.Context(), source, ix); err == nil || !strings.Contains(err.Error(), "does not come after") {
		t.Errorf("a table twice: %v", err)
	}
	ix.tables = ix.tables[:1]
}

// Lists of files that lead out of the folder, or to what is no file, are damage.
func TestCraftedLists(t *testing.T) {
	for name, doc := range map[string]builtDoc{
		"another folder": {Files: []builtFile{{Name: "../BUILT.json"}}},
		"no file":        {Files: []builtFile{{Name: "."}}},
		"empty table":    {Files: []builtFile{{Name: "000001.sst"}}},
		"endless":        {Files: []builtFile{{Name: "000002.sst", Bytes: 1 << 40}}},
	} {
		dir := t.TempDir()
		folder := filepath.Join(dir, Folder)
		doc.Header, doc.Dataset = table.HeaderOf(table.FormatIndex), "digest"
		data, err := table.EncodeSealed(&doc)
		if err := errors.Join(err, os.Mkdir(folder, 0o755), os.WriteFile(filepath.Join(folder, builtName), data, 0o644),
			os.WriteFile(filepath.Join(folder, "000001.sst"), nil, 0o644), os.Symlink("/dev/zero", filepath.Join(folder, "000002.sst"))); err != nil {
			t.Fatal(err)
		}
		if ix, err := Open(dir, "digest"); err == nil {
			t.Errorf("%s: opened", name)
			mustClose(t, ix.Close)
		}
	}
}
