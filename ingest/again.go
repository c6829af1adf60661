package ingest

import (
	"context"
	"fmt"
	"log/slog"
	"strings"

	"facepipe/ingest/source"
	"facepipe/internal/imgcodec"
	"facepipe/store"
)

// looked is what a run finds of an input that an earlier run dealt with.
type looked int

const (
	asBefore looked = iota
	// anew: it was rejected and is to be looked at again.
	anew
	// changed: it was taken in, and its file holds something else now.
	changed
)

// unreadable is the [store.Stamp.File] of a file that cannot be looked at.
const unreadable = 1

// fileStamp is the [store.Stamp.File] of an item of source i, 0 if it has no file of its own.
func (r *run) fileStamp(i int, item source.Item) uint32 {
	files, ok := r.sources[i].(source.Filer)
	if !ok {
		return 0
	}
	info, err := files.Stat(item.Key)
	if err != nil {
		return unreadable
	}
	return store.StampOfFile(info.Size(), info.ModTime())
}

// look compares an item of source i that was met before, under a key of the dataset, with its
// file. It reads the file only if its size or time is another, or if it could not be read before.
func (r *run) look(ctx context.Context, i int, key string, item source.Item) looked {
	s := r.numbers[i]
	refused := r.writer.Refused(s, key)
	if refused && r.options.RetryRejects {
		return anew
	}
	was := r.writer.Stamp(s, key)
	if !was.Known() || was.Bytes != 0 && was.File == r.fileStamp(i, item) {
		return asBefore
	}
	var encoded claim
	defer encoded.release()
	data, err := item.Read(r.cropper.budget.admit(ctx, &encoded))
	switch {
	case err != nil || store.StampOfBytes(data) == was.Bytes:
		return asBefore
	case refused:
		return anew
	}
	return changed
}

// stamped is an item of source i whose reading completes the stamp.
func (r *run) stamped(i int, item source.Item, stamp *store.Stamp) source.Item {
	if stamp.File = r.fileStamp(i, item); stamp.File == 0 {
		return item
	}
	read := item.Read
	item.Read = func(admit imgcodec.Admit) ([]byte, error) {
		data, err := read(admit)
		if err == nil {
			stamp.Bytes = store.StampOfBytes(data)
		}
		return data, err
	}
	return item
}

// changes are the photographs that were taken in before and have other bytes now.
type changes struct {
	count int
	first []string // keys
}

func (c *changes) add(key string) {
	const named = 5
	c.count++
	if len(c.first) < named {
		c.first = append(c.first, key)
	}
}

// warn tells of the changes and what to do.
func (c *changes) warn(ctx context.Context, logger *slog.Logger, out string) {
	if c.count == 0 {
		return
	}
	names := strings.Join(c.first, ", ")
	if more := c.count - len(c.first); more > 0 {
		names += fmt.Sprintf(" and %d more", more)
	}
	logger.WarnContext(ctx, "the files of photographs changed after they were taken in: the dataset keeps the old crops; ingest into a new dataset, or with a --key-prefix of their own, to have the new ones",
		"count", c.count, "photographs", names, "dataset", out)
}
