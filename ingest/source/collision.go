package source

import (
	"path/filepath"

	"facepipe/internal/durable"
)

// KeyCollision says how the keys of two sources would meet although they mean different
// photographs; "" if they are kept apart. Numbers begin anew in every source, so kinds with
// numbers for keys collide. Sources that are described in the same words are one.
func KeyCollision(a, b Spec) string {
	if k, _ := kindOf(a.Kind); a != b && a.Kind == b.Kind && k.numberedKeys {
		return "the keys of both are numbers"
	}
	return ""
}

// PeopleCollision is the same for people, as far as the descriptions tell: kinds with numbers for
// people collide, unless it is [SameSet].
func PeopleCollision(a, b Spec) string {
	kindA, _ := kindOf(a.Kind)
	kindB, _ := kindOf(b.Kind)
	if a != b && !SameSet(a, b) && kindA.numberedPeople && kindB.numberedPeople && Namespace(a.Path) == Namespace(b.Path) {
		return "both would name people " + Namespace(a.Path) + "/NUMBER"
	}
	return ""
}

// SameSet says whether a number means the same person in two sources: they are one place, or lists
// of one set, which lie in one folder.
func SameSet(a, b Spec) bool {
	k, _ := kindOf(a.Kind)
	return a.Kind == b.Kind && (a.Path == b.Path || durable.SameFile(a.Path, b.Path) || k.sharedFolder && folderOf(a.Path) == folderOf(b.Path))
}

// Grown says whether b is, in its kind's own words, what a was with more in it: a set of shards in
// one folder gets another pattern when shards are added.
func Grown(a, b Spec) bool {
	return a.Kind == webDatasetKind.name && a.Kind == b.Kind && folderOf(a.Path) == folderOf(b.Path)
}

// folderOf is the folder that a file lies in.
func folderOf(path string) string {
	if abs, err := filepath.Abs(path); err == nil {
		path = abs
	}
	return filepath.Dir(path)
}
