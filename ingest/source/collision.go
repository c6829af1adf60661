package source

import "path/filepath"

// Collision says how the names of two sources would meet although they mean different
// photographs or people; "" if they are kept apart. Numbers begin anew in every source, so
// kinds with numbers for keys or for people collide. Sources that are described in the same
// words are one.
func Collision(a, b Spec) string {
	if a == b {
		return ""
	}
	kindA, _ := kindOf(a.Kind)
	kindB, _ := kindOf(b.Kind)
	switch {
	case a.Kind == b.Kind && kindA.numberedKeys:
		return "the keys of both are numbers"
	case a.Kind == b.Kind && kindA.sharedFolder && folderOf(a.Path) == folderOf(b.Path):
		return ""
	case kindA.numberedPeople && kindB.numberedPeople && Namespace(a.Path) == Namespace(b.Path):
		return "both would name people " + Namespace(a.Path) + "/NUMBER"
	}
	return ""
}

// folderOf is the folder that a file lies in.
func folderOf(path string) string {
	if abs, err := filepath.Abs(path); err == nil {
		path = abs
	}
	return filepath.Dir(path)
}
