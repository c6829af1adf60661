package source

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"facepipe/internal/imgcodec"
	"facepipe/internal/regular"
	"facepipe/store"
)

// folder is a directory tree of image files. A file's identity is the directory that it lies
// in, relative to the root: root/identity/image, or deeper. Files right below the root have no
// identity. Names that begin with a dot are passed over, and so are Thumbs.db and desktop.ini.
// Symbolic links are followed, but not into a directory that contains them. A dataset that lies
// in the tree is passed over.
type folder struct {
	root     string
	datasets datasetsMet
}

var folderKind = kind{
	name:     "folder",
	argument: "DIR",
	about: `DIR/IDENTITY/IMAGE, or DIR/IMAGE without identities; JPEG, PNG,
WebP, BMP, PGM and PPM, told apart by content`,
	open: openFolder,
}

func openFolder(ctx context.Context, path string) (Source, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, regular.Reason(err)
	}
	if !info.IsDir() {
		return nil, errors.New("not a directory")
	}
	if entries, err := os.ReadDir(path); err == nil && store.Lies(path, entries) {
		return nil, errors.New("is a dataset and no photographs: pipe merge puts datasets together")
	}
	f := &folder{root: path}
	if err := f.requireImage(ctx); err != nil {
		return nil, err
	}
	return f, nil
}

func (*folder) Digest() string { return "" }
func (*folder) Close() error   { return nil }

// Stat looks at the file of a key.
func (f *folder) Stat(key string) (fs.FileInfo, error) {
	return os.Stat(filepath.Join(f.root, unescapeName(key)))
}

// Notices name the datasets that the last walk passed over.
func (f *folder) Notices() []string {
	if f.datasets.count == 0 {
		return nil
	}
	return []string{fmt.Sprintf("passed over %d folders in it that are datasets: %s", f.datasets.count, strings.Join(f.datasets.first, ", "))}
}

// datasetsMet are the datasets that a walk passed over: how many, and the keys of the first.
type datasetsMet struct {
	count int
	first []string
}

func (d *datasetsMet) add(key string) {
	const named = 3
	d.count++
	if len(d.first) < named {
		d.first = append(d.first, key)
	}
}

// requireImage looks for one file that begins like an image, so that a mistyped path is noticed
// before a dataset is made of it.
func (f *folder) requireImage(ctx context.Context) error {
	found := errors.New("found")
	files := 0
	w := walker{ctx: ctx, root: f.root, file: func(path, _, _ string) error {
		files++
		if startsLikeImage(path) {
			return found
		}
		return nil
	}}
	switch err := w.walk(); {
	case errors.Is(err, found):
		return nil
	case err != nil:
		return err
	}
	return fmt.Errorf("no image in it (%d files looked at)", files)
}

func (f *folder) Walk(ctx context.Context, visit func(Item) error) error {
	f.datasets = datasetsMet{}
	w := walker{
		ctx:     ctx,
		root:    f.root,
		dataset: f.datasets.add,
		file: func(path, key, identity string) error {
			return visit(Item{Key: key, Identity: identity, Read: func(admit imgcodec.Admit) ([]byte, error) { return imgcodec.ReadFile(path, admit) }})
		},
		fault: func(key string, err error) error {
			return visit(Item{Key: key, Read: fails(err)})
		},
	}
	return w.walk()
}

// walker goes through a directory tree in the byte order of names. Only the
// directories on the way to the current file are in memory.
type walker struct {
	ctx  context.Context
	root string
	// file is called for every regular file with the path to open, its key and its
	// identity.
	file func(path, key, identity string) error
	// fault is called for what cannot be looked at; nil to pass over it.
	fault func(key string, err error) error
	// dataset is told the key of every dataset that is passed over; nil to tell nobody.
	dataset func(key string)
}

func (w *walker) walk() error {
	info, err := os.Stat(w.root)
	if err != nil {
		return regular.Reason(err)
	}
	entries, err := os.ReadDir(w.root)
	if err != nil {
		return fmt.Errorf("list directory: %w", regular.Reason(err))
	}
	return w.entries(w.root, "", []fs.FileInfo{info}, entries)
}

// directory goes through the directory at path, whose key is dir; above are the
// directories that contain it.
func (w *walker) directory(path, dir string, above []fs.FileInfo, info fs.FileInfo) error {
	for _, a := range above {
		if os.SameFile(a, info) {
			return w.report(dir+"/", errors.New("symbolic link to a directory that contains it"))
		}
	}
	entries, err := os.ReadDir(path)
	if err != nil {
		if err := w.report(dir+"/", fmt.Errorf("list directory: %w", regular.Reason(err))); err != nil {
			return err
		}
	}
	if store.Lies(path, entries) {
		if w.dataset != nil {
			w.dataset(dir)
		}
		return nil
	}
	return w.entries(path, dir, append(above[:len(above):len(above)], info), entries)
}

func (w *walker) entries(path, dir string, above []fs.FileInfo, entries []fs.DirEntry) error {
	for _, e := range entries {
		if housekeeping(e.Name()) {
			continue
		}
		if err := w.ctx.Err(); err != nil {
			return err
		}
		if err := w.entry(filepath.Join(path, e.Name()), dir, above, e); err != nil {
			return err
		}
	}
	return nil
}

// housekeeping says whether a name is one of those that systems keep for themselves: it begins
// with a dot, or Windows wrote it.
func housekeeping(name string) bool {
	return strings.HasPrefix(name, ".") || strings.EqualFold(name, "Thumbs.db") || strings.EqualFold(name, "desktop.ini")
}

func (w *walker) entry(path, dir string, above []fs.FileInfo, e fs.DirEntry) error {
	key := escapeName(e.Name())
	if dir != "" {
		key = dir + "/" + key
	}
	if e.Type().IsRegular() {
		return w.file(path, key, dir)
	}
	info, err := os.Stat(path) // through a link
	switch {
	case err != nil:
		return w.report(key, regular.Reason(err))
	case info.IsDir():
		return w.directory(path, key, above, info)
	case info.Mode().IsRegular():
		return w.file(path, key, dir)
	}
	return w.report(key, fmt.Errorf("not a regular file but %s", regular.DescribeMode(info.Mode())))
}

func (w *walker) report(key string, err error) error {
	if w.fault == nil {
		return nil
	}
	return w.fault(key, err)
}
