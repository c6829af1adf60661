package store

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// audit looks for damage in the index, if there is one and it is of this snapshot.
func (s *indexSource) audit(a *Audit) error {
	ix, err := openBadgerIndex(s.dir, s.digest)
	if errors.Is(err, os.ErrNotExist) || errors.Is(err, ErrDamaged) {
		// A run that ended just now may have put another in its place: look again.
		ix, err = openBadgerIndex(s.dir, s.digest)
	}
	folder := filepath.Join(s.dir, indexFolder)
	switch _, statErr := os.Stat(folder); {
	case errors.Is(err, ErrDamaged):
		return a.Fault(err)
	case errors.Is(err, os.ErrNotExist) && statErr == nil:
		// The folder is moved into place whole.
		return a.Fault(damaged(filepath.Join(folder, builtName), "missing"))
	case err != nil:
		a.Note("the index is rebuilt when it is needed: %v", err)
		return nil
	}
	if a.ReadsAll() {
		err = compareIndex(a.Context, s, ix)
		if a.Context.Err() == nil {
			err = a.Fault(asDamage(folder, err))
		}
	}
	return errors.Join(err, ix.close())
}

// compareIndex reads all of an index, in its own order, and compares it with one made
// in memory from the shards.
func compareIndex(ctx context.Context, s *indexSource, ix *badgerIndex) error {
	want, err := newMemoryIndex(ctx, s)
	if err != nil {
		return err
	}
	return want.compare(ctx, ix)
}

// compare finds a difference between two indices. Entries come once, so that as many
// as there should be, all of them right, are all there should be.
func (m *memoryIndex) compare(ctx context.Context, ix *badgerIndex) error {
	var crops, keys int
	err := ix.each(ctx, func(entry, value []byte) error {
		switch kind, rest := entry[0], entry[1:]; kind {
		case entryID:
			crops++
			return m.compareID(rest, value)
		case entryKey:
			keys++
			return m.compareKey(string(rest), value)
		case entryIdentity:
			return nil
		default:
			return fmt.Errorf("has an entry %.40q", entry)
		}
	})
	if err != nil {
		return err
	}
	if crops != m.crops.len() || keys != m.keys.len() {
		return fmt.Errorf("has %d crops and %d keys; there are %d and %d", crops, keys, m.crops.len(), m.keys.len())
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
