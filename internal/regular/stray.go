package regular

import "bytes"

// Stray says what stands in for a file that did not arrive, a web page or a pointer of Git LFS,
// and what to do; "" if data, its beginning, is neither.
func Stray(data []byte) string {
	start := bytes.ToLower(bytes.TrimLeft(bytes.TrimPrefix(data[:min(len(data), StrayLen)], []byte("\ufeff")), " \t\r\n"))
	switch {
	case bytes.HasPrefix(start, []byte("<!doctype html")), bytes.HasPrefix(start, []byte("<html")):
		return "a web page (HTML): download the file again"
	case bytes.HasPrefix(start, []byte("version https://git-lfs")):
		return "a Git LFS pointer: fetch the file with git lfs pull"
	}
	return ""
}

// StrayLen is the number of leading bytes that decide [Stray].
const StrayLen = 256
