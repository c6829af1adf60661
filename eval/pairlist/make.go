package pairlist

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
)

// Formats of lists that are made and not read.
const (
	// Bin is that of the pairs of a verification set in a .bin file.
	Bin Format = "bin"
	// Auto is that of pairs drawn from the identities of a dataset.
	Auto Format = "auto"
)

// Make is the list of the pairs that each adds, by keys; set is the declared set of a pair from
// 0, and below 0 for all pairs of a list that declares none. It ends with the first error.
func Make(format Format, each func(add func(a, b string, same bool, set int) error) error) (*List, error) {
	b := newBuilder()
	b.list.Format = format
	err := each(func(x, y string, same bool, set int) error {
		if set >= 0 {
			b.list.sets = append(b.list.sets, int32(set))
			b.list.Sets = max(b.list.Sets, set+1)
		}
		return b.pair(Image{name: x}, Image{name: y}, same)
	})
	if err != nil {
		return nil, err
	}
	return b.list, nil
}

// Table is the list as a file: a [Table] by tabs with the columns image1, image2, label and, if
// sets are declared, fold. [Read] gives the same pairs in the same sets.
func (l *List) Table() ([]byte, error) {
	var b bytes.Buffer
	b.WriteString("image1\timage2\tlabel")
	if l.Sets > 0 {
		b.WriteString("\tfold")
	}
	b.WriteString("\n")
	for i, pair := range l.Pairs {
		x, y := l.Images[pair.A].name, l.Images[pair.B].name
		if strings.ContainsAny(x+y, "\t\r\n") || strings.TrimSpace(x) != x || strings.TrimSpace(y) != y {
			return nil, errors.New("write pair list: a key has tabs, line breaks or blanks at its ends: rename the photograph of " + fmt.Sprintf("%q or %q", x, y))
		}
		label := 0
		if pair.Same {
			label = 1
		}
		fmt.Fprintf(&b, "%s\t%s\t%d", x, y, label)
		if l.Sets > 0 {
			fmt.Fprintf(&b, "\t%d", l.Set(i))
		}
		b.WriteString("\n")
	}
	return b.Bytes(), nil
}

// Seal makes the digest that of the list as [List.Table] writes it, and returns that.
func (l *List) Seal() ([]byte, error) {
	text, err := l.Table()
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(text)
	l.Digest = hex.EncodeToString(sum[:])
	return text, nil
}
