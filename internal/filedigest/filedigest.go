// Package filedigest identifies files by the SHA-256 of their bytes, in 64 hexadecimal digits.
package filedigest

import (
	"crypto/sha256"
	"encoding/hex"
	"io"
	"os"
)

// Of is the digest of the file at path. The error is that of opening or reading it.
func Of(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	return OfReader(f)
}

// OfReader is the digest of all that r gives. The error is r's.
func OfReader(r io.Reader) (string, error) {
	h := sha256.New()
	if _, err := io.Copy(h, r); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}
