package source

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

// Namespace stands, with a slash, before identities that are mere numbers, so that "0" of one
// source and "0" of another do not become one person. It is the name of the folder at path, or
// of the folder of the file, or of the pattern's files, at path.
func Namespace(path string) string {
	if abs, err := filepath.Abs(path); err == nil {
		path = abs
	}
	if info, err := os.Stat(path); err != nil || !info.IsDir() {
		path = filepath.Dir(path)
	}
	return escapeName(filepath.Base(path))
}

// number is what a class number looks like in text. Programs that count in floating point write
// the fraction.
var number = regexp.MustCompile(`^[+-]?[0-9]+(\.0*)?$`)

// personOf is the identity that a name in a table or in a text stands for. A mere number is a
// class of its source's own, so it goes behind the namespace, without fraction and sign. A
// negative number means that nobody knows who it is.
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
