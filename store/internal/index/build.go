package index

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"facepipe/internal/durable"
	"facepipe/internal/regular"
	"facepipe/store/internal/table"
)

// builtDoc is index/BUILT.json. It is written last, and says which snapshot the
// index is of and what every byte of it should be.
type builtDoc struct {
	table.Header
	// Dataset is the digest of the dataset.
	Dataset string      `json:"dataset"`
	Files   []builtFile `json:"files"`
}

type builtFile struct {
	Name     string         `json:"name"`
	Bytes    int64          `json:"bytes"`
	Checksum table.Checksum `json:"crc32c"`
}

// errStaleIndex is of an index that was good until the dataset grew.
var errStaleIndex = errors.New("is of another state of the dataset")

// readBuilt reads the list of an index's files, and returns the folder. A missing index is
// [os.ErrNotExist].
func readBuilt(dir string) (folder string, doc builtDoc, err error) {
	folder = filepath.Join(dir, Folder)
	path := filepath.Join(folder, builtName)
	if err := table.ReadSealed(path, table.FormatIndex, &doc); err != nil {
		return folder, doc, err
	}
	for _, f := range doc.Files {
		if filepath.Base(f.Name) != f.Name {
			return folder, doc, table.Damaged(path, "lists a file %q", f.Name)
		}
	}
	return folder, doc, nil
}

// tableSuffix ends the names of Badger's tables. The other files are for Badger itself.
const tableSuffix = ".sst"

// openBuilt opens the tables of an index if all its files are as they were built.
func openBuilt(folder string, doc builtDoc) (t tables, err error) {
	for _, want := range doc.Files {
		path := filepath.Join(folder, want.Name)
		if filepath.Ext(path) == tableSuffix {
			s, err := openSorted(path, want)
			if err != nil {
				return t, err
			}
			t = append(t, s)
			continue
		}
		if err := compareBuilt(folder, want); err != nil {
			return t, err
		}
	}
	return t, nil
}

// maxOther is more bytes than Badger's files have that are no tables.
const maxOther = 1 << 28

// compareBuilt looks whether a file that is no table is as it was built.
func compareBuilt(folder string, want builtFile) error {
	path := filepath.Join(folder, want.Name)
	info, err := os.Lstat(path)
	if err != nil {
		return table.MissingIsDamage(path, err)
	}
	if info.Size() != want.Bytes || want.Bytes > maxOther {
		return table.Damaged(path, "has %d bytes, and is not what was built", info.Size())
	}
	got, err := describeFile(folder, want.Name)
	if err != nil {
		return table.MissingIsDamage(path, err)
	}
	if got != want {
		return table.Damaged(path, "is not what was built")
	}
	return nil
}

// describeFile reads a file and sums it up.
func describeFile(folder, name string) (builtFile, error) {
	f, err := regular.OpenOwn(filepath.Join(folder, name))
	if err != nil {
		return builtFile{}, err
	}
	defer f.Close()
	d := builtFile{Name: name}
	buf := make([]byte, 1<<17)
	for {
		n, err := f.Read(buf)
		d.Bytes += int64(n)
		d.Checksum = d.Checksum.Extend(buf[:n])
		if errors.Is(err, io.EOF) {
			return d, nil
		}
		if err != nil {
			return builtFile{}, err
		}
	}
}

// build makes the index of s in an empty folder, durably.
func build(ctx context.Context, s *Source, folder string) error {
	if err := checkSpace(s, folder); err != nil {
		return err
	}
	if err := fillBadger(ctx, s, folder); err != nil {
		return fmt.Errorf("build index: %w", err)
	}
	doc := builtDoc{Header: table.HeaderOf(table.FormatIndex), Dataset: s.Digest}
	entries, err := os.ReadDir(folder)
	if err != nil {
		return err
	}
	for _, e := range entries {
		file, err := finishFile(s.Disk, folder, e.Name())
		if err != nil {
			return fmt.Errorf("build index: %w", err)
		}
		doc.Files = append(doc.Files, file)
	}
	data, err := table.EncodeSealed(&doc)
	if err != nil {
		return err
	}
	return s.Disk.WriteFile(filepath.Join(folder, builtName), data, table.OnceMode)
}

// finishFile makes one of Badger's files durable and readable for everybody (it
// creates them for its own user), and describes it.
func finishFile(disk durable.Disk, folder, name string) (builtFile, error) {
	if err := disk.FS.Seal(filepath.Join(folder, name), table.OnceMode); err != nil {
		return builtFile{}, err
	}
	return describeFile(folder, name)
}

// checkSpace refuses to begin where the disk will run full: entries are sorted in files
// first, whose size is not known yet.
func checkSpace(s *Source, folder string) error {
	const perInput = 1 << 10 // bytes of entries, generously
	return requireSpace(folder, int64(s.Inputs)*perInput)
}

// requireSpace refuses to go on where so many bytes may not fit: Badger writes through
// mappings, and a full disk then ends the process with SIGBUS.
func requireSpace(folder string, need int64) error {
	const fixedCost = 16 << 20
	need += fixedCost
	var fs unix.Statfs_t
	if err := unix.Statfs(folder, &fs); err != nil {
		return fmt.Errorf("find free space of %s: %w", folder, err)
	}
	free := int64(fs.Bavail) * int64(fs.Bsize)
	if free < need {
		return fmt.Errorf("build index: %d MiB are free, it may take %d: %w", free>>20, need>>20, unix.ENOSPC)
	}
	return nil
}
