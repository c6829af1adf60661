package detect

import (
	"fmt"
	"strings"
)

// None is the kind of a [Spec] that asks for no detector.
const None = "none"

// Spec names a detector on the command line: "none" or KIND=FILE.
type Spec struct {
	// Kind is [None] or that of a [family].
	Kind string
	// File is the path of the ONNX model.
	File string
}

// families are the kinds of models that can be used. To add one, write a file with its value
// and name it here.
func families() []family { return []family{scrfdFamily, yunetFamily} }

// Help lists what a [Spec] may be, for the command line.
func Help() string {
	forms := forms(".onnx")
	last := len(forms) - 1
	return strings.Join(forms[:last], ", ") + " or " + forms[last]
}

// forms are the ways to write a spec, for files with an ending.
func forms(ending string) []string {
	list := []string{None}
	for _, f := range families() {
		list = append(list, f.kind+"=FILE"+ending)
	}
	return list
}

// ParseSpec reads a [Spec]; the empty string is "none". An unknown kind is refused with the
// known ones.
func ParseSpec(s string) (Spec, error) {
	if s == "" || s == None {
		return Spec{Kind: None}, nil
	}
	kind, file, _ := strings.Cut(s, "=")
	spec := Spec{Kind: kind, File: file}
	if _, err := spec.family(); err != nil || file == "" {
		return Spec{}, fmt.Errorf("detector %q: want one of %s", s, strings.Join(forms(""), ", "))
	}
	return spec, nil
}

// family is the one of the spec's kind.
func (s Spec) family() (family, error) {
	for _, f := range families() {
		if f.kind == s.Kind {
			return f, nil
		}
	}
	return family{}, fmt.Errorf("detector kind %q is unknown", s.Kind)
}
