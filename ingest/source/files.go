package source

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"facepipe/internal/imgcodec"
	"facepipe/internal/regular"
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

func isRegular(path string) bool {
	_, err := regular.Stat(path)
	return err == nil
}

// readFile reads a whole file, refusing one that is too large to be a photograph.
func readFile(path string) ([]byte, error) {
	file, err := regular.Open(path)
	if err != nil {
		return nil, regular.Reason(err)
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return nil, regular.Reason(err)
	}
	if err := checkSize(info.Size()); err != nil {
		return nil, err
	}
	data := make([]byte, info.Size())
	if _, err := io.ReadFull(file, data); err != nil {
		if errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) {
			return nil, errors.New("became shorter while it was read")
		}
		return nil, regular.Reason(err)
	}
	return data, nil
}

// startsLikeImage says whether a file begins like an image of a known format.
func startsLikeImage(path string) bool {
	head, err := regular.Head(path, imgcodec.SniffLen)
	return err == nil && imgcodec.Sniff(head) != imgcodec.Unknown
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
