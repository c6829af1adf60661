package source

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"os"
)

// digestFile is the SHA-256 of a file in hexadecimal.
func digestFile(ctx context.Context, file *os.File) (string, error) {
	sum := sha256.New()
	if _, err := io.Copy(sum, contextReader{ctx, io.NewSectionReader(file, 0, 1<<63-1)}); err != nil {
		return "", reason(err)
	}
	return hex.EncodeToString(sum.Sum(nil)), nil
}

// contextReader ends when its context does, so that a long file does not hold up a
// signal.
type contextReader struct {
	ctx context.Context
	r   io.Reader
}

func (c contextReader) Read(p []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	return c.r.Read(p)
}
