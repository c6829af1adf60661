package source

import (
	"os"
	"path/filepath"
)

// Namespace is what sources whose identities are mere numbers put before them, with a
// slash: the name of the folder at path, or of the folder that holds the file or the
// files of the pattern at path. So "0" of one dataset and "0" of another do not become
// one person.
func Namespace(path string) string {
	if abs, err := filepath.Abs(path); err == nil {
		path = abs
	}
	if info, err := os.Stat(path); err != nil || !info.IsDir() {
		path = filepath.Dir(path)
	}
	return escapeName(filepath.Base(path))
}
