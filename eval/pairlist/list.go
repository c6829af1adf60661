// Package pairlist reads lists of image pairs, each marked as showing the same person
// or two different ones.
//
// The formats, a [Format] each, are told apart by what the first lines can be read as;
// docs/pairs.md shows them. A format that does not name itself is a guess, which
// [List].Notes says. What is neither of them is an error that names the file and the
// line: a pair that is dropped silently would change every figure.
package pairlist

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"path/filepath"
	"strings"

	"facepipe/internal/regular"
)

// ErrFormat marks a file that is no list of pairs.
var ErrFormat = errors.New("malformed pair list")

// Format is how a list is written.
type Format string

// The formats that are read.
const (
	// LFW is the pairs.txt of Labeled Faces in the Wild (Huang et al., 2007). A header
	// of one or two numbers, "10 300", announces sets of so many same pairs
	// ("NAME 1 4") and as many different ones ("NAME 1 OTHER 2").
	LFW Format = "lfw"
	// BareLFW is the same without the numbers, after names of columns or nothing.
	BareLFW Format = "lfw-without-header"
	// Plain is "a b 1" for the same person, "a b 0" for different ones; a and b are
	// keys of a dataset.
	Plain Format = "plain"
	// TwoLines has an image and its pair's label on a line, as CALFW and CPLFW.
	TwoLines Format = "two-lines"
	// Table is a table whose first line names the columns.
	Table Format = "table"
	// CFP is a folder of the protocol of Celebrities in Frontal-Profile.
	CFP Format = "cfp"
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
	// Digest is the SHA-256 of the file, 64 hexadecimal digits; of all files one after
	// the other if there are several.
	Digest string
	// Images are the images that the pairs name, each once, by first appearance.
	Images []Image
	Pairs  []Pair
	// Sets is the number of cross-validation sets that the list declares, 0 if it
	// declares none.
	Sets int
	// Notes say what was guessed.
	Notes []string

	sets []int32 // of pairs; nil for runs of equal length
}

// Set is the declared set, 0 .. Sets-1, of pair i. It panics if Sets is 0.
func (l *List) Set(i int) int {
	if l.sets != nil {
		return int(l.sets[i])
	}
	return i / (len(l.Pairs) / l.Sets)
}

// Read parses the file at path, or CFP's folder. [ErrFormat], or an error of the file.
func Read(path string) (*List, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("read pair list: %w", err)
	}
	digest := sha256.New()
	var l *List
	switch twin := twinOf(path); {
	case info.IsDir():
		l, err = readCFP(path, digest)
	case twin != "":
		l, err = readTwins(path, twin, digest)
	default:
		l, err = readFile(path, digest)
	}
	if err != nil {
		return nil, err
	}
	l.Digest = hex.EncodeToString(digest.Sum(nil))
	return l, nil
}

// maxList is the longest list of pairs that is read, in bytes: some ten million pairs.
const maxList = 2 << 30

func readFile(path string, digest hash.Hash) (*List, error) {
	f, err := regular.OpenUpTo(path, maxList)
	if err != nil {
		return nil, fmt.Errorf("read pair list: %w", err)
	}
	defer f.Close()
	l, err := Parse(io.TeeReader(f, digest), path)
	if hint := partOfCFP(path); err != nil && hint != "" {
		return nil, fmt.Errorf("%w; %s", err, hint)
	}
	return l, err
}

// twinOf is the file that has the different pairs to the same ones of path, or the other
// way round, if both are there: matchpairsDevTest.csv and mismatchpairsDevTest.csv.
func twinOf(path string) string {
	dir, name := filepath.Split(path)
	twin := "mis" + name
	if strings.HasPrefix(name, "mismatchpairs") {
		twin = strings.TrimPrefix(name, "mis")
	} else if !strings.HasPrefix(name, "matchpairs") {
		return ""
	}
	if info, err := os.Stat(dir + twin); err != nil || info.IsDir() {
		return ""
	}
	return dir + twin
}

// readTwins reads both files as one list, the same pairs first.
func readTwins(path, twin string, digest hash.Hash) (*List, error) {
	same, different := path, twin
	if strings.HasPrefix(filepath.Base(path), "mis") {
		same, different = twin, path
	}
	b := newBuilder()
	for _, file := range []string{same, different} {
		l, err := readFile(file, digest)
		if err != nil {
			return nil, err
		}
		for _, pair := range l.Pairs {
			if pair.Same != (file == same) {
				return nil, fmt.Errorf("%w %s: by its name all pairs are alike, but %s and %s is not", ErrFormat, file, l.Images[pair.A], l.Images[pair.B])
			}
			if err := b.pair(l.Images[pair.A], l.Images[pair.B], pair.Same); err != nil {
				return nil, err
			}
		}
		b.list.Format, b.list.Notes = l.Format, l.Notes
	}
	b.list.Notes = append(b.list.Notes, fmt.Sprintf("%s and %s are read as one list", filepath.Base(same), filepath.Base(different)))
	return b.list, nil
}
