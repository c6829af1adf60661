package table

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"

	"facepipe/internal/regular"
	"facepipe/internal/seal"
)

// FormatVersion is the newest version of a file that this package writes.
//
// History:
//
//	1  first
//	2  crop shards have the columns split, attributes and quality;
//	   the index has no entries for identities
//
// Every file has the version of its own kind: what a change does not concern keeps
// its number. A reader accepts minFormatVersion..NewestVersion of a kind. A change
// that an older reader would misunderstand takes a new number; a new optional field
// does not.
const (
	FormatVersion    = 2
	minFormatVersion = 1
)

// NewestVersion is the version in which a kind of file is written.
func NewestVersion(format string) int {
	switch format {
	case FormatDataset, FormatCrops, FormatIndex:
		return FormatVersion
	}
	return 1
}

// Header begins every JSON file of a dataset.
type Header struct {
	Format  string `json:"format"`
	Version int    `json:"version"`
}

// header is that of the document that the header is part of.
func (h Header) header() Header { return h }

// The kinds of JSON file.
const (
	FormatDataset    = "facepipe dataset"
	FormatCrops      = "facepipe crop shard"
	FormatTeacher    = "facepipe teacher"
	FormatEmbeddings = "facepipe embedding shard"
	FormatIndex      = "facepipe index"
	FormatCentres    = "facepipe class centres"
	FormatClassifier = "facepipe classifier"
	FormatAlignment  = "facepipe alignment"
	FormatNeighbours = "facepipe neighbours"
	FormatPlan       = "facepipe plan"
	FormatRun        = "facepipe run"
	FormatPlanMerge  = "facepipe plan merge"
)

// HeaderOf begins a file of a kind that is written now.
func HeaderOf(format string) Header { return Header{Format: format, Version: NewestVersion(format)} }

// The digits of a sealed file's seal stand between SealLead and SealTail; see package seal.
const (
	SealLead = seal.Lead
	SealTail = seal.Tail
)

// maxSealedBytes bounds what a reader loads. The longest, the manifest of a crop shard, holds
// some hundred bytes for each of at most 65,536 inputs.
const maxSealedBytes = 1 << 30

// Limits of what a sealed file holds, so that reading it takes a few times its size: an element of
// a list takes up to 144 bytes in memory, and only 2 in the text of somebody who means harm.
const (
	// minElementBytes is less than the shortest object in a list that is written, its indentation
	// counted, and than what a path takes that somebody names.
	minElementBytes = 40
	// fewValues may be shorter: objects that are no elements of a list, and short texts and numbers.
	fewValues = 1 << 12
)

// checkDensity refuses JSON text with more objects than such a file has room for, or more elements
// that are none. Text that is no JSON passes, or does not.
func checkDensity(data []byte) error {
	var lists []bool // whether each value that is open is a list
	objects, others := 0, 0
	begins := false // an element of a list
	for i := 0; i < len(data); i++ {
		c := data[i]
		if c <= ' ' {
			continue
		}
		if c == '{' {
			objects++
		} else if begins && c != ']' {
			others++
		}
		begins = false
		switch c {
		case '"':
			i = endOfString(data, i)
		case '{', '[':
			lists = append(lists, c == '[')
			begins = c == '['
		case '}', ']':
			lists = lists[:max(0, len(lists)-1)]
		case ',':
			begins = len(lists) > 0 && lists[len(lists)-1]
		}
	}
	if most := fewValues + len(data)/minElementBytes; objects > most || others > most {
		return fmt.Errorf("%d objects and %d other elements of lists in %d bytes are more than such a file can have", objects, others, len(data))
	}
	return nil
}

// endOfString is where the string ends that begins at i.
func endOfString(data []byte, i int) int {
	for i++; i < len(data) && data[i] != '"'; i++ {
		if data[i] == '\\' {
			i++
		}
	}
	return i
}

// EncodeSealed is doc, a struct with at least one field, as a sealed file.
func EncodeSealed(doc any) ([]byte, error) { return seal.Encode(doc) }

// DecodeSealed reads a sealed file of the given kind into doc. The version is
// looked at first, since a later one may be sealed in another way: [ErrVersion].
func DecodeSealed(data []byte, format string, doc any) error {
	h, err := headerIn(data)
	if err != nil {
		return fmt.Errorf("parse JSON: %w", err)
	}
	if h.Format != format {
		return fmt.Errorf("format is %q, want %q", h.Format, format)
	}
	if newest := NewestVersion(format); h.Version < minFormatVersion || h.Version > newest {
		return fmt.Errorf("%w %d: this program reads %d to %d", ErrVersion, h.Version, minFormatVersion, newest)
	}
	if err := errors.Join(seal.Verify(data), checkDensity(data)); err != nil {
		return err
	}
	if err := json.Unmarshal(data, doc); err != nil {
		return fmt.Errorf("parse JSON: %w", err)
	}
	// Of a member that comes twice, JSON's last one counts.
	if d, ok := doc.(interface{ header() Header }); ok && d.header() != h {
		return fmt.Errorf("is %+v at its beginning and %+v after it", h, d.header())
	}
	return nil
}

// headerIn is the header that JSON text begins with. Where other members come first, all of the text
// is searched for it.
func headerIn(data []byte) (h Header, err error) {
	d := json.NewDecoder(bytes.NewReader(data))
	for _, step := range []any{json.Delim('{'), "format", &h.Format, "version", &h.Version} {
		switch want := step.(type) {
		case *string, *int:
			err = d.Decode(want)
		default:
			token, tokenErr := d.Token()
			if err = tokenErr; err == nil && token != want {
				err = errors.New("another member")
			}
		}
		if err != nil {
			h = Header{}
			return h, json.Unmarshal(data, &h)
		}
	}
	return h, nil
}

// ReadSealed reads the sealed file at path into doc. A missing file is
// [os.ErrNotExist]; other failures to parse are [ErrVersion] or [ErrDamaged] and
// name the file.
func ReadSealed(path, format string, doc any) error {
	_, err := LoadSealed(path, format, doc)
	return err
}

// LoadSealed is ReadSealed, and the file's bytes.
func LoadSealed(path, format string, doc any) ([]byte, error) {
	data, err := regular.ReadOwn(path, maxSealedBytes)
	if err != nil {
		return nil, Unfit(path, err)
	}
	err = DecodeSealed(data, format, doc)
	if errors.Is(err, ErrVersion) {
		return nil, &fs.PathError{Op: "read", Path: path, Err: err}
	}
	return data, AsDamage(path, err)
}
