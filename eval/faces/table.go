package faces

import (
	"context"
	"fmt"

	"facepipe/eval/embeddings"
	"facepipe/store"
)

// KindTable is the [Description].Kind of a [Table].
const KindTable = "embeddings"

// Table is the [Set] of the rows of a file of embeddings: faces that nobody can look at.
type Table struct {
	table  *embeddings.Table
	rows   map[string]int
	labels []int32
	names  int
}

// OfTable is the set of a table, which must have keys.
func OfTable(t *embeddings.Table) (*Table, error) {
	if t.Keys == nil {
		return nil, fmt.Errorf("embeddings %s: it has no keys, by which pairs could name its rows: write them to %s, one a line, or give --dataset", t.Path, embeddings.KeysFile(t.Path))
	}
	s := &Table{table: t, rows: make(map[string]int, len(t.Keys)), labels: make([]int32, len(t.Keys))}
	labels := map[string]int32{}
	for i, key := range t.Keys {
		s.rows[key] = i
		s.labels[i] = store.NoLabel
		if t.Identities == nil || t.Identities[i] == "" {
			continue
		}
		label, met := labels[t.Identities[i]]
		if !met {
			label = int32(len(labels))
			labels[t.Identities[i]] = label
		}
		s.labels[i] = label
	}
	s.names = len(labels)
	return s, nil
}

// Embeddings are those of the set.
func (s *Table) Embeddings() *embeddings.Table { return s.table }

// Len is the number of rows.
func (s *Table) Len() int { return s.table.Len() }

// Find is the row of a key.
func (s *Table) Find(key string) (place int, ok bool, err error) {
	place, ok = s.rows[key]
	return place, ok, nil
}

// EachKey visits all keys.
func (s *Table) EachKey(ctx context.Context, visit func(key string) error) error {
	for _, key := range s.table.Keys {
		if err := visit(key); err != nil {
			return err
		}
	}
	return ctx.Err()
}

// Head gives key, identity and label.
func (s *Table) Head(place int) (store.Crop, error) {
	c := store.Crop{Key: s.table.Keys[place], Label: s.labels[place]}
	if s.table.Identities != nil {
		c.Identity = s.table.Identities[place]
	}
	return c, nil
}

// Labels are those of the identities that the file names.
func (s *Table) Labels(context.Context) ([]int32, error) { return s.labels, nil }

// Identities is the number of them.
func (s *Table) Identities() int { return s.names }

// CropSize is 0: there are no images.
func (s *Table) CropSize() int { return 0 }

// Decode is an error.
func (s *Table) Decode(place int, _ []byte) error {
	return fmt.Errorf("%s: there is no image of %s, only its embedding", s.table.Path, s.table.Keys[place])
}

// Describe names the file.
func (s *Table) Describe() Description {
	return Description{Path: s.table.Path, Digest: s.table.Digest, Kind: KindTable, Rows: s.table.Len(), Sources: []store.SourceInfo{}}
}

// Close does nothing.
func (s *Table) Close() error { return nil }
