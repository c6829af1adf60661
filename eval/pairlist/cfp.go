package pairlist

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"hash"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"facepipe/internal/regular"
)

// The files of CFP's protocol. Split/FF and Split/FP have a folder for every set, with
// pairs of numbers in two files; what is numbered is in the lists above Split.
const (
	cfpSame      = "same.txt"
	cfpDifferent = "diff.txt"
	cfpFrontal   = "Pair_list_F.txt"
	cfpProfile   = "Pair_list_P.txt"
)

// partOfCFP says what to give instead of a file of the protocol; "" for other files.
func partOfCFP(path string) string {
	switch filepath.Base(path) {
	case cfpSame, cfpDifferent, cfpFrontal, cfpProfile:
		return "of CFP's protocol give the folder Split/FF or Split/FP, which has the pairs of all sets"
	}
	return ""
}

// readCFP reads the pairs of CFP's protocol, set after set.
func readCFP(path string, digest hash.Hash) (*List, error) {
	c := &cfp{builder: newBuilder(), digest: digest}
	c.list.Format = CFP
	split, sets, err := findCFP(path)
	if err == nil {
		err = c.read(split, sets)
	}
	if err != nil {
		return nil, fmt.Errorf("%w %s: %w", ErrFormat, path, err)
	}
	return c.list, nil
}

// findCFP finds the folder FF or FP, and the sets to read, at path or below.
func findCFP(path string) (split string, sets []string, err error) {
	path, err = filepath.Abs(path)
	if err != nil {
		return "", nil, err
	}
	if isFile(filepath.Join(path, cfpSame)) {
		return filepath.Dir(path), []string{path}, nil
	}
	var found []string
	for _, below := range []string{".", "Split", "Protocol/Split"} {
		for _, kind := range []string{".", "FF", "FP"} {
			dir := filepath.Join(path, below, kind)
			if s := setsOf(dir); len(s) > 0 {
				found, sets = append(found, dir), s
			}
		}
	}
	switch len(found) {
	case 0:
		return "", nil, errors.New("a folder is a list of pairs only if it is of CFP's protocol: Split/FF or Split/FP, with folders 01, 02 ... that have same.txt and diff.txt")
	case 1:
		return found[0], sets, nil
	}
	return "", nil, fmt.Errorf("it has several lists of pairs, give one of them: %s", strings.Join(found, " or "))
}

// setsOf are the folders of dir that have pairs, by ascending number.
func setsOf(dir string) []string {
	files, _ := filepath.Glob(filepath.Join(dir, "*", cfpSame))
	var sets []string
	for _, f := range files {
		if _, err := strconv.Atoi(filepath.Base(filepath.Dir(f))); err == nil {
			sets = append(sets, filepath.Dir(f))
		}
	}
	slices.SortFunc(sets, func(a, b string) int {
		x, _ := strconv.Atoi(filepath.Base(a))
		y, _ := strconv.Atoi(filepath.Base(b))
		return x - y
	})
	return sets
}

func isFile(path string) bool {
	info, err := os.Stat(path)
	return err == nil && !info.IsDir()
}

// cfp reads the files of the protocol.
type cfp struct {
	*builder
	digest hash.Hash
	a, b   []Image // what the numbers of a pair stand for
}

func (c *cfp) read(split string, sets []string) (err error) {
	kind := strings.ToUpper(filepath.Base(split))
	if kind != "FF" && kind != "FP" {
		return fmt.Errorf("the folder of the sets is called %s, want FF or FP, which say whose numbers a pair has", filepath.Base(split))
	}
	if c.a, err = c.numbered(split, cfpFrontal); err != nil {
		return err
	}
	c.b = c.a
	if kind == "FP" {
		if c.b, err = c.numbered(split, cfpProfile); err != nil {
			return err
		}
	}
	var sizes [2]int
	for i, set := range sets {
		same, err := c.pairs(filepath.Join(set, cfpSame), true)
		if err != nil {
			return err
		}
		different, err := c.pairs(filepath.Join(set, cfpDifferent), false)
		if err != nil {
			return err
		}
		if i > 0 && sizes != [2]int{same, different} {
			return fmt.Errorf("set %s has %d same pairs and %d different ones, those before it have %d and %d", set, same, different, sizes[0], sizes[1])
		}
		sizes = [2]int{same, different}
	}
	if len(c.list.Pairs) == 0 {
		return errors.New("it has no pairs")
	}
	c.list.Sets = len(sets)
	return nil
}

// numbered reads the list called name, from the folder of the sets or above: "7 PATH".
func (c *cfp) numbered(split, name string) ([]Image, error) {
	dir := split
	for !isFile(filepath.Join(dir, name)) {
		if dir == filepath.Dir(dir) {
			return nil, fmt.Errorf("%s, which says what the numbers stand for, is not in %s nor above it", name, split)
		}
		dir = filepath.Dir(dir)
	}
	var images []Image
	err := c.lines(filepath.Join(dir, name), func(line string) error {
		n, path, _ := strings.Cut(line, " ")
		if i, err := number(n); err != nil || i != len(images)+1 || path == "" {
			return fmt.Errorf("%.200q, want %d and a path", line, len(images)+1)
		}
		images = append(images, Image{name: strings.TrimSpace(path)})
		return nil
	})
	return images, err
}

// pairs reads pairs of one kind, "7,12" a line, and counts them.
func (c *cfp) pairs(path string, same bool) (n int, err error) {
	err = c.lines(path, func(line string) error {
		n++
		x, y, _ := strings.Cut(line, ",")
		a, err := c.image(c.a, x)
		if err != nil {
			return err
		}
		b, err := c.image(c.b, y)
		if err != nil {
			return err
		}
		return c.pair(a, b, same)
	})
	return n, err
}

// image is the one that a number stands for.
func (c *cfp) image(images []Image, field string) (Image, error) {
	n, err := number(strings.TrimSpace(field))
	if err != nil {
		return Image{}, err
	}
	if n < 1 || n > len(images) {
		return Image{}, fmt.Errorf("number %d of %d photographs", n, len(images))
	}
	return images[n-1], nil
}

// maxFold is the longest list of CFP's folder, in bytes: they have some thousand.
const maxFold = 16 << 20

// lines visits the lines of a file that are not empty.
func (c *cfp) lines(path string, visit func(line string) error) error {
	data, err := regular.Read(path, maxFold)
	if err != nil {
		return err
	}
	c.digest.Write(data)
	lines := bufio.NewScanner(bytes.NewReader(bytes.TrimPrefix(data, []byte("\ufeff"))))
	lines.Buffer(nil, maxLine)
	for n := 1; lines.Scan(); n++ {
		line := strings.Join(strings.Fields(lines.Text()), " ")
		if line == "" {
			continue
		}
		if err := visit(line); err != nil {
			return fmt.Errorf("%s, line %d: %w", path, n, err)
		}
	}
	if err := lines.Err(); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}
