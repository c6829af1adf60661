package store

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"slices"
)

// compareIndex reads all of an index, in its own order, and compares it with one made
// in memory from the shards.
func compareIndex(ctx context.Context, d *Dataset, ix *badgerIndex) error {
	want, err := newMemoryIndex(ctx, d)
	if err != nil {
		return err
	}
	return want.compare(ctx, ix)
}

// compare finds a difference between two indices. Entries come once, so that as many
// as there should be, all of them right, are all there should be.
func (m *memoryIndex) compare(ctx context.Context, ix *badgerIndex) error {
	var crops, keys, people int
	err := ix.each(ctx, func(entry, value []byte) error {
		switch kind, rest := entry[0], entry[1:]; kind {
		case entryID:
			crops++
			return m.compareID(rest, value)
		case entryKey:
			keys++
			return m.compareKey(string(rest), value)
		case entryIdentity:
			people++
			return m.compareIdentity(rest)
		default:
			return fmt.Errorf("has an entry %.40q", entry)
		}
	})
	if err != nil {
		return err
	}
	if crops != m.crops.len() || keys != m.keys.len() || people != len(m.rows) {
		return fmt.Errorf("has %d crops, %d keys and %d crops of identities; there are %d, %d and %d",
			crops, keys, people, m.crops.len(), m.keys.len(), len(m.rows))
	}
	return nil
}

func (m *memoryIndex) compareID(id, value []byte) error {
	if len(id) != len(ID{}) || len(value) != locationBytes {
		return errEntry
	}
	want, ok, _ := m.byID(ID(id)) // memory does not fail
	if have := parseLocation(value); !ok || have != want {
		return fmt.Errorf("crop %v leads to %+v, it is at %+v (exists: %t)", ID(id), have, want, ok)
	}
	return nil
}

func (m *memoryIndex) compareKey(key string, id []byte) error {
	if len(id) != len(ID{}) {
		return errEntry
	}
	want, ok, _ := m.byKey(key)
	if have, known, _ := m.byID(ID(id)); !ok || !known || have != want {
		return fmt.Errorf("key %q leads to crop %v, it belongs to the one at %+v (exists: %t)", key, ID(id), want, ok)
	}
	return nil
}

// compareIdentity gets an identity's name, 00, and a row.
func (m *memoryIndex) compareIdentity(rest []byte) error {
	name, row, ok := bytes.Cut(rest, []byte{0})
	if !ok || len(row) != 4 {
		return errEntry
	}
	n := binary.BigEndian.Uint32(row)
	p, ok := m.people.find(hashName(string(name)))
	if ok {
		_, ok = slices.BinarySearch(m.rows[m.starts[p]:m.starts[p+1]], n)
	}
	if !ok {
		return fmt.Errorf("identity %q leads to row %d, which is not its", name, n)
	}
	return nil
}
