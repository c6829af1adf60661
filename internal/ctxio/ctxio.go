// Package ctxio lets long reading be stopped.
package ctxio

import (
	"context"
	"io"
)

// NewReader reads from r until ctx is done, and then fails with ctx's error. A Read that
// has begun is not interrupted.
func NewReader(ctx context.Context, r io.Reader) io.Reader { return reader{ctx, r} }

type reader struct {
	ctx context.Context
	r   io.Reader
}

func (s reader) Read(p []byte) (int, error) {
	if err := s.ctx.Err(); err != nil {
		return 0, err
	}
	return s.r.Read(p)
}
