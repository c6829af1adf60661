package table

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"facepipe/internal/durable"
)

// Modes of what is written. Shards and manifests are written once.
const (
	OnceMode   os.FileMode = 0o444
	FileMode   os.FileMode = 0o644
	FolderMode os.FileMode = 0o755
)

// RemoveAll is [os.RemoveAll] on a disk. Others may be at it, too.
func RemoveAll(disk durable.Disk, path string) error {
	info, err := os.Lstat(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if info.IsDir() {
		entries, err := os.ReadDir(path)
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
		for _, e := range entries {
			if err := RemoveAll(disk, filepath.Join(path, e.Name())); err != nil {
				return err
			}
		}
	}
	if err := disk.FS.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}

// SyncAbove makes the name of a folder durable. It was made by this run, by one that was
// killed before it came to that, or by the user.
func SyncAbove(disk durable.Disk, dir string) error {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return err
	}
	return disk.FS.SyncDir(filepath.Dir(dir))
}

// RemoveShard removes the table of a shard that was never committed.
func RemoveShard(disk durable.Disk, path string) error {
	if err := disk.FS.Remove(path); err != nil {
		return fmt.Errorf("remove uncommitted shard: %w", err)
	}
	return nil
}
