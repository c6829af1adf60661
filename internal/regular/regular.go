// Package regular opens files that users name: regular ones that hold what they are named for.
package regular

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"facepipe/internal/ctxio"
	"facepipe/internal/filedigest"
	"facepipe/internal/imgcodec"
)

// Stat looks at a file that must be a regular one. It does so before the file is opened: opening
// a named pipe would wait for somebody who writes to it. Errors do not name the file.
func Stat(path string) (fs.FileInfo, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, Reason(err)
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("not a regular file but %s", DescribeMode(info.Mode()))
	}
	return info, nil
}

// Open opens a file that must be a regular one, and no stand-in for one that did not arrive: see
// [imgcodec.Stray]. Errors do not name the file.
func Open(path string) (*os.File, fs.FileInfo, error) {
	info, err := Stat(path)
	if err != nil {
		return nil, nil, err
	}
	file, err := os.Open(path)
	if err != nil {
		return nil, nil, Reason(err)
	}
	head := make([]byte, imgcodec.StrayLen)
	n, _ := file.ReadAt(head, 0)
	if stray := imgcodec.Stray(head[:n]); stray != "" {
		return nil, nil, errors.Join(errors.New("is "+stray), file.Close())
	}
	return file, info, nil
}

// Digest is the SHA-256 of a file in hexadecimal, wherever its offset is.
func Digest(ctx context.Context, file io.ReaderAt) (string, error) {
	const wholeFile = 1<<63 - 1
	sum, err := filedigest.OfReader(ctxio.NewReader(ctx, io.NewSectionReader(file, 0, wholeFile)))
	return sum, Reason(err)
}

// DescribeMode says what a file is that is not a regular one.
func DescribeMode(m fs.FileMode) string {
	switch {
	case m&fs.ModeNamedPipe != 0:
		return "a named pipe"
	case m&fs.ModeSocket != 0:
		return "a socket"
	case m&fs.ModeDevice != 0:
		return "a device"
	}
	return m.Type().String()
}

// Reason strips the path from an operating system error, for who names the file anyway.
func Reason(err error) error {
	var pathErr *fs.PathError
	if errors.As(err, &pathErr) {
		return fmt.Errorf("%s: %w", pathErr.Op, pathErr.Err)
	}
	return err
}
