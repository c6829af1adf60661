package powerloss

import (
	"fmt"
	"hash/maphash"
	"maps"
	"os"
	"path/filepath"
	"slices"
)

// State is what a disk holds: files and folders by their paths.
type State map[string]entry

type entry struct {
	folder bool
	data   []byte
	perm   os.FileMode
}

var seed = maphash.MakeSeed()

// Sum is a hash of the state, valid within one process. Of files for which skip is true only
// the name counts.
func (s State) Sum(skip func(path string) bool) uint64 {
	var h maphash.Hash
	h.SetSeed(seed)
	for _, path := range slices.Sorted(maps.Keys(s)) {
		e := s[path]
		if skip(path) {
			e.data = nil
		}
		fmt.Fprintf(&h, "%q %t %d\n", path, e.folder, len(e.data))
		_, _ = h.Write(e.data)
	}
	return h.Sum64()
}

// Write makes the state in an empty folder.
func (s State) Write(root string) error {
	for _, path := range slices.Sorted(maps.Keys(s)) {
		e, at := s[path], filepath.Join(root, path)
		if e.folder {
			if err := os.Mkdir(at, 0o755); err != nil {
				return err
			}
			continue
		}
		if err := os.WriteFile(at, e.data, 0o600); err != nil {
			return err
		}
		if err := os.Chmod(at, e.perm); err != nil {
			return err
		}
	}
	return nil
}
