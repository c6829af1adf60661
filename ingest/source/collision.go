package source

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
	case numbersPeople(a.Kind) && numbersPeople(b.Kind) && Namespace(a.Path) == Namespace(b.Path):
		return "both would name people " + Namespace(a.Path) + "/NUMBER"
	}
	return ""
}

// numbersPeople says whether identities of a kind are numbers behind a [Namespace].
func numbersPeople(kind string) bool { return kind == "recordio" || kind == "webdataset" }
