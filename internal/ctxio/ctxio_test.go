package ctxio_test

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"

	"facepipe/internal/ctxio"
)

func TestReader(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	r := ctxio.NewReader(ctx, strings.NewReader("abcd"))
	two := make([]byte, 2)
	if _, err := io.ReadFull(r, two); err != nil || string(two) != "ab" {
		t.Errorf("%q, %v", two, err)
	}
	cancel()
	if n, err := r.Read(two); n != 0 || !errors.Is(err, context.Canceled) {
		t.Errorf("after the end: %d bytes, %v", n, err)
	}
}
