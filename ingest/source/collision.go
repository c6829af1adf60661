package source

import "path/filepath"

// Collision says how the names of two sources would meet although they mean different
// photographs or people; "" if they are kept apart. Kinds whose keys or identities are
// mere numbers begin anew in every source. Sources that are described in the same words
// are one.
func Collision(a, b Spec) string {
	switch {
	case a == b:
		return ""
	case a.Kind == b.Kind && (a.Kind == "recordio" || a.Kind == "bin"):
		return "the keys of both are numbers"
	case a.Kind == "manifest" && b.Kind == "manifest" && folderOf(a.Path) == folderOf(b.Path):
		return "" // lists of one set, train.csv and val.csv
	case numbersPeople(a.Kind) && numbersPeople(b.Kind) && Namespace(a.Path) == Namespace(b.Path):
		return "both would name people " + Namespace(a.Path) + "/NUMBER"
	}
	return ""
}

// numbersPeople says whether identities of a kind are numbers behind a [Namespace].
func numbersPeople(kind string) bool {
	return kind == "recordio" || kind == "webdataset" || kind == "manifest"
}

// folderOf is the folder that a file lies in.
func folderOf(path string) string {
	if abs, err := filepath.Abs(path); err == nil {
		path = abs
	}
	return filepath.Dir(path)
}
