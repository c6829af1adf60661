package index

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"

	"github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/options"

	"facepipe/store/internal/table"
)

// Badger is the index on disk, opened for reading. Its entries:
//
//	"i" id (16 bytes)                  -> shard, row (4 bytes each, big-endian)
//	"k" key                            -> id
//	"n" identity 00 global row         -> nothing; of older programs, and not read
//
// There is no entry for embeddings: row i of every teacher's shard is row i of the
// crop shard, so that a crop's location is that of its embeddings.
type Badger struct {
	db *badger.DB
	// view is of all there is. Reading through it changes nothing in it, so that all
	// look-ups share it; one each would spend a third of their time on being numbered.
	view *badger.Txn
}

const (
	entryID       = 'i'
	entryKey      = 'k'
	entryIdentity = 'n'
)

func appendIDEntry(b []byte, id table.ID) []byte { return append(append(b, entryID), id[:]...) }

func appendKeyEntry(b []byte, key string) []byte { return append(append(b, entryKey), key...) }

// locationBytes is the length of a location in an entry.
const locationBytes = 8

func appendLocation(b []byte, l table.Location) []byte {
	return binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(b, l.Shard), l.Row)
}

func parseLocation(b []byte) table.Location {
	return table.Location{Shard: binary.BigEndian.Uint32(b), Row: binary.BigEndian.Uint32(b[4:])}
}

// badgerOptions are for a database that is written once, by a stream, and then only
// read: no compression (digests), hence no block cache; no versions; memtables, which
// nothing goes through, and hence a threshold of values beside keys, as small as may be.
func badgerOptions(dir string) badger.Options {
	return badger.DefaultOptions(dir).
		WithLogger(nil).
		WithMetricsEnabled(false).
		WithCompression(options.None).
		WithBlockCacheSize(0).
		WithIndexCacheSize(0).
		WithNumVersionsToKeep(1).
		WithDetectConflicts(false).
		WithSyncWrites(false).
		WithMemTableSize(1 << 20).
		WithValueThreshold(64 << 10).
		WithNumMemtables(2).
		WithNumCompactors(0).
		WithValueLogFileSize(1 << 20)
}

// Open opens the index of the dataset in dir if it is whole and of the snapshot
// with that digest. A missing one is [os.ErrNotExist].
func Open(dir, digest string) (ix *Badger, err error) {
	before, err := os.Stat(filepath.Join(dir, Folder))
	if err != nil {
		return nil, err
	}
	folder, err := verifyBuilt(dir, digest)
	if err != nil {
		return nil, err
	}
	defer recoverBadger(&err)
	db, err := badger.OpenManaged(badgerOptions(folder).WithReadOnly(true))
	if err != nil {
		return nil, fmt.Errorf("open index: %w", err)
	}
	// A run may have put its own index in the place of the one that was verified.
	if after, err := os.Stat(folder); err != nil || !os.SameFile(before, after) {
		return nil, errors.Join(errors.New("open index: it was replaced meanwhile"), db.Close())
	}
	return &Badger{db: db, view: db.NewTransactionAt(math.MaxUint64, false)}, nil
}

// recoverBadger turns a panic of the library into an error: an index is not worth a
// run.
func recoverBadger(err *error) {
	if r := recover(); r != nil {
		*err = fmt.Errorf("index: %v", r)
	}
}

// get calls use with the value of an entry, which is valid only until use returns.
func (b *Badger) get(entry []byte, use func(value []byte) error) (ok bool, err error) {
	defer recoverBadger(&err)
	item, err := b.view.Get(entry)
	if errors.Is(err, badger.ErrKeyNotFound) {
		return false, nil
	}
	if err == nil {
		err = item.Value(use)
	}
	return err == nil, err
}

var errEntry = fmt.Errorf("index: %w: entry of a wrong length", table.ErrDamaged)

// ByID is part of [Index].
func (b *Badger) ByID(id table.ID) (l table.Location, ok bool, err error) {
	ok, err = b.get(appendIDEntry(nil, id), func(value []byte) error {
		if len(value) != locationBytes {
			return errEntry
		}
		l = parseLocation(value)
		return nil
	})
	return l, ok, err
}

// ByKey is part of [Index].
func (b *Badger) ByKey(key string) (table.Location, bool, error) {
	var id table.ID
	ok, err := b.get(appendKeyEntry(nil, key), func(value []byte) error {
		if len(value) != len(id) {
			return errEntry
		}
		copy(id[:], value)
		return nil
	})
	if !ok {
		return table.Location{}, false, err
	}
	return b.ByID(id)
}

// each calls visit with all entries in the order of keys; what it is given is valid
// until it returns.
func (b *Badger) each(ctx context.Context, visit func(entry, value []byte) error) (err error) {
	defer recoverBadger(&err)
	o := badger.DefaultIteratorOptions
	o.PrefetchValues = false // they are beside their keys
	it := b.view.NewIterator(o)
	defer it.Close()
	for it.Rewind(); it.Valid(); it.Next() {
		if err := ctx.Err(); err != nil {
			return err
		}
		item := it.Item()
		err := item.Value(func(value []byte) error { return visit(item.Key(), value) })
		if err != nil {
			return err
		}
	}
	return nil
}

// Close closes the database.
func (b *Badger) Close() (err error) {
	defer recoverBadger(&err)
	b.view.Discard()
	return b.db.Close()
}
