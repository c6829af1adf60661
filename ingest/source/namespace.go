package source

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
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

// number is what a class number looks like in text; tables that were written by
// programs that count in floating point have the fraction.
var number = regexp.MustCompile(`^[+-]?[0-9]+(\.0*)?$`)

// personOf is the identity that a name in a table or in a text stands for. A mere number
// is a class of its source's own, so it goes behind the namespace, without fraction and
// sign; a negative one says, as everywhere, that nobody knows who it is.
func personOf(name, namespace string) string {
	name = strings.TrimSpace(name)
	if !number.MatchString(name) {
		return escapeName(name)
	}
	if strings.HasPrefix(name, "-") {
		return ""
	}
	class, _, _ := strings.Cut(strings.TrimPrefix(name, "+"), ".")
	return namespace + "/" + class
}
