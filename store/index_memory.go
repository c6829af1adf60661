package store

import (
	"context"
	"fmt"
)

// memoryIndex is the index in memory, about 50 bytes a crop.
type memoryIndex struct {
	source *indexSource
	crops  keyTable // number = global row
	keys   keyTable
	rowOf  []uint32 // of a key
}

func newMemoryIndex(ctx context.Context, s *indexSource) (*memoryIndex, error) {
	m := &memoryIndex{source: s}
	if err := s.each(ctx, m); err != nil {
		return nil, err
	}
	return m, nil
}

func (m *memoryIndex) crop(row int, id ID, key string) error {
	if n, added := m.crops.insert(key128(id)); !added || int(n) != row {
		return damaged(m.source.file(row), "crop %v is stored twice", id)
	}
	m.setKey(key, uint32(row))
	return nil
}

func (m *memoryIndex) alias(key string, of ID) error {
	row, ok := m.crops.find(key128(of))
	if !ok {
		return fmt.Errorf("%w: duplicate %q is of crop %v, which is not stored", ErrDamaged, key, of)
	}
	m.setKey(key, row)
	return nil
}

func (m *memoryIndex) setKey(key string, row uint32) {
	if _, added := m.keys.insert(hashName(key)); added {
		m.rowOf = append(m.rowOf, row)
	}
}

func (m *memoryIndex) byID(id ID) (Location, bool, error) {
	row, ok := m.crops.find(key128(id))
	if !ok {
		return Location{}, false, nil
	}
	return m.source.locate(int(row)), true, nil
}

func (m *memoryIndex) byKey(key string) (Location, bool, error) {
	k, ok := m.keys.find(hashName(key))
	if !ok {
		return Location{}, false, nil
	}
	return m.source.locate(int(m.rowOf[k])), true, nil
}

func (m *memoryIndex) close() error { return nil }
