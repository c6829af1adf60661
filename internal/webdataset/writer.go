package webdataset

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"
	"time"
	"unicode/utf8"
)

// Output is where a shard is written. It ends with one of Commit and Abort.
type Output interface {
	io.Writer
	// Commit keeps what was written.
	Commit() error
	// Abort drops it.
	Abort() error
}

// File is a member to write.
type File struct {
	// Extension is without its dot and in lower case: jpg, cls, json.
	Extension string
	Data      []byte
}

// Writer writes samples as shards. The same samples give the same bytes: shards hold no time,
// user or mode. A Writer is used by one goroutine.
type Writer struct {
	perShard int
	create   func(number int) (Output, error)

	out     Output // nil between shards
	tar     *tar.Writer
	shards  int   // begun
	samples int   // in this one
	bytes   int64 // in this one, of its files
	last    string
}

// maxShardBytes bounds the files of a shard, unless one sample has more. It is far below the
// size that old programs can handle. It is a variable for tests.
var maxShardBytes int64 = 1 << 30

// NewWriter writes shards of perShard samples, or of fewer if these are large or the last.
// create makes the outputs, by the shards' numbers from 0 on.
func NewWriter(perShard int, create func(number int) (Output, error)) (*Writer, error) {
	if perShard < 1 {
		return nil, fmt.Errorf("write webdataset: %d samples in a shard", perShard)
	}
	return &Writer{perShard: perShard, create: create}, nil
}

// Shards is how many shards were begun.
func (w *Writer) Shards() int { return w.shards }

// Write adds a sample. Its key is a path with slashes in valid UTF-8 and differs from the key
// before. Its last part has no dot, as readers end the key there. After an error of the key or
// of the extensions the Writer is usable; after another one only Abort is.
func (w *Writer) Write(key string, files ...File) error {
	if err := w.valid(key, files); err != nil {
		return fmt.Errorf("write sample %q: %w", key, err)
	}
	if err := w.begin(files); err != nil {
		return fmt.Errorf("write sample %q: %w", key, err)
	}
	for _, f := range files {
		if err := w.file(key+"."+f.Extension, f.Data); err != nil {
			return fmt.Errorf("write sample %q: %w", key, err)
		}
	}
	w.last = key
	if w.samples++; w.samples == w.perShard {
		return w.finish()
	}
	return nil
}

// valid refuses a sample that would be read as another one.
func (w *Writer) valid(key string, files []File) error {
	switch {
	case key == "" || strings.HasSuffix(key, "/"):
		return errors.New("no name")
	case !utf8.ValidString(key) || strings.ContainsRune(key, 0):
		return errors.New("key is not text")
	case strings.Contains(path.Base(key), "."):
		return errors.New("key has a dot in its last part")
	case key == w.last:
		return errors.New("key is that of the sample before")
	case len(files) == 0 || len(files) > maxMembers:
		return fmt.Errorf("%d files", len(files))
	}
	if clean, err := cleanName(key); err != nil || clean != key {
		return errors.New("key is no plain path")
	}
	seen := map[string]bool{}
	for _, f := range files {
		if f.Extension == "" || f.Extension != strings.ToLower(f.Extension) || strings.ContainsAny(f.Extension, "/\x00") ||
			!utf8.ValidString(f.Extension) || seen[f.Extension] {
			return fmt.Errorf("extension %q", f.Extension)
		}
		seen[f.Extension] = true
	}
	return nil
}

// begin opens a shard if none is open, or the files do not fit into that one.
func (w *Writer) begin(files []File) error {
	var size int64
	for _, f := range files {
		size += int64(len(f.Data))
	}
	if w.out != nil && w.bytes+size > maxShardBytes {
		if err := w.finish(); err != nil {
			return err
		}
	}
	w.bytes += size
	if w.out != nil {
		return nil
	}
	out, err := w.create(w.shards)
	if err != nil {
		return err
	}
	w.out, w.tar, w.samples, w.bytes = out, tar.NewWriter(out), 0, size
	w.shards++
	return nil
}

func (w *Writer) file(name string, data []byte) error {
	const perm = 0o644
	err := w.tar.WriteHeader(&tar.Header{
		Typeflag: tar.TypeReg, Name: name, Size: int64(len(data)), Mode: perm, ModTime: time.Unix(0, 0),
	})
	if err != nil {
		return err
	}
	_, err = w.tar.Write(data)
	return err
}

// finish completes the shard.
func (w *Writer) finish() error {
	if err := w.tar.Close(); err != nil {
		return fmt.Errorf("write shard %d: %w", w.shards-1, err)
	}
	if err := w.out.Commit(); err != nil {
		return fmt.Errorf("write shard %d: %w", w.shards-1, err)
	}
	w.out = nil
	return nil
}

// Close completes the last shard.
func (w *Writer) Close() error {
	if w.out == nil {
		return nil
	}
	return w.finish()
}

// Abort drops the shard that is not complete. After Close it does nothing.
func (w *Writer) Abort() error {
	if w.out == nil {
		return nil
	}
	out := w.out
	w.out = nil
	return out.Abort()
}
