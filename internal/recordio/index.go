package recordio

import (
	"bufio"
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
)

// Entry is a line of a .idx file: a record's key and where its first frame lies.
type Entry struct {
	Key    uint64
	Offset int64
}

// maxIndexLine is the longest line of a .idx file in bytes: two numbers of 20 digits and a lot
// of space.
const maxIndexLine = 256

// ReadIndex reads a .idx file of size bytes: a key and an offset a line, separated by a tab or
// by spaces. It returns the entries in the order of their offsets, in 16 bytes of memory each.
// The error names the line that is wrong (no two numbers, an offset where no frame can be), or
// the key or the offset that is there twice. Offsets are not compared with the .rec file.
func ReadIndex(r io.ReaderAt, size int64) ([]Entry, error) {
	n, err := countEntries(io.NewSectionReader(r, 0, size))
	if err != nil {
		return nil, err
	}
	entries := make([]Entry, 0, n)
	err = indexLines(io.NewSectionReader(r, 0, size), func(number int64, line []byte) error {
		e, err := parseEntry(line)
		if err != nil {
			return fmt.Errorf("line %d: %w", number, err)
		}
		if int64(len(entries)) == n {
			return errors.New("became longer while it was read")
		}
		entries = append(entries, e)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return sortEntries(entries)
}

func countEntries(r io.Reader) (n int64, err error) {
	err = indexLines(r, func(int64, []byte) error { n++; return nil })
	return n, err
}

// indexLines calls visit for every line that is not empty.
func indexLines(r io.Reader, visit func(number int64, line []byte) error) error {
	lines := bufio.NewReaderSize(r, 64<<10)
	for number := int64(1); ; number++ {
		line, err := lines.ReadSlice('\n')
		if err != nil && err != io.EOF && err != bufio.ErrBufferFull {
			return err
		}
		if len(line) > maxIndexLine {
			return fmt.Errorf("line %d: longer than %d bytes", number, maxIndexLine)
		}
		if line := bytes.TrimSpace(line); len(line) > 0 {
			if err := visit(number, line); err != nil {
				return err
			}
		}
		if err == io.EOF {
			return nil
		}
	}
}

func parseEntry(line []byte) (Entry, error) {
	i := bytes.IndexAny(line, "\t ")
	if i < 0 {
		return Entry{}, fmt.Errorf("%q is not a key and an offset", line)
	}
	key, err := strconv.ParseUint(string(line[:i]), 10, 64)
	if err != nil {
		return Entry{}, fmt.Errorf("key %q is not a number", line[:i])
	}
	text := bytes.TrimSpace(line[i:])
	offset, err := strconv.ParseInt(string(text), 10, 64)
	if err != nil || offset < 0 || offset%alignment != 0 {
		return Entry{}, fmt.Errorf("offset %q is not a multiple of %d", text, alignment)
	}
	return Entry{Key: key, Offset: offset}, nil
}

// sortEntries orders entries by offset. Most files are in both orders already.
func sortEntries(entries []Entry) ([]Entry, error) {
	byKey := func(a, b Entry) int { return cmp.Compare(a.Key, b.Key) }
	byOffset := func(a, b Entry) int { return cmp.Compare(a.Offset, b.Offset) }
	if !slices.IsSortedFunc(entries, byKey) {
		slices.SortFunc(entries, byKey)
	}
	for i := 1; i < len(entries); i++ {
		if entries[i].Key == entries[i-1].Key {
			return nil, fmt.Errorf("key %d is there twice", entries[i].Key)
		}
	}
	if !slices.IsSortedFunc(entries, byOffset) {
		slices.SortFunc(entries, byOffset)
	}
	for i := 1; i < len(entries); i++ {
		if entries[i].Offset == entries[i-1].Offset {
			return nil, fmt.Errorf("keys %d and %d have one offset, %d", min(entries[i].Key, entries[i-1].Key), max(entries[i].Key, entries[i-1].Key), entries[i].Offset)
		}
	}
	return entries, nil
}
