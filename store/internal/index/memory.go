package index

import (
	"context"
	"fmt"

	"facepipe/store/internal/table"
)

// Memory is the index in memory, about 50 bytes a crop.
type Memory struct {
	source *Source
	crops  table.KeyTable // number = global row
	keys   table.KeyTable
	rowOf  []uint32 // of a key
}

// NewMemory makes the index of s in memory. What contradicts itself is [table.ErrDamaged].
func NewMemory(ctx context.Context, s *Source) (*Memory, error) {
	m := &Memory{source: s}
	if err := s.Each(ctx, m); err != nil {
		return nil, err
	}
	return m, nil
}

// Crop is part of [Entries].
func (m *Memory) Crop(row int, id table.ID, key string) error {
	if n, added := m.crops.Insert(table.Key128(id)); !added || int(n) != row {
		return table.Damaged(m.source.File(row), "crop %v is stored twice", id)
	}
	m.setKey(key, uint32(row))
	return nil
}

// Alias is part of [Entries].
func (m *Memory) Alias(key string, of table.ID) error {
	row, ok := m.crops.Find(table.Key128(of))
	if !ok {
		return fmt.Errorf("%w: duplicate %q is of crop %v, which is not stored", table.ErrDamaged, key, of)
	}
	m.setKey(key, row)
	return nil
}

func (m *Memory) setKey(key string, row uint32) {
	if _, added := m.keys.Insert(table.HashName(key)); added {
		m.rowOf = append(m.rowOf, row)
	}
}

// ByID is part of [Index].
func (m *Memory) ByID(id table.ID) (table.Location, bool, error) {
	row, ok := m.crops.Find(table.Key128(id))
	if !ok {
		return table.Location{}, false, nil
	}
	return m.source.Locate(int(row)), true, nil
}

// ByKey is part of [Index].
func (m *Memory) ByKey(key string) (table.Location, bool, error) {
	k, ok := m.keys.Find(table.HashName(key))
	if !ok {
		return table.Location{}, false, nil
	}
	return m.source.Locate(int(m.rowOf[k])), true, nil
}

// Close does nothing.
func (m *Memory) Close() error { return nil }
