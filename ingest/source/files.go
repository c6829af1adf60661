package source

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
)

// maxFileBytes bounds the memory one file may take before its header is looked at;
// a hundred megapixels of uncompressed 16-bit colour still fit.
const maxFileBytes = 1 << 30

// checkSize refuses what is too large to be a photograph.
func checkSize(bytes int64) error {
	if bytes > maxFileBytes {
		return fmt.Errorf("has %d bytes, more than the limit of %d", bytes, int64(maxFileBytes))
	}
	return nil
}

// openRegular opens a file that must be a regular one. It looks before it opens, which
// would wait at a pipe.
func openRegular(path string) (*os.File, fs.FileInfo, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, nil, reason(err)
	}
	if !info.Mode().IsRegular() {
		return nil, nil, errors.New("not a regular file but " + describeMode(info.Mode()))
	}
	file, err := os.Open(path)
	if err != nil {
		return nil, nil, reason(err)
	}
	return file, info, nil
}
