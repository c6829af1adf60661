package source

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"slices"
	"sort"
)

// repeatFinder finds the lines that repeat a key, with 16 bytes a line in memory. The
// digest is long enough that two keys do not share one by chance.
type repeatFinder struct{ lines []keyLine }

type keyLine struct {
	digest [12]byte
	line   uint32
}

// add tells the finder which key a line has.
func (f *repeatFinder) add(key string, line int) {
	sum := sha256.Sum256([]byte(key))
	f.lines = append(f.lines, keyLine{digest: [12]byte(sum[:]), line: uint32(line)})
}

// find returns the lines that repeat. The finder is empty afterwards.
func (f *repeatFinder) find() repeats {
	slices.SortFunc(f.lines, func(a, b keyLine) int {
		return cmp.Or(bytes.Compare(a.digest[:], b.digest[:]), cmp.Compare(a.line, b.line))
	})
	var found repeats
	var first keyLine
	for i, l := range f.lines {
		if i > 0 && l.digest == first.digest {
			found = append(found, repeat{line: l.line, first: first.line})
		} else {
			first = l
		}
	}
	f.lines = nil
	slices.SortFunc(found, func(a, b repeat) int { return cmp.Compare(a.line, b.line) })
	return found
}

// repeats are lines whose key an earlier line has, in rising order.
type repeats []repeat

type repeat struct{ line, first uint32 }

// of says whether a line repeats a key, and which line has it first.
func (r repeats) of(line int) (first int, ok bool) {
	i := sort.Search(len(r), func(i int) bool { return int(r[i].line) >= line })
	if i == len(r) || int(r[i].line) != line {
		return 0, false
	}
	return int(r[i].first), true
}
