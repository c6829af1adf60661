package store

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"facepipe/internal/durable"
)

// builtDoc is index/BUILT.json. It is written last, and says which snapshot the
// index is of and what every byte of it should be: Badger ends the process when it
// meets some kinds of damage, so that it is only given files that have none.
type builtDoc struct {
	header
	// Dataset is the digest of the dataset.
	Dataset string      `json:"dataset"`
	Files   []builtFile `json:"files"`
}

type builtFile struct {
	Name     string   `json:"name"`
	Bytes    int64    `json:"bytes"`
	Checksum checksum `json:"crc32c"`
}

// errStaleIndex is of an index that was good until the dataset grew.
var errStaleIndex = errors.New("is of another state of the dataset")

// verifyBuilt returns the index's folder if its files are as they were built, for
// this snapshot. A missing index is [os.ErrNotExist].
func verifyBuilt(dir, digest string) (folder string, err error) {
	folder = filepath.Join(dir, indexFolder)
	var doc builtDoc
	if err := readSealed(filepath.Join(folder, builtName), formatIndex, &doc); err != nil {
		return "", err
	}
	if doc.Dataset != digest {
		return "", fmt.Errorf("%s %w", folder, errStaleIndex)
	}
	for _, want := range doc.Files {
		if filepath.Base(want.Name) != want.Name {
			return "", damaged(filepath.Join(folder, builtName), "lists a file %q", want.Name)
		}
		got, err := describeFile(folder, want.Name)
		if err != nil {
			return "", missingIsDamage(filepath.Join(folder, want.Name), err)
		}
		if got != want {
			return "", damaged(filepath.Join(folder, want.Name), "is not what was built")
		}
	}
	return folder, nil
}

// describeFile reads a file and sums it up.
func describeFile(folder, name string) (builtFile, error) {
	f, err := os.Open(filepath.Join(folder, name))
	if err != nil {
		return builtFile{}, err
	}
	defer f.Close()
	d := builtFile{Name: name}
	buf := make([]byte, 1<<17)
	for {
		n, err := f.Read(buf)
		d.Bytes += int64(n)
		d.Checksum = d.Checksum.extend(buf[:n])
		if errors.Is(err, io.EOF) {
			return d, nil
		}
		if err != nil {
			return builtFile{}, err
		}
	}
}

// buildBadgerIndex makes the index of s in an empty folder, durably.
func buildBadgerIndex(ctx context.Context, s *indexSource, folder string) error {
	if err := checkSpace(s, folder); err != nil {
		return err
	}
	if err := fillBadger(ctx, s, folder); err != nil {
		return fmt.Errorf("build index: %w", err)
	}
	doc := builtDoc{header: headerOf(formatIndex), Dataset: s.digest}
	entries, err := os.ReadDir(folder)
	if err != nil {
		return err
	}
	for _, e := range entries {
		file, err := finishFile(s.disk, folder, e.Name())
		if err != nil {
			return fmt.Errorf("build index: %w", err)
		}
		doc.Files = append(doc.Files, file)
	}
	data, err := encodeSealed(&doc)
	if err != nil {
		return err
	}
	return s.disk.WriteFile(filepath.Join(folder, builtName), data, onceMode)
}

// finishFile makes one of Badger's files durable and readable for everybody (it
// creates them for its own user), and describes it.
func finishFile(disk durable.Disk, folder, name string) (builtFile, error) {
	if err := disk.FS.Seal(filepath.Join(folder, name), onceMode); err != nil {
		return builtFile{}, err
	}
	return describeFile(folder, name)
}

// checkSpace refuses to begin where the disk will run full: entries are sorted in files
// first, whose size is not known yet.
func checkSpace(s *indexSource, folder string) error {
	const perInput = 1 << 10 // bytes of entries, generously
	return requireSpace(folder, int64(s.inputs)*perInput)
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
