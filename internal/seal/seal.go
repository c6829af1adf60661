// Package seal lets files say whether they are what was written. A sealed file is a JSON object
// whose last member, "seal", is the SHA-256 of all bytes before its value. Text that was altered
// by a bit would else often still parse, and say something else.
package seal

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
)

// ErrDamaged marks data on disk that are not what was written. Whoever wraps it names the file.
var ErrDamaged = errors.New("damaged data")

// ErrSeal is what [Verify] finds.
var ErrSeal = errors.New("contents do not match the seal")

// The digits of a seal stand between Lead and Tail.
const (
	Lead   = ",\n  \"seal\": \""
	Tail   = "\"\n}\n"
	digits = 2 * sha256.Size
)

// Encode is doc, a struct with at least one field, as a sealed file.
func Encode(doc any) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	// Names of files are among the texts: escaping & and < would only make them unreadable.
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(doc); err != nil {
		return nil, err
	}
	return Close(b.Bytes()), nil
}

// Close seals the text of a JSON object, which has a member and no seal.
func Close(object []byte) []byte {
	const space = " \t\r\n"
	body := bytes.TrimRight(object, space)
	body = bytes.TrimRight(body[:len(body)-len("}")], space)
	body = append(bytes.Clone(body), Lead...)
	return append(append(body, Digits(body)...), Tail...)
}

// Digits are what a seal says of the bytes before it: their SHA-256 in hexadecimal.
func Digits(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

// Verify is [ErrSeal] of a file that is not what was sealed.
func Verify(data []byte) error {
	body, ok := bytes.CutSuffix(data, []byte(Tail))
	if !ok || len(body) < digits {
		return ErrSeal
	}
	body, said := body[:len(body)-digits], body[len(body)-digits:]
	if !bytes.HasSuffix(body, []byte(Lead)) || Digits(body) != string(said) {
		return ErrSeal
	}
	return nil
}

// VerifyAny is [Verify] of a file that carries a seal, and nil of one that carries none.
func VerifyAny(data []byte) error {
	if !bytes.Contains(data, []byte(Lead)) {
		return nil
	}
	return Verify(data)
}
