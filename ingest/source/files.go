package source

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"

	"facepipe/internal/ctxio"
	"facepipe/internal/filedigest"
	"facepipe/internal/imgcodec"
)

// maxFileBytes bounds the memory that one file may take before its header is looked at.
// A hundred megapixels of uncompressed 16-bit colour still fit.
const maxFileBytes = 1 << 30

// checkSize refuses what is too large to be a photograph.
func checkSize(bytes int64) error {
	if bytes > maxFileBytes {
		return fmt.Errorf("has %d bytes, more than the limit of %d", bytes, int64(maxFileBytes))
	}
	return nil
}

// statRegular looks at a file that must be a regular one. It does so before the file is
// opened: opening a named pipe would wait for somebody who writes to it.
func statRegular(path string) (fs.FileInfo, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, reason(err)
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("not a regular file but %s", describeMode(info.Mode()))
	}
	return info, nil
}

func isRegular(path string) bool {
	_, err := statRegular(path)
	return err == nil
}

// openRegular opens a file that must be a regular one, and no stand-in for it.
func openRegular(path string) (*os.File, fs.FileInfo, error) {
	info, err := statRegular(path)
	if err != nil {
		return nil, nil, err
	}
	file, err := os.Open(path)
	if err != nil {
		return nil, nil, reason(err)
	}
	head := make([]byte, imgcodec.StrayLen)
	n, _ := file.ReadAt(head, 0)
	if stray := imgcodec.Stray(head[:n]); stray != "" {
		return nil, nil, errors.Join(errors.New("is "+stray), file.Close())
	}
	return file, info, nil
}

// readFile reads a whole file, refusing one that is too large to be a photograph.
func readFile(path string) ([]byte, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, reason(err)
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return nil, reason(err)
	}
	if err := checkSize(info.Size()); err != nil {
		return nil, err
	}
	data := make([]byte, info.Size())
	if _, err := io.ReadFull(file, data); err != nil {
		if errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) {
			return nil, errors.New("became shorter while it was read")
		}
		return nil, reason(err)
	}
	return data, nil
}

// startsLikeImage says whether a file begins like an image of a known format.
func startsLikeImage(path string) bool {
	file, err := os.Open(path)
	if err != nil {
		return false
	}
	defer file.Close()
	head := make([]byte, imgcodec.SniffLen)
	n, _ := io.ReadFull(file, head)
	return imgcodec.Sniff(head[:n]) != imgcodec.Unknown
}

// digestFile is the SHA-256 of a file in hexadecimal.
func digestFile(ctx context.Context, file *os.File) (string, error) {
	const wholeFile = 1<<63 - 1
	sum, err := filedigest.OfReader(ctxio.NewReader(ctx, io.NewSectionReader(file, 0, wholeFile)))
	return sum, reason(err)
}

// describeMode says what a file is that is not a regular one.
func describeMode(m fs.FileMode) string {
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

// reason strips the path from an operating system error. The key names the file already, and
// what a dataset records must not depend on where the source was mounted.
func reason(err error) error {
	var pathErr *fs.PathError
	if errors.As(err, &pathErr) {
		return fmt.Errorf("%s: %w", pathErr.Op, pathErr.Err)
	}
	return err
}

// photoEndings are what the names of photographs end in, as far as lists leave it out.
var photoEndings = []string{".jpg", ".jpeg", ".png", ".webp", ".bmp", ".pgm", ".ppm", ".JPG", ".JPEG", ".PNG"}

// withoutEnding is the name of a photograph as lists write it that leave the ending out.
func withoutEnding(name string) (stem string, ok bool) {
	for _, ending := range photoEndings {
		if stem, ok := strings.CutSuffix(name, ending); ok && stem != "" && !strings.HasSuffix(stem, "/") {
			return stem, true
		}
	}
	return "", false
}
