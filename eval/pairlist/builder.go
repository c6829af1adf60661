package pairlist

import (
	"errors"
	"fmt"
	"math"
	"strings"

	"facepipe/store"
)

// builder puts a list together.
type builder struct {
	list  *List
	known map[Image]int32
	words map[bool]string // labels that were met, by what they mean
}

func newBuilder() *builder {
	return &builder{list: &List{}, known: map[Image]int32{}, words: map[bool]string{}}
}

func (b *builder) guess(format string, args ...any) {
	b.list.Notes = append(b.list.Notes, fmt.Sprintf(format, args...))
}

func (b *builder) pair(x, y Image, same bool) error {
	i, err := b.image(x)
	if err != nil {
		return err
	}
	j, err := b.image(y)
	if err != nil {
		return err
	}
	b.list.Pairs = append(b.list.Pairs, Pair{A: i, B: j, Same: same})
	return nil
}

// image is the number of an image in the list.
func (b *builder) image(i Image) (int32, error) {
	if n, ok := b.known[i]; ok {
		return n, nil
	}
	for _, key := range i.Keys() {
		if err := store.ValidKey(key); err != nil {
			return 0, err
		}
	}
	if len(b.list.Images) == math.MaxInt32 {
		return 0, errors.New("too many images")
	}
	// The line that the names were cut from can then be freed.
	i.name = strings.Clone(i.name)
	n := int32(len(b.list.Images))
	b.known[i] = n
	b.list.Images = append(b.list.Images, i)
	return n, nil
}

// meanings are the labels that are understood, in small letters.
var meanings = map[string]bool{
	"1": true, "1.0": true, "true": true, "yes": true, "same": true, "match": true, "genuine": true, "positive": true,
	"0": false, "0.0": false, "-1": false, "false": false, "no": false, "different": false, "diff": false,
	"mismatch": false, "impostor": false, "imposter": false, "negative": false,
}

// label says what a label means. A list keeps to one word for each kind.
func (b *builder) label(word string) (same bool, err error) {
	small := strings.ToLower(word)
	same, ok := meanings[small]
	if !ok {
		return false, shapeError(fmt.Sprintf("label %.40q is neither 0 nor 1, no nor yes, false nor true", word))
	}
	before, ok := b.words[same]
	if !ok {
		b.words[same] = strings.Clone(small)
	} else if before != small {
		return false, fmt.Errorf("label %q, but %q before it", word, before)
	}
	return same, nil
}
