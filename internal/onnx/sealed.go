package onnx

import (
	"bytes"
	"fmt"
	"strings"

	"facepipe/internal/protobuf"
	"facepipe/internal/release"
	"facepipe/internal/seal"
)

// SealKey is the key of the last entry of a sealed model's metadata: the SHA-256 of all bytes of the
// file before that entry.
const SealKey = release.Name + ".sha256"

// modelProperty is the number of an entry of the metadata in the standard.
const modelProperty = 14

// MarshalSealed is [Model.Marshal] with an entry of the metadata by which [Unmarshal] sees that a
// file is what was written. Its producer must be this program: another that rewrites a model and
// names itself as the producer makes the entry void.
func (m *Model) MarshalSealed() []byte {
	w := message(m.Marshal())
	w.property(modelProperty, Property{SealKey, seal.Digits(w)})
	return w
}

// sealLead are the bytes between what is sealed and the digits.
func sealLead() []byte {
	var w message
	digits := seal.Digits(nil)
	w.property(modelProperty, Property{SealKey, digits})
	return bytes.TrimSuffix(w, []byte(digits))
}

// verify is [seal.ErrDamaged] of a file of this program that is not what was written, as far as
// that can be told; unread is what kept it from being read. Students of older versions are not
// sealed: of these, and of those whose metadata somebody took away, only what does not parse is known
// to be damaged.
func (m *Model) verify(data []byte, unread error) error {
	at := max(len(data)-len(seal.Digits(nil)), 0)
	body, sealed := bytes.CutSuffix(data[:at], sealLead())
	switch {
	case sealed && seal.Digits(body) == string(data[at:]):
		return nil
	case m.Producer != release.Name && (!sealed || m.Producer != "" && unread == nil):
		return nil
	case unread != nil:
		return fmt.Errorf("%w: it is a student of %s that was cut short or changed: %w; %s", seal.ErrDamaged, release.Name, unread, sealRemedy)
	case sealed || m.Property(SealKey) != "":
		return fmt.Errorf("%w: its bytes do not match the digest %s in its metadata; %s (or, if another program changed it on purpose, remove that entry)", seal.ErrDamaged, SealKey, sealRemedy)
	}
	return nil
}

const sealRemedy = "take a copy, or export it again from its run's checkpoints"

// IsSealed is whether a model that was read carries its digest.
func (m *Model) IsSealed() bool { return m.Producer == release.Name && m.Property(SealKey) != "" }

// isSeal says that a field of a model is its seal, which is void once anything is changed.
func isSeal(f protobuf.Field) bool {
	if f.Number != modelProperty || !strings.Contains(string(f.Bytes), SealKey) {
		return false
	}
	p, err := readProperty(f.Bytes)
	return err == nil && p.Key == SealKey
}
