package protocol

import (
	"fmt"
	"strings"
)

// MissingError says that a dataset lacks images of a list.
type MissingError struct {
	// List and Dataset are paths.
	List, Dataset string
	// Images are all that are missing, in the order of the list, out of Named.
	Images []string
	Named  int
	// Pairs is the number of pairs that name one of them, out of Listed.
	Pairs, Listed int
	// Nearest is the key most like the first of Images, "" if the dataset is empty.
	Nearest string
	// Rivals are two keys that it may mean, if that is why it is missing.
	Rivals []string
	// Notes say what was guessed before.
	Notes []Note
}

// Error names the first few.
func (e *MissingError) Error() string {
	if e.Listed == 0 {
		return fmt.Sprintf("list %s: dataset %s lacks %d of %d images (--allow-missing leaves those out): %s; %s",
			e.List, e.Dataset, len(e.Images), e.Named, FirstFew(e.Images), e.compare())
	}
	return fmt.Sprintf("pair list %s: dataset %s lacks %d of %d images, which takes away %d of %d pairs (--allow-missing leaves those out): %s; %s",
		e.List, e.Dataset, len(e.Images), e.Named, e.Pairs, e.Listed, FirstFew(e.Images), e.compare())
}

// compare shows the first missing name beside the dataset's.
func (e *MissingError) compare() string {
	if len(e.Rivals) > 0 {
		return fmt.Sprintf("the list's %q may be any of the dataset's %s", e.Images[0], strings.Join(e.Rivals, ", "))
	}
	return fmt.Sprintf("the list's %q is unlike the dataset's nearest key %q", e.Images[0], e.Nearest)
}

// Describe says what is known of pairs that could not be compared.
func (e *MissingError) Describe() Description {
	return Description{Path: e.List, Listed: e.Listed, MissingPairs: e.Pairs, Missing: e.Images, Notes: e.Notes}
}

// UnusableError says that a model gave embeddings without a direction: not finite, or
// of length zero.
type UnusableError struct {
	// Crops are all that have such an embedding, as the list names them, out of Named.
	Crops []string
	Named int
	// Pairs is the number of pairs they are in, out of Listed.
	Pairs, Listed int
}

// Error names the first few.
func (e *UnusableError) Error() string {
	return fmt.Sprintf("%d of %d embeddings are zero or not finite, which spoils %d of %d pairs: %s",
		len(e.Crops), e.Named, e.Pairs, e.Listed, FirstFew(e.Crops))
}

// FirstFew lists the first of many names.
func FirstFew(names []string) string {
	const few = 5
	if len(names) <= few {
		return strings.Join(names, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(names[:few], ", "), len(names)-few)
}
