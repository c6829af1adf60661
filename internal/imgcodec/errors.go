package imgcodec

import (
	"errors"
	"fmt"
	"image/jpeg"
	"image/png"
	"io"

	"golang.org/x/image/bmp"
)

// The kinds of refusal. Every error of [Inspect], [Decode] and [DecodeRGB] that
// is the image's fault wraps exactly one of them.
var (
	// ErrEmpty marks input of no bytes at all.
	ErrEmpty = errors.New("file is empty")
	// ErrNotImage marks bytes that begin like no known image format.
	ErrNotImage = errors.New("not an image")
	// ErrUnsupported marks a recognised image of a kind that is not decoded.
	ErrUnsupported = errors.New("unsupported image")
	// ErrAnimated marks an image of several frames. Nobody knows which one shows the face.
	ErrAnimated = errors.New("animated image")
	// ErrTooLarge marks an image that declares more pixels than [Limits] allow.
	ErrTooLarge = errors.New("image too large")
	// ErrTruncated marks an image that ends before its last pixel.
	ErrTruncated = errors.New("truncated image")
	// ErrCorrupt marks an image whose bytes contradict its format.
	ErrCorrupt = errors.New("corrupt image")
)

// errDoubtful is the error of a JPEG that libjpeg-turbo only warns of, so that it takes more memory
// to judge it.
var errDoubtful = errors.New("doubtful image")

// refusal says why an image of format f was refused, as kind plus detail.
func refusal(kind error, f Format, detail string, args ...any) error {
	return fmt.Errorf("%w: %s %s", kind, f, fmt.Sprintf(detail, args...))
}

// classify wraps an error of a foreign decoder in the sentinel that fits.
func classify(f Format, err error) error {
	var (
		jpegFeature jpeg.UnsupportedError
		pngFeature  png.UnsupportedError
	)
	kind := ErrCorrupt
	switch {
	case errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.EOF):
		kind = ErrTruncated
	case errors.As(err, &jpegFeature), errors.As(err, &pngFeature), errors.Is(err, bmp.ErrUnsupported):
		kind = ErrUnsupported
	}
	return fmt.Errorf("%w: %s: %w", kind, f, err)
}
