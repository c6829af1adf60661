package store

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"facepipe/store/internal/table"
)

// MaxKeyBytes is the longest key and the longest identity name, in bytes of UTF-8.
const MaxKeyBytes = 4096

// ValidKey says what keeps a string from being a key: it must be valid UTF-8 of 1 to
// [MaxKeyBytes] bytes without NUL. A source whose names are not must rename them.
func ValidKey(key string) error {
	if key == "" {
		return errors.New("key is empty")
	}
	return validName("key", key)
}

// ValidIdentity is ValidKey's rule for identities, which may be empty.
func ValidIdentity(name string) error { return validName("identity", name) }

func validName(what, s string) error {
	switch {
	case len(s) > MaxKeyBytes:
		return fmt.Errorf("%s of %d bytes is longer than %d", what, len(s), MaxKeyBytes)
	case !utf8.ValidString(s):
		return fmt.Errorf("%s %q is not valid UTF-8", what, s)
	case strings.ContainsRune(s, 0):
		return fmt.Errorf("%s %q contains NUL", what, s)
	}
	return nil
}

// hashEvent is the 128-bit stand-in of a key within a source.
func hashEvent(source int, key string) table.Key128 {
	b := binary.LittleEndian.AppendUint64(make([]byte, 0, 8+len(key)), uint64(source))
	sum := sha256.Sum256(append(b, key...))
	return table.Key128(sum[:16])
}
