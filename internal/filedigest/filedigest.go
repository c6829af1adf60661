// Package filedigest identifies files by the SHA-256 of their bytes, in 64 hexadecimal digits.
package filedigest

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"io"

	"facepipe/internal/ctxio"
	"facepipe/internal/regular"
)

// Of is the digest of the regular file at path. The error is that of opening or reading it.
func Of(path string) (string, error) {
	f, err := regular.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	return OfReader(f)
}

// OfFile is the digest of a whole open file, wherever its offset is. Errors do not name it.
func OfFile(ctx context.Context, file io.ReaderAt) (string, error) {
	const wholeFile = 1<<63 - 1
	sum, err := OfReader(ctxio.NewReader(ctx, io.NewSectionReader(file, 0, wholeFile)))
	return sum, regular.Reason(err)
}

// OfReader is the digest of all that r gives. The error is r's.
func OfReader(r io.Reader) (string, error) {
	h := sha256.New()
	if _, err := io.Copy(h, r); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}
