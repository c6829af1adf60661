package table

import (
	"encoding/hex"
	"fmt"
)

// ID identifies a crop by what a model sees of it: two crops with the same pixels
// under the same alignment have the same ID, in whatever file and dataset they
// are.
type ID [16]byte

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

// Location is where a crop is: row Row of shard Shard, and the same row of the
// same shard of every teacher.
type Location struct{ Shard, Row uint32 }
