package store

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strconv"
)

// ID identifies a crop by what a model sees of it: two crops with the same pixels
// under the same alignment have the same ID, in whatever file and dataset they
// are.
type ID [16]byte

// CropID is the first 16 bytes of the SHA-256 of
//
//	"facepipe crop v1" 00 template 00 decimal crop size 00 pixels
//
// where pixels are the crop's CropSize*CropSize*3 bytes of interleaved 8-bit RGB.
// It panics if rgb has another length: the caller would name a different picture.
func CropID(c Contract, rgb []byte) ID {
	if len(rgb) != 3*c.CropSize*c.CropSize {
		panic(fmt.Sprintf("store: crop of %d bytes is not %d x %d RGB", len(rgb), c.CropSize, c.CropSize))
	}
	h := sha256.New()
	h.Write([]byte("facepipe crop v1\x00" + c.Template + "\x00" + strconv.Itoa(c.CropSize) + "\x00"))
	h.Write(rgb)
	var sum [sha256.Size]byte
	return ID(h.Sum(sum[:0])[:16])
}

// ParseID reads the 32 hexadecimal digits of [ID.String].
func ParseID(s string) (ID, error) {
	var id ID
	if len(s) != 2*len(id) {
		return ID{}, fmt.Errorf("parse crop id %q: want %d hexadecimal digits", s, 2*len(id))
	}
	if _, err := hex.Decode(id[:], []byte(s)); err != nil {
		return ID{}, fmt.Errorf("parse crop id %q: %w", s, err)
	}
	return id, nil
}

// String is the ID in 32 lower-case hexadecimal digits.
func (id ID) String() string { return hex.EncodeToString(id[:]) }

// MarshalText is [ID.String].
func (id ID) MarshalText() ([]byte, error) { return []byte(id.String()), nil }

// UnmarshalText is [ParseID].
func (id *ID) UnmarshalText(text []byte) (err error) {
	*id, err = ParseID(string(text))
	return err
}
