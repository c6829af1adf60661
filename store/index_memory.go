package store

import (
	"context"
	"fmt"
	"slices"
)

// memoryIndex is the index in memory, about 60 bytes a crop.
type memoryIndex struct {
	dataset *Dataset
	crops   keyTable // number = global row
	keys    keyTable
	rowOf   []uint32 // of a key
	people  keyTable
	// rows are grouped by identity: those of identity i are rows[starts[i]:starts[i+1]].
	rows   []uint32
	starts []uint32
}

func newMemoryIndex(ctx context.Context, d *Dataset) (*memoryIndex, error) {
	m := &memoryIndex{dataset: d}
	b := &memoryBuilder{index: m}
	if err := d.eachEntry(ctx, b); err != nil {
		return nil, err
	}
	b.groupByIdentity()
	return m, nil
}

// memoryBuilder fills a memoryIndex.
type memoryBuilder struct {
	index    *memoryIndex
	identity []int32 // of each row; -1 for none
}

func (b *memoryBuilder) crop(row int, id ID, key, identity string) error {
	m := b.index
	if n, added := m.crops.insert(key128(id)); !added || int(n) != row {
		return damaged(m.dataset.cropPath(int(m.dataset.Locate(row).Shard)), "crop %v is stored twice", id)
	}
	m.setKey(key, uint32(row))
	person := int32(-1)
	if identity != "" {
		n, _ := m.people.insert(hashName(identity))
		person = int32(n)
	}
	b.identity = append(b.identity, person)
	return nil
}

func (b *memoryBuilder) alias(key string, of ID) error {
	row, ok := b.index.crops.find(key128(of))
	if !ok {
		return fmt.Errorf("%w: duplicate %q is of crop %v, which is not stored", ErrDamaged, key, of)
	}
	b.index.setKey(key, row)
	return nil
}

func (m *memoryIndex) setKey(key string, row uint32) {
	if _, added := m.keys.insert(hashName(key)); added {
		m.rowOf = append(m.rowOf, row)
	}
}

// groupByIdentity sorts the rows by identity, by counting.
func (b *memoryBuilder) groupByIdentity() {
	m := b.index
	m.starts = make([]uint32, m.people.len()+1)
	for _, p := range b.identity {
		if p >= 0 {
			m.starts[p+1]++
		}
	}
	for i := 1; i < len(m.starts); i++ {
		m.starts[i] += m.starts[i-1]
	}
	m.rows = make([]uint32, m.starts[len(m.starts)-1])
	next := slices.Clone(m.starts)
	for row, p := range b.identity {
		if p >= 0 {
			m.rows[next[p]] = uint32(row)
			next[p]++
		}
	}
}

func (m *memoryIndex) byID(id ID) (Location, bool, error) {
	row, ok := m.crops.find(key128(id))
	if !ok {
		return Location{}, false, nil
	}
	return m.dataset.Locate(int(row)), true, nil
}

func (m *memoryIndex) byKey(key string) (Location, bool, error) {
	k, ok := m.keys.find(hashName(key))
	if !ok {
		return Location{}, false, nil
	}
	return m.dataset.Locate(int(m.rowOf[k])), true, nil
}

func (m *memoryIndex) byIdentity(name string) ([]int, error) {
	p, ok := m.people.find(hashName(name))
	if !ok {
		return nil, nil
	}
	var rows []int
	for _, r := range m.rows[m.starts[p]:m.starts[p+1]] {
		rows = append(rows, int(r))
	}
	return rows, nil
}

func (m *memoryIndex) close() error { return nil }
