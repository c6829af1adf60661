package index

import (
	"context"
	"errors"

	"github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/pb"
	"github.com/dgraph-io/ristretto/v2/z"

	"facepipe/store/internal/table"
)

// Limits of the memory that building an index takes.
const (
	sortBytes   = 4 << 20 // of the entries of one kind, while they are sorted
	streamBytes = 1 << 20 // of the entries on their way to Badger
	tableBytes  = 8 << 20 // of a table, of which Badger builds a few at once
)

// streamTableFactor is by how much Badger's tables are larger than was asked for when
// they come from a stream.
const streamTableFactor = 32

// fillBadger writes the entries and closes the database. They are sorted first:
// Badger then writes its tables one after another, each once, without a log and
// without compactions.
func fillBadger(ctx context.Context, s *Source, folder string) (err error) {
	defer recoverBadger(&err)
	entries := newBadgerEntries(s.Locate, folder)
	defer func() { err = errors.Join(err, entries.close()) }()
	if err := s.Each(ctx, entries); err != nil {
		return err
	}
	// Now the entries' size is known. A table has a little more than its entries.
	const overhead = 2
	if err := requireSpace(folder, overhead*entries.bytes()); err != nil {
		return err
	}
	db, err := badger.Open(badgerOptions(folder).WithBaseTableSize(entries.tableBytes() / streamTableFactor))
	if err != nil {
		return err
	}
	return errors.Join(entries.stream(ctx, db), db.Close())
}

// badgerEntries sorts the entries by kind and key. Strings and slices it is given
// point into mapped files, hence are copied.
type badgerEntries struct {
	locate  func(row int) table.Location
	ids     *entrySorter
	keys    *entrySorter
	scratch []byte
}

func newBadgerEntries(locate func(row int) table.Location, folder string) *badgerEntries {
	return &badgerEntries{locate: locate, ids: newEntrySorter(folder, sortBytes), keys: newEntrySorter(folder, sortBytes)}
}

func (b *badgerEntries) close() error {
	return errors.Join(b.ids.close(), b.keys.close())
}

func (b *badgerEntries) Crop(row int, id table.ID, key string) error {
	b.scratch = appendLocation(appendIDEntry(b.scratch[:0], id), b.locate(row))
	value := len(b.scratch) - locationBytes
	if err := b.ids.add(b.scratch[:value], b.scratch[value:]); err != nil {
		return err
	}
	return b.Alias(key, id)
}

func (b *badgerEntries) Alias(key string, of table.ID) error {
	b.scratch = appendKeyEntry(b.scratch[:0], key)
	return b.keys.add(b.scratch, of[:])
}

// bytes is the size of all entries.
func (b *badgerEntries) bytes() int64 { return b.ids.bytes + b.keys.bytes }

// tableBytes is the size of the tables: one table if the entries are few.
func (b *badgerEntries) tableBytes() int64 {
	return min(tableBytes, max(128<<10, 2*b.bytes()))
}

// stream writes all entries to an empty database.
func (b *badgerEntries) stream(ctx context.Context, db *badger.DB) error {
	out := &entryStream{ctx: ctx, to: db.NewStreamWriter(), buf: z.NewBuffer(streamBytes+streamBytes/2, "index")}
	defer func() { _ = out.buf.Release() }()
	if err := out.to.Prepare(); err != nil {
		return err
	}
	// Sorted as their kinds are: i, k.
	for _, s := range []*entrySorter{b.ids, b.keys} {
		if err := s.each(out.add); err != nil {
			out.to.Cancel()
			return err
		}
	}
	if err := out.flush(); err != nil {
		out.to.Cancel()
		return err
	}
	return out.to.Flush()
}

// entryStream passes sorted entries on to Badger.
type entryStream struct {
	ctx context.Context
	to  *badger.StreamWriter
	buf *z.Buffer
}

func (e *entryStream) add(key, value []byte) error {
	badger.KVToBuffer(&pb.KV{Key: key, Value: value, Version: 1}, e.buf)
	if e.buf.LenNoPadding() < streamBytes {
		return nil
	}
	return e.flush()
}

func (e *entryStream) flush() error {
	if err := e.ctx.Err(); err != nil {
		return err
	}
	err := e.to.Write(e.buf)
	e.buf.Reset()
	return err
}
