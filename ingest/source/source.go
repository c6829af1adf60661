// Package source yields photographs from where users keep them.
//
// A [Source] walks over its [Item]s in an order that depends on nothing but its
// contents, one directory or record at a time, so that memory does not grow with
// the dataset. An item has a key, unique within the source, perhaps an identity
// (whose face it is), and is read on demand, in any goroutine. What cannot be read
// is an item too, whose reading fails: whoever walks records the reason and goes
// on.
//
// [Landmarks] is a file of landmarks that were found elsewhere.
package source

import (
	"context"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"facepipe/ingest/align"
)

// Item is one photograph of a source.
type Item struct {
	// Key names the item: its path relative to the source, with slashes, or a
	// record's own name. It is valid UTF-8.
	Key string
	// Identity names the person, "" if the source does not tell.
	Identity string
	// Landmarks are the face's, in pixels of the upright photograph; nil if the
	// source has none.
	Landmarks *align.Landmarks
	// Box is where the face is, in pixels of the upright photograph; nil if the source
	// does not tell.
	Box *Box
	// Split is the part of the dataset that the source puts the photograph in, such as
	// train or val; "" if it does not.
	Split string
	// Attributes are what else the source knows, in its own order; keys do not repeat.
	Attributes []Attribute
	// Held is how many bytes of memory the item keeps from being used again: of an image
	// that was read on the way because going back to it is expensive.
	Held int
	// Read returns the encoded image, or why there is none. It may be called from
	// any goroutine, also after the walk has moved on, until the source is closed.
	Read func() ([]byte, error)
}

// Box is a rectangle in pixels: X and Y of its upper left corner, width and height.
type Box struct{ X, Y, W, H float64 }

// Attribute is a further column of a source, kept as the text it was.
type Attribute struct{ Name, Value string }

// PairLister is a source that also holds verification pairs.
type PairLister interface {
	// Pairs calls visit for every pair of the source's keys, in order, with whether both
	// are of one person, until visit returns an error, which it returns as it is.
	Pairs(ctx context.Context, visit func(a, b string, same bool) error) error
}

// Noticer is a source that may have something to tell beside its items, such as that
// an index did not fit and what was done instead.
type Noticer interface {
	// Notices are what was noticed when the source was opened and, after a walk, by that.
	Notices() []string
}

// Source is a place that photographs come from.
type Source interface {
	// Walk calls visit for every item, always in the same order, until visit
	// returns an error, which it returns as it is, or ctx is done. An item that
	// cannot be read is visited all the same; only what makes the rest of the
	// source unreachable is an error of Walk.
	Walk(ctx context.Context, visit func(Item) error) error
	// Digest is the SHA-256 (hexadecimal) of a source that is one file, "" for
	// others.
	Digest() string
	// Close releases what the source holds open.
	Close() error
}

// opener opens a source of one kind.
type opener func(ctx context.Context, path string) (Source, error)

// kinds are the sources that exist, by the name the command line knows them by.
func kinds() map[string]opener {
	return map[string]opener{
		"bin":        openBin,
		"folder":     openFolder,
		"manifest":   openManifest,
		"recordio":   openRecordIO,
		"webdataset": openWebDataset,
	}
}

// Spec names a source on the command line, as KIND=PATH.
type Spec struct{ Kind, Path string }

// ParseSpec reads KIND=PATH. An unknown kind is refused with the known ones.
func ParseSpec(s string) (Spec, error) {
	known := slices.Sorted(maps.Keys(kinds()))
	kind, path, ok := strings.Cut(s, "=")
	if !ok || path == "" {
		return Spec{}, fmt.Errorf("source %q: want KIND=PATH, where KIND is %s", s, strings.Join(known, ", "))
	}
	if !slices.Contains(known, kind) {
		return Spec{}, fmt.Errorf("source %q: unknown kind %q, known: %s", s, kind, strings.Join(known, ", "))
	}
	return Spec{Kind: kind, Path: filepath.Clean(path)}, nil
}

// Open opens the source. It fails if there is nothing in it to ingest.
func (s Spec) Open(ctx context.Context) (Source, error) {
	open, ok := kinds()[s.Kind]
	if !ok {
		return nil, fmt.Errorf("open source %s: unknown kind %q", s.Path, s.Kind)
	}
	src, err := open(ctx, s.Path)
	if err != nil {
		return nil, fmt.Errorf("open source %s: %w", s, err)
	}
	return src, nil
}

// String is the spec as it is written on the command line.
func (s Spec) String() string { return s.Kind + "=" + s.Path }
