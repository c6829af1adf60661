package recordio

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// Record is where a record lies in its file, and how it begins.
type Record struct {
	Offset int64 // of its first frame, a multiple of 4
	End    int64 // the first byte behind its last frame and the padding
	Length int64 // of the record in bytes, magic words put back
}

// DamageError is a stretch of a file in which no record could be read.
type DamageError struct {
	From, To int64 // the first byte, and the first one behind
	Reason   string
}

func (e *DamageError) Error() string {
	return fmt.Sprintf("damaged from byte %d to %d: %s", e.From, e.To, e.Reason)
}

// PrefixSize is how much of a record's beginning [Scanner.Prefix] keeps. A header and two
// labels are enough to tell images from other records; it is some more.
const PrefixSize = HeaderSize + 4*10

// Scanner goes through the records of a file in their order.
//
// A record is taken only if its frames fit together, if no magic word stands in them
// where there can be none, if the padding is zero and if another record, or the end of
// the file, follows. So a damaged length never makes a record longer or shorter
// (except by the zero bytes of the padding), and damaged magic words and part numbers
// are noticed. Damage to an image's own bytes cannot be seen here.
//
// Whatever is in the file, memory is a fixed window and time is linear in the file's size. A
// Scanner is used by one goroutine.
type Scanner struct {
	window *window
	next   int64
	prefix []byte
}

// NewScanner scans a file of size bytes from the record at offset on.
func NewScanner(r io.ReaderAt, size, offset int64) *Scanner {
	return &Scanner{window: newWindow(r, size), next: offset, prefix: make([]byte, 0, PrefixSize)}
}

// Next returns the next record, io.EOF behind the last one, or a [*DamageError], after
// which it may be called again for what follows the damage. Any other error means that
// the file cannot be read; [ErrHistoric] that it is of another format.
func (s *Scanner) Next() (Record, error) {
	if s.next >= s.window.size {
		return Record{}, io.EOF
	}
	if s.next == 0 {
		if err := s.refuseHistoric(); err != nil {
			return Record{}, err
		}
	}
	from := s.next
	record, err := s.record(from)
	var why fault
	switch {
	case err == nil:
		s.next = record.End
		return record, nil
	case !errors.As(err, &why):
		return Record{}, err
	}
	if s.next, err = s.resync(from + alignment); err != nil {
		s.next = from
		return Record{}, err
	}
	return Record{}, &DamageError{From: from, To: s.next, Reason: why.Error()}
}

// Prefix is the beginning, up to [PrefixSize] bytes, of the record that Next returned,
// valid until it is called again.
func (s *Scanner) Prefix() []byte { return s.prefix }

func (s *Scanner) refuseHistoric() error {
	b, err := s.window.at(0, alignment)
	if err == nil && len(b) == alignment && binary.LittleEndian.Uint32(b) == historicMagic {
		return ErrHistoric
	}
	return err
}

// record looks at all frames of the record at offset. Its error is a [fault] if the
// file could be read.
func (s *Scanner) record(offset int64) (Record, error) {
	s.prefix = s.prefix[:0]
	record := Record{Offset: offset, End: offset}
	for following := false; ; following = true {
		b, err := s.window.at(record.End, headSize)
		if err != nil {
			return record, err
		}
		h, err := parseHead(b, following)
		if err != nil {
			return record, err
		}
		if following {
			record.Length += alignment
			s.keep(magicBytes[:])
		}
		body := record.End + headSize
		record.Length += h.length
		record.End = h.end(record.End)
		if record.End > s.window.size {
			return record, faultf("a frame of %d bytes reaches %d bytes behind the end of the file", h.length, record.End-s.window.size)
		}
		if err := s.body(body, h.length); err != nil {
			return record, err
		}
		if h.part.ends() {
			return record, s.follower(record.End)
		}
	}
}

func (s *Scanner) keep(b []byte) {
	s.prefix = append(s.prefix, b[:min(len(b), cap(s.prefix)-len(s.prefix))]...)
}

// body looks at the bytes of a frame and at its padding.
func (s *Scanner) body(offset, length int64) error {
	end := offset + padded(length)
	for offset < end {
		b, err := s.window.from(offset)
		if err != nil {
			return err
		}
		b = b[:min(int64(len(b)), end-offset)]
		data := b[:min(int64(len(b)), length)]
		s.keep(data)
		if i := findMagic(b); i >= 0 {
			return faultf("another frame begins within it, at byte %d", offset+int64(i))
		}
		for _, pad := range b[len(data):] {
			if pad != 0 {
				return fault("the padding behind it is not zero")
			}
		}
		offset, length = offset+int64(len(b)), length-int64(len(data))
	}
	return nil
}

// findMagic returns where in b, which begins at a multiple of 4, the first magic word
// at a multiple of 4 stands; -1 if nowhere. It looks at every word, two at a time: a
// search for the bytes would stop at every 0x0a.
func findMagic(b []byte) int {
	i := 0
	for ; i+8 <= len(b); i += 8 {
		words := binary.LittleEndian.Uint64(b[i:])
		if uint32(words) == magic {
			return i
		}
		if words>>32 == magic {
			return i + alignment
		}
	}
	if i+alignment <= len(b) && binary.LittleEndian.Uint32(b[i:]) == magic {
		return i
	}
	return -1
}

// follower returns a fault if what lies at offset says that the record before it does
// not end there.
func (s *Scanner) follower(offset int64) error {
	b, err := s.window.at(offset, headSize)
	if err != nil {
		return err
	}
	if n := min(len(b), alignment); bytes.Equal(b[:n], magicBytes[:n]) {
		if len(b) == headSize {
			if p := parseWord(binary.LittleEndian.Uint32(b[4:])).part; p == middle || p == last {
				return faultf("a part of a record follows at byte %d, not a record", offset)
			}
		}
		return nil
	}
	// Either this record's length is damaged or the next one's magic word. In the second
	// case the next one's length leads to a third one.
	if len(b) == headSize {
		h := parseWord(binary.LittleEndian.Uint32(b[4:]))
		leads, err := s.leadsOn(h.end(offset))
		if err != nil || (leads && h.part.begins()) {
			return err
		}
	}
	return faultf("no record follows at byte %d", offset)
}

// leadsOn tells whether offset is the end of the file or has a magic word.
func (s *Scanner) leadsOn(offset int64) (bool, error) {
	if offset >= s.window.size {
		return offset == s.window.size, nil
	}
	b, err := s.window.peek(offset, alignment)
	return bytes.Equal(b, magicBytes[:]), err
}

// resync returns the next place from offset on where a record may begin, the end of
// the file if there is none.
func (s *Scanner) resync(offset int64) (int64, error) {
	for offset < s.window.size {
		b, err := s.window.from(offset)
		if err != nil {
			return 0, err
		}
		i := findMagic(b)
		if i < 0 {
			offset += padded(int64(len(b)))
			continue
		}
		offset += int64(i)
		b, err = s.window.at(offset, headSize)
		if err != nil {
			return 0, err
		}
		if len(b) == headSize && parseWord(binary.LittleEndian.Uint32(b[4:])).part.begins() {
			return offset, nil
		}
		offset += alignment
	}
	return s.window.size, nil
}
