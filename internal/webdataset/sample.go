package webdataset

import (
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
)

// Sample is the members that have one name, apart from their extensions.
type Sample struct {
	// Key is the name that they share, with its folders.
	Key     string
	Members []Member
	// Fault says why members may be missing; nil if none may. It is set if the archive is
	// damaged next to the sample, and the members are not those that samples of the archive
	// usually have.
	Fault error
}

// Member is one file of a sample.
type Member struct {
	// Name is its path in the archive. It is not absolute and has no . and .. unless Fault
	// says so. It need not be UTF-8.
	Name string
	// Extension is the part behind the first dot of the file name, in lower case; "" without one.
	Extension string
	// Size is in bytes.
	Size int64
	// Fault says why it cannot be read; nil if it can.
	Fault error

	offset int64 // of the data, in the archive
	head   [HeadLen]byte
	headed int // bytes of head that are there
	data   []byte
	held   bool
}

// HeadLen is how much of a member's beginning is at hand without reading it: what tells the format
// of an image, and of many formats the size.
const HeadLen = 32

// Head is the beginning of the member's data, up to [HeadLen] bytes.
func (m *Member) Head() []byte { return m.head[:m.headed] }

// look takes the head from the data that lie ahead. What cannot be read is noticed on the way
// past them.
func (m *Member) look(in *input) {
	ahead, _ := in.peek(int(min(m.Size, HeadLen)))
	m.headed = copy(m.head[:], ahead)
}

// Offset is where the member's data begin in the archive, after decompression.
func (m *Member) Offset() int64 { return m.offset }

// Held is how many bytes of the member's data are in memory.
func (m *Member) Held() int { return len(m.data) }

// Bounds of the memory that one sample takes.
const (
	maxMembers = 256
	// MaxHeld is how many bytes of a sample are held in memory at most.
	MaxHeld = 4 << 20
)

// member describes a member of an archive. ok is false for what is no file of a sample:
// folders, and names that begin with a dot.
func (h *header) member() (key string, m Member, ok bool) {
	if h.kind == kindDirectory || strings.HasSuffix(h.name, "/") && (h.kind == kindOld || h.kind == kindRegular) {
		return "", Member{}, false
	}
	m.Name, m.Fault = cleanName(h.name)
	m.Size = h.size
	if m.Fault == nil {
		m.Fault = h.fault()
	}
	dir, file := path.Split(m.Name)
	stem, extension, _ := strings.Cut(file, ".")
	if stem == "" {
		return "", Member{}, false
	}
	m.Extension = strings.ToLower(extension)
	return dir + stem, m, true
}

// cleanName makes names that mean the same equal. A name that leads out of the archive stays
// as it is, with the fault.
func cleanName(name string) (string, error) {
	if strings.HasPrefix(name, "/") {
		return name, errors.New("has an absolute name")
	}
	if slices.Contains(strings.Split(name, "/"), "..") {
		return name, errors.New("has a name that leads out of the archive")
	}
	return path.Clean(name), nil
}

// fault says why the data of a member are no file.
func (h *header) fault() error {
	if h.sparse {
		return errors.New("is a sparse file")
	}
	switch h.kind {
	case kindOld, kindRegular, kindContiguous:
		return nil
	case kindHardLink:
		return errors.New("is a hard link to another member")
	case kindSymlink:
		return errors.New("is a symbolic link")
	case kindCharacter, kindBlock:
		return errors.New("is a device")
	case kindFIFO:
		return errors.New("is a named pipe")
	}
	return fmt.Errorf("is a member of unknown type %q", h.kind)
}

// extensions are those of all members.
func (s *Sample) extensions() string {
	var all []string
	for _, m := range s.Members {
		all = append(all, m.Extension)
	}
	slices.Sort(all)
	return strings.Join(all, " ")
}
