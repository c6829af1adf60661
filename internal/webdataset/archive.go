package webdataset

import (
	"errors"
	"fmt"
	"io"
)

// maxExtension bounds the headers that hold names and attributes, maxName the names in them.
const (
	maxExtension = 1 << 20
	maxName      = 16 << 10
)

// Errors of an archive.
var (
	errEndless = errors.New("ends without an end marker, as if it was cut short")
	errCut     = errors.New("is cut short in a header")
	errBehind  = errors.New("has data behind its end marker")
)

// archive yields the members of a tar archive.
type archive struct{ in *input }

// next returns the next member's header; the data are ahead then. io.EOF is the archive's
// proper end. Another error leaves the input where it is.
func (a *archive) next() (header, error) {
	var o override
	for {
		block, err := a.in.peek(blockBytes)
		switch {
		case err != nil:
			return header{}, err
		case len(block) == 0:
			return header{}, errEndless
		case len(block) < blockBytes:
			return header{}, errCut
		case isZero(block):
			return header{}, io.EOF
		}
		h, err := parseHeader(block)
		if err != nil {
			return header{}, err
		}
		if err := a.in.skip(blockBytes); err != nil {
			return header{}, err
		}
		extended, err := a.extension(h, &o)
		if err != nil {
			return header{}, err
		}
		if !extended {
			o.apply(&h)
			return h, a.skipMap(h)
		}
	}
}

func isZero(b []byte) bool {
	for _, c := range b {
		if c != 0 {
			return false
		}
	}
	return true
}

// extension takes a header that only describes the next member.
func (a *archive) extension(h header, o *override) (bool, error) {
	switch h.kind {
	case kindPAXGlobal, kindLongLink:
		return true, a.skipData(h.size)
	case kindPAX, kindLongName:
	default:
		return false, nil
	}
	if h.size > maxExtension {
		return false, fmt.Errorf("%w: has %d bytes, more than the limit of %d", errPAX, h.size, maxExtension)
	}
	if h.size > a.in.left() {
		return false, errCut
	}
	data, err := a.in.read(h.size)
	if err != nil {
		return false, err
	}
	if err := a.skipPadding(h.size); err != nil {
		return false, err
	}
	if h.kind == kindLongName {
		o.name = text(data)
	} else if err := o.parse(string(data)); err != nil {
		return false, err
	}
	if n := len(o.name); n > maxName {
		o.refused = fmt.Errorf("%w: a name of %d bytes, more than the limit of %d", errPAX, n, maxName)
	}
	return true, nil
}

// skipMap passes over the map of a sparse file's holes.
func (a *archive) skipMap(h header) error {
	for h.more {
		block, err := a.in.peek(blockBytes)
		if err != nil {
			return err
		}
		if len(block) < blockBytes {
			return errCut
		}
		h.more = block[extensionMore] != 0
		if err := a.in.skip(blockBytes); err != nil {
			return err
		}
	}
	return nil
}

// skipData passes over a member's data.
func (a *archive) skipData(size int64) error {
	if size > a.in.left() {
		return io.ErrUnexpectedEOF
	}
	if err := a.in.skip(size); err != nil {
		return err
	}
	return a.skipPadding(size)
}

// skipPadding passes over the bytes that fill the last block of data. At the end of the file
// they may be missing.
func (a *archive) skipPadding(size int64) error {
	err := a.in.skip(-size & (blockBytes - 1))
	if errors.Is(err, io.ErrUnexpectedEOF) && a.in.size >= 0 {
		return nil
	}
	return err
}
