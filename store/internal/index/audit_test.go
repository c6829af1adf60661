package index

import (
	"context"
	"errors"
	"testing"

	"facepipe/store/internal/table"
)

// An index that says something else than the shards is found: entries that are wrong,
// missing or too many.
func TestCompareIndex(t *testing.T) {
	const n = 30
	source := sourceOf(t, n)
	for name, have := range map[string]int{"one crop fewer": n - 1, "one more": n + 1, "none": 0} {
		ix := onDisk(t, sourceOf(t, have))
		if err := compareIndex(t.Context(), source, ix); err == nil {
			t.Errorf("%s: passes", name)
		}
		mustClose(t, ix.Close)
	}
	ix := onDisk(t, source)
	defer mustClose(t, ix.Close)
	for name, spoil := range map[string]func(*Memory){
		"id": func(m *Memory) {
			m.crops = table.KeyTable{}
			for row := range n {
				id := idOf(row)
				if row == 3 {
					id[9]++
				}
				m.crops.Insert(id)
			}
		},
		"key":           func(m *Memory) { m.rowOf[4]++ },
		"alias":         func(m *Memory) { m.rowOf[len(m.rowOf)-1]-- },
		"key too many":  func(m *Memory) { m.setKey("another", 1) },
		"crop too many": func(m *Memory) { m.crops.Insert(table.Key128{1}) },
	} {
		m := inMemory(t, source)
		if err := m.compare(t.Context(), ix); err != nil {
			t.Fatal(err)
		}
		spoil(m)
		if err := m.compare(t.Context(), ix); err == nil {
			t.Errorf("%s: passes", name)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := compareIndex(ctx, source, ix); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}
