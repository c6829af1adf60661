// Package digest identifies files by the SHA-256 of their bytes.
package digest

import (
	"crypto/sha256"
	"encoding/hex"
	"io"
	"os"
)

// Of is the SHA-256, in 64 hexadecimal digits, of what a reader gives up to its end. The
// error is the reader's.
func Of(r io.Reader) (string, error) {
	h := sha256.New()
	if _, err := io.Copy(h, r); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// File is the digest [Of] a file. The error is that of opening or reading it.
func File(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	return Of(f)
}
