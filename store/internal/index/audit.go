package index

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"facepipe/store/internal/table"
)

// Audit looks for damage in the index, if there is one and it is of this snapshot.
func (s *Source) Audit(a *table.Audit) error {
	ix, err := Open(s.Dir, s.Digest)
	if errors.Is(err, os.ErrNotExist) || errors.Is(err, table.ErrDamaged) {
		// A run that ended just now may have put another in its place: look again.
		ix, err = Open(s.Dir, s.Digest)
	}
	folder := filepath.Join(s.Dir, Folder)
	switch _, statErr := os.Stat(folder); {
	case errors.Is(err, table.ErrDamaged):
		return a.Fault(err)
	case errors.Is(err, os.ErrNotExist) && statErr == nil:
		// The folder is moved into place whole.
		return a.Fault(table.Damaged(filepath.Join(folder, builtName), "missing"))
	case err != nil:
		a.Note("the index is rebuilt when it is needed: %v", err)
		return nil
	}
	if a.ReadsAll() {
		err = compareIndex(a.Context, s, ix)
		if a.Context.Err() == nil {
			err = a.Fault(table.AsDamage(folder, err))
		}
	}
	return errors.Join(err, ix.Close())
}

// compareIndex reads all of an index, in its own order, and compares it with one made
// in memory from the shards.
func compareIndex(ctx context.Context, s *Source, ix *Badger) error {
	want, err := NewMemory(ctx, s)
	if err != nil {
		return err
	}
	return want.compare(ctx, ix)
}

// compare finds a difference between two indices. Entries come once, so that as many
// as there should be, all of them right, are all there should be.
func (m *Memory) compare(ctx context.Context, ix *Badger) error {
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
	if crops != m.crops.Len() || keys != m.keys.Len() {
		return fmt.Errorf("has %d crops and %d keys; there are %d and %d", crops, keys, m.crops.Len(), m.keys.Len())
	}
	return nil
}

func (m *Memory) compareID(id, value []byte) error {
	if len(id) != len(table.ID{}) || len(value) != locationBytes {
		return errEntry
	}
	want, ok, _ := m.ByID(table.ID(id)) // memory does not fail
	if have := parseLocation(value); !ok || have != want {
		return fmt.Errorf("crop %v leads to %+v, it is at %+v (exists: %t)", table.ID(id), have, want, ok)
	}
	return nil
}

func (m *Memory) compareKey(key string, id []byte) error {
	if len(id) != len(table.ID{}) {
		return errEntry
	}
	want, ok, _ := m.ByKey(key)
	if have, known, _ := m.ByID(table.ID(id)); !ok || !known || have != want {
		return fmt.Errorf("key %q leads to crop %v, it belongs to the one at %+v (exists: %t)", key, table.ID(id), want, ok)
	}
	return nil
}
