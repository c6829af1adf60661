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
	"fmt"
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

// Decode reads a JSON object that the program wrote, numbers of no type to their last digit; sealed is
// whether it carries its seal: [ErrSeal] if that does not fit. Text of before there were seals carries
// none, and has no member that into does not know: it would be a seal under an altered name.
func Decode(data []byte, into any) (sealed bool, err error) {
	var said struct {
		Seal any `json:"seal"`
	}
	if err := json.Unmarshal(data, &said); err != nil {
		return false, err
	}
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	if sealed = said.Seal != nil; sealed {
		err = Verify(data)
	} else {
		d.DisallowUnknownFields()
	}
	if err != nil {
		return sealed, err
	}
	return sealed, d.Decode(into)
}

// lineLead begins the last line of a sealed text that is no JSON.
const lineLead = "# seal: "

// CloseText seals a text of whole lines in which # begins a comment. of is what it belongs to.
func CloseText(text []byte, of string) []byte {
	return fmt.Appendf(bytes.Clone(text), "%s%s\n", lineLead, Digits(append([]byte(of+"\n"), text...)))
}

// VerifyText is [ErrSeal] of a text that is not what was sealed, or belongs to something else; sealed is
// whether it carries a seal. What carries none does not end with a comment.
func VerifyText(data []byte, of string) (sealed bool, err error) {
	at := bytes.LastIndexByte(bytes.TrimRight(data, "\n"), '\n') + 1
	if last := data[at:]; !bytes.HasPrefix(last, []byte("#")) && !bytes.Contains(last, []byte(lineLead)) {
		return false, nil
	}
	if !bytes.Equal(data, CloseText(data[:at], of)) {
		return true, ErrSeal
	}
	return true, nil
}

// VerifyAny is [Verify] of a file that carries a seal, and nil of one that carries none.
func VerifyAny(data []byte) error {
	if !bytes.Contains(data, []byte(Lead)) {
		return nil
	}
	return Verify(data)
}
