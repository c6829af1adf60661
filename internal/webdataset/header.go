package webdataset

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// blockBytes is the unit of a tar archive.
const blockBytes = 512

// Kinds of members, the type flags of their headers.
const (
	kindOld        = 0 // a regular file before POSIX
	kindRegular    = '0'
	kindHardLink   = '1'
	kindSymlink    = '2'
	kindCharacter  = '3'
	kindBlock      = '4'
	kindDirectory  = '5'
	kindFIFO       = '6'
	kindContiguous = '7'
	kindPAX        = 'x' // attributes of the next member
	kindPAXGlobal  = 'g'
	kindLongName   = 'L' // GNU: name of the next member
	kindLongLink   = 'K'
	kindSparse     = 'S' // GNU
)

// Errors of a header.
var (
	errNoHeader = errors.New("no tar header")
	errPAX      = errors.New("malformed pax header")
)

// header is what a member's header says.
type header struct {
	name   string
	size   int64
	kind   byte
	sparse bool // with holes: the data are not the file
	more   bool // more blocks of the map of holes follow
	// refused is why the member cannot be taken, though it is known where it ends.
	refused error
}

// Places in a header block.
const (
	magicAt        = 257
	magic          = "ustar"
	sparseMoreAt   = 482
	extensionMore  = 504 // in a further block of the map of holes
	posixMagic     = "ustar\x00"
	checksumAt     = 148
	checksumLength = 8
)

// parseHeader reads a header block.
func parseHeader(b []byte) (header, error) {
	if !checksumFits(b) {
		return header{}, errNoHeader
	}
	h := header{name: text(b[:100]), kind: b[156]}
	size, ok := number(b[124:136])
	if !ok {
		return header{}, fmt.Errorf("%w: size %q", errNoHeader, b[124:136])
	}
	h.size = size
	if string(b[magicAt:magicAt+len(posixMagic)]) == posixMagic {
		if prefix := text(b[345:500]); prefix != "" {
			h.name = prefix + "/" + h.name
		}
	}
	if h.dataless() {
		h.size = 0 // whatever it says
	}
	if h.kind == kindSparse {
		h.sparse, h.more = true, b[sparseMoreAt] != 0
	}
	return h, nil
}

// dataless says whether no data follow headers of the kind.
func (h *header) dataless() bool {
	switch h.kind {
	case kindHardLink, kindSymlink, kindCharacter, kindBlock, kindDirectory, kindFIFO:
		return true
	}
	return false
}

// checksumFits compares the checksum with the sum of all bytes, where spaces stand for the
// checksum itself. Some old programs summed signed bytes.
func checksumFits(b []byte) bool {
	want, ok := number(b[checksumAt : checksumAt+checksumLength])
	if !ok {
		return false
	}
	unsigned, signed := int64(0), int64(0)
	for i, c := range b[:blockBytes] {
		if i >= checksumAt && i < checksumAt+checksumLength {
			c = ' '
		}
		unsigned += int64(c)
		signed += int64(int8(c))
	}
	return want == unsigned || want == signed
}

// text is a field that ends at its first NUL.
func text(b []byte) string {
	b, _, _ = bytes.Cut(b, []byte{0})
	return string(b)
}

// number is a field of octal digits. A large number has the high bit set and is of base 256.
func number(b []byte) (int64, bool) {
	if b[0]&0x80 == 0 {
		v, err := strconv.ParseInt(strings.Trim(string(b), " \x00"), 8, 64)
		return v, err == nil && v >= 0
	}
	v := int64(b[0] & 0x7f)
	for _, c := range b[1:] {
		if v >= 1<<55 {
			return 0, false
		}
		v = v<<8 | int64(c)
	}
	return v, true
}

// override is what pax and GNU headers say about the next member.
type override struct {
	name    string
	size    int64
	hasSize bool
	sparse  bool
	refused error
}

func (o override) apply(h *header) {
	h.refused = o.refused
	if o.name != "" {
		h.name = o.name
	}
	if o.hasSize && !h.dataless() {
		h.size = o.size
	}
	h.sparse = h.sparse || o.sparse
}

// parse reads the records of a pax header: "LENGTH KEY=VALUE\n", LENGTH counting the
// whole record.
func (o *override) parse(data string) error {
	for data != "" {
		digits, _, ok := strings.Cut(data, " ")
		n, err := strconv.Atoi(digits)
		if !ok || err != nil || n <= len(digits)+1 || n > len(data) || data[n-1] != '\n' {
			return fmt.Errorf("%w: a record of no length", errPAX)
		}
		key, value, ok := strings.Cut(data[len(digits)+1:n-1], "=")
		if !ok {
			return fmt.Errorf("%w: a record without a value", errPAX)
		}
		if err := o.record(key, value); err != nil {
			return err
		}
		data = data[n:]
	}
	return nil
}

func (o *override) record(key, value string) error {
	switch {
	case key == "path":
		if strings.ContainsRune(value, 0) {
			return fmt.Errorf("%w: a name with NUL", errPAX)
		}
		o.name = value
	case key == "size":
		n, err := strconv.ParseInt(value, 10, 64)
		if err != nil || n < 0 {
			return fmt.Errorf("%w: size %q", errPAX, value)
		}
		o.size, o.hasSize = n, true
	case strings.HasPrefix(key, "GNU.sparse."):
		o.sparse = true
	}
	return nil
}
