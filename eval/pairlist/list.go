// Package pairlist reads lists of image pairs, each marked as showing the same person
// or two different ones.
//
// Two formats are read, told apart by the first line:
//
//   - [LFW]: the pairs.txt of Labeled Faces in the Wild (Huang et al., 2007). A header
//     of one or two numbers, "10 300", announces sets of so many same pairs
//     ("NAME 1 4") and as many different ones ("NAME 1 OTHER 2").
//   - [Plain]: "a b 1" for the same person, "a b 0" for different ones; a and b are
//     keys of a dataset.
//
// Columns are separated by tabs if a line has one, so that names may contain spaces,
// and by any white space otherwise. Empty lines do not count. A line that is neither
// is an error that names the file and the line: a pair that is dropped silently would
// change every figure.
package pairlist

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
)

// ErrFormat marks a file that is no list of pairs.
var ErrFormat = errors.New("malformed pair list")

// Format is how a list is written.
type Format string

// The formats that are read.
const (
	LFW   Format = "lfw"
	Plain Format = "plain"
)

// Pair is two images of a list.
type Pair struct {
	// A and B index [List].Images. They may be equal.
	A, B int32
	// Same says whether they show one person.
	Same bool
}

// List is a parsed list, pairs in the order of the file.
type List struct {
	Format Format
	// Digest is the SHA-256 of the file, 64 hexadecimal digits.
	Digest string
	// Images are the images that the pairs name, each once, by first appearance.
	Images []Image
	Pairs  []Pair
	// Sets is the number of cross-validation sets that the list declares, 0 if it
	// declares none. Set k is pairs k*n/Sets up to (k+1)*n/Sets, of n in all; each
	// has as many same pairs as different ones.
	Sets int
}

// Set is the declared set, 0 .. Sets-1, of pair i. It panics if Sets is 0.
func (l *List) Set(i int) int { return i / (len(l.Pairs) / l.Sets) }

// Read parses the file at path. [ErrFormat], or an error of the file.
func Read(path string) (*List, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("read pair list: %w", err)
	}
	defer f.Close()
	digest := sha256.New()
	l, err := Parse(io.TeeReader(f, digest), path)
	if err != nil {
		return nil, err
	}
	l.Digest = hex.EncodeToString(digest.Sum(nil))
	return l, nil
}
