package detect

import (
	"fmt"
	"strings"
)

// None is the kind of a [Spec] that asks for no detector.
const None = "none"

// Spec names a detector on the command line: "none" or KIND=FILE.
type Spec struct {
	// Kind is none, scrfd or yunet.
	Kind string
	// File is the path of the ONNX model.
	File string
}

func families() []family { return []family{scrfdFamily, yunetFamily} }

// ParseSpec reads a [Spec]; the empty string is "none". An unknown kind is refused
// with the known ones.
func ParseSpec(s string) (Spec, error) {
	if s == "" || s == None {
		return Spec{Kind: None}, nil
	}
	kind, file, _ := strings.Cut(s, "=")
	known := []string{None}
	for _, f := range families() {
		if kind == f.kind && file != "" {
			return Spec{Kind: kind, File: file}, nil
		}
		known = append(known, f.kind+"=FILE")
	}
	return Spec{}, fmt.Errorf("detector %q: want one of %s", s, strings.Join(known, ", "))
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
