package source

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"os"

	"facepipe/internal/ctxio"
)

// digestFile is the SHA-256 of a file in hexadecimal.
func digestFile(ctx context.Context, file *os.File) (string, error) {
	sum := sha256.New()
	if _, err := io.Copy(sum, ctxio.NewReader(ctx, io.NewSectionReader(file, 0, 1<<63-1))); err != nil {
		return "", reason(err)
	}
	return hex.EncodeToString(sum.Sum(nil)), nil
}
