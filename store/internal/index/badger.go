package index

import (
	"encoding/binary"
	"fmt"

	"github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/options"

	"facepipe/store/internal/table"
)

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

// recoverBadger turns a panic of the library into an error: an index is not worth a
// run.
func recoverBadger(err *error) {
	if r := recover(); r != nil {
		*err = fmt.Errorf("index: %v", r)
	}
}
