package source

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"slices"
	"sort"
)

// keyLines are the keys of lines, at 16 bytes a line in memory. The digests are so long that two
// keys do not share one by chance.
type keyLines struct{ lines []keyLine }

type keyLine struct {
	digest [12]byte
	line   uint32
}

// add takes the key of a line.
func (f *keyLines) add(key string, line int) {
	sum := sha256.Sum256([]byte(key))
	f.lines = append(f.lines, keyLine{digest: [12]byte(sum[:]), line: uint32(line)})
}

// repeats are the lines that repeat the key of an earlier one. No keys are left afterwards.
func (f *keyLines) repeats() repeats {
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

// repeats are lines whose key an earlier line has, in ascending order.
type repeats []repeat

type repeat struct{ line, first uint32 }

// of says whether a line repeats a key, and which line had it first.
func (r repeats) of(line int) (first int, ok bool) {
	i := sort.Search(len(r), func(i int) bool { return int(r[i].line) >= line })
	if i == len(r) || int(r[i].line) != line {
		return 0, false
	}
	return int(r[i].first), true
}
