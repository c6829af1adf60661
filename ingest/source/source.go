// Package source yields photographs from where users keep them.
//
// A [Source] walks over its [Item]s in an order that depends on its contents only. It looks at
// one directory or record at a time, so that memory does not grow with the source. An item has
// a key, unique within the source, perhaps an identity (whose face it is), and is read on
// demand, in any goroutine. What cannot be read is an item, too, whose reading fails: whoever
// walks records the reason and goes on.
//
// [Landmarks] is a file of landmarks that were found elsewhere.
package source

import (
	"context"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"

	"facepipe/ingest/align"
	"facepipe/internal/imgcodec"
)

// Item is one photograph of a source.
type Item struct {
	// Key names the item: its path relative to the source, with slashes, or a record's own
	// name. It is valid UTF-8.
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
	// Attributes are what else the source knows, in its own order. Names do not repeat.
	Attributes []Attribute
	// Held is how many bytes of memory the item holds: those of an image that was read on the
	// way because going back to it is expensive.
	Held int
	// Read returns the encoded image, or why there is none. Before it is read into memory admit is
	// asked, unless it is held already. It may be called from any goroutine, also after the walk
	// has moved on, until the source is closed.
	Read func(admit imgcodec.Admit) ([]byte, error)
}

// Box is a rectangle in pixels: X and Y of its upper left corner, width and height.
type Box struct{ X, Y, W, H float64 }

// Attribute is a further column of a source, kept as the text it was.
type Attribute struct{ Name, Value string }

// PairLister is a source that also holds verification pairs.
type PairLister interface {
	// Pairs calls visit for every pair of the source's keys in order; same says that both are
	// of one person. It ends at the first error of visit and returns it as it is.
	Pairs(ctx context.Context, visit func(a, b string, same bool) error) error
}

// Noticer is a source that may have something to tell besides its items, such as that an index
// did not fit and what was done instead.
type Noticer interface {
	// Notices are what was noticed when the source was opened and in the last walk.
	Notices() []string
}

// Filer is a source in which every item is a file of its own.
type Filer interface {
	// Stat looks at the file of a key. It may be called from any goroutine.
	Stat(key string) (fs.FileInfo, error)
}

// fails is the reading of an item that cannot be read.
func fails(err error) func(imgcodec.Admit) ([]byte, error) {
	return func(imgcodec.Admit) ([]byte, error) { return nil, err }
}

// Source is a place that photographs come from.
type Source interface {
	// Walk calls visit for every item, always in the same order. It ends when ctx is done, or
	// at the first error of visit, which it returns as it is. An item that cannot be read is
	// visited all the same. Only what makes the rest of the source unreachable is an error of
	// Walk itself.
	Walk(ctx context.Context, visit func(Item) error) error
	// Digest is the SHA-256 (hexadecimal) of a source that is one file, "" for
	// others.
	Digest() string
	// Close releases what the source holds open.
	Close() error
}

// kind is a kind of source. To add one, write a file with its value and name it in [kinds].
type kind struct {
	name string
	// argument and about say in the command line's help what path it takes, and what it makes
	// of it, in lines of up to 64 characters.
	argument, about string
	// open fails if there is nothing to ingest at a path.
	open func(ctx context.Context, path string) (Source, error)
	// numberedKeys and numberedPeople say that keys, and identities behind a [Namespace], may
	// be mere numbers: another source has the same ones for others.
	numberedKeys, numberedPeople bool
	// sharedFolder says that sources in one folder are lists of one set, train.csv and val.csv:
	// to them a number means the same.
	sharedFolder bool
}

// kinds are the sources that exist, in the order of the help.
func kinds() []kind {
	return []kind{folderKind, recordIOKind, webDatasetKind, binKind, manifestKind}
}

// kindOf is the kind of a name.
func kindOf(name string) (kind, bool) {
	all := kinds()
	i := slices.IndexFunc(all, func(k kind) bool { return k.name == name })
	if i < 0 {
		return kind{}, false
	}
	return all[i], true
}

// Help describes all kinds of sources for the command line, a paragraph each.
func Help() string {
	const width = 20 // of the left column
	var b strings.Builder
	for _, k := range kinds() {
		fmt.Fprintf(&b, "  %-*s%s\n", width, k.name+"="+k.argument, strings.ReplaceAll(k.about, "\n", "\n"+strings.Repeat(" ", 2+width)))
	}
	return strings.TrimSuffix(b.String(), "\n")
}

// Spec names a source on the command line, as KIND=PATH.
type Spec struct{ Kind, Path string }

// ParseSpec reads KIND=PATH. An unknown kind is refused with the known ones.
func ParseSpec(s string) (Spec, error) {
	var known []string
	for _, k := range kinds() {
		known = append(known, k.name)
	}
	slices.Sort(known)
	name, path, ok := strings.Cut(s, "=")
	if !ok || path == "" {
		return Spec{}, fmt.Errorf("source %q: want KIND=PATH, where KIND is %s", s, strings.Join(known, ", "))
	}
	if _, ok := kindOf(name); !ok {
		return Spec{}, fmt.Errorf("source %q: unknown kind %q, known: %s", s, name, strings.Join(known, ", "))
	}
	return Spec{Kind: name, Path: filepath.Clean(path)}, nil
}

// Open opens the source. It fails if there is nothing in it to ingest.
func (s Spec) Open(ctx context.Context) (Source, error) {
	k, ok := kindOf(s.Kind)
	if !ok {
		return nil, fmt.Errorf("open source %s: unknown kind %q", s.Path, s.Kind)
	}
	src, err := k.open(ctx, s.Path)
	if err != nil {
		return nil, fmt.Errorf("open source %s: %w", s, err)
	}
	return src, nil
}

// String is the spec as it is written on the command line.
func (s Spec) String() string { return s.Kind + "=" + s.Path }
