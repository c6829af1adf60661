package ijb

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"math"
	"os"

	"facepipe/internal/regular"
)

// ErrFormat marks a file that is not what its name says.
var ErrFormat = errors.New("not in the form of IJB's files")

// maxLine is the longest accepted line in bytes.
const maxLine = 64 << 10

// File is a file that was read, with its SHA-256 in hexadecimal.
type File struct {
	Path   string `json:"path"`
	Digest string `json:"digest"`
}

// lines reads a text line by line and splits it at blanks, tabs and commas.
type lines struct {
	path   string
	file   *os.File
	digest hash.Hash
	in     *bufio.Reader
	number int
	fields [][]byte
}

// maxText is the longest of IJB's texts, in bytes: the pairs of templates of IJB-C have 300 million.
const maxText = 16 << 30

// openLines opens a file of text, to be closed after use.
func openLines(path string) (*lines, error) {
	file, err := regular.OpenUpTo(path, maxText)
	if err != nil {
		return nil, fmt.Errorf("open IJB metadata: %w", err)
	}
	l := &lines{path: path, file: file, digest: sha256.New()}
	l.in = bufio.NewReaderSize(io.TeeReader(file, l.digest), maxLine)
	return l, nil
}

// done closes the file once it was read to its end.
func (l *lines) done() (File, error) {
	return File{l.path, hex.EncodeToString(l.digest.Sum(nil))}, l.file.Close()
}

// line is the next line that is not empty, without its end, valid until the next call; io.EOF
// after the last.
func (l *lines) line() ([]byte, error) {
	for {
		line, err := l.in.ReadSlice('\n')
		if errors.Is(err, bufio.ErrBufferFull) {
			l.number++
			return nil, l.faulty("has more than %d bytes", maxLine)
		}
		if len(line) == 0 && err != nil {
			return nil, err
		}
		if l.number++; l.number == 1 {
			line = bytes.TrimPrefix(line, []byte("\ufeff"))
		}
		if line = bytes.TrimSpace(line); len(line) > 0 {
			return line, nil
		}
	}
}

// next is the fields of the next line that has any.
func (l *lines) next() ([][]byte, error) {
	for {
		line, err := l.line()
		if err != nil {
			return nil, err
		}
		if l.split(line); len(l.fields) > 0 {
			return l.fields, nil
		}
	}
}

func (l *lines) split(line []byte) {
	l.fields = l.fields[:0]
	from := -1
	for i, c := range line {
		between := c == ' ' || c == '\t' || c == ','
		switch {
		case between && from >= 0:
			l.fields = append(l.fields, line[from:i])
			from = -1
		case !between && from < 0:
			from = i
		}
	}
	if from >= 0 {
		l.fields = append(l.fields, line[from:])
	}
}

// faulty is an error that names the file and the line.
func (l *lines) faulty(format string, args ...any) error {
	return fmt.Errorf("%w: %s: line %d %s", ErrFormat, l.path, l.number, fmt.Sprintf(format, args...))
}

// number reads a whole number that is not negative, such as a template's; pandas writes some with
// ".0".
func number(text []byte) (n int32, ok bool) {
	text = bytes.TrimSuffix(text, []byte(".0"))
	if len(text) == 0 || len(text) > len("2147483647") {
		return 0, false
	}
	wide := int64(0)
	for _, c := range text {
		if c < '0' || c > '9' {
			return 0, false
		}
		wide = 10*wide + int64(c-'0')
	}
	return int32(wide), wide <= math.MaxInt32
}
