package cache

import (
	"errors"

	"facepipe/store/internal/table"
)

// copier copies embeddings from caches of one fingerprint into another of it,
// bit for bit: a merge from its inputs, a precompute from other datasets. For one
// goroutine.
type copier struct {
	from []*Cache
	open map[inputShard]*sourceShard
}

// inputShard is a shard of one of the caches that are copied from.
type inputShard struct{ input, shard uint32 }

// inputRow is a row of such a shard.
type inputRow struct {
	inputShard
	row uint32
}

// sourceShard is a shard that is being read, with the reasons of its embeddings that are
// invalid, by row.
type sourceShard struct {
	file *file
	why  map[int]unusable
}

// maxOpenShards bounds the mappings, each of some megabytes; crops mostly come in the
// order in which they lie, so that few are in use at a time.
const maxOpenShards = 32

// copy appends the embedding of the next crop of w.
func (c *copier) copy(w *ShardWriter, at inputRow) error {
	s, err := c.source(at.inputShard)
	if err != nil {
		return err
	}
	b, k := s.file.Find(int(at.row))
	columns, err := s.file.Columns[b]()
	if err != nil {
		return err
	}
	err = w.appendStored(columns, k, s.why[int(at.row)])
	if errors.Is(err, errOtherCrop) {
		return table.Damaged(s.file.Path, "row %d: %w", at.row, err)
	}
	return err
}

func (c *copier) source(at inputShard) (*sourceShard, error) {
	if s := c.open[at]; s != nil {
		return s, nil
	}
	if len(c.open) == maxOpenShards {
		if err := c.close(); err != nil {
			return nil, err
		}
	}
	t, shard := c.from[at.input], int(at.shard)
	why, err := t.invalidRows(shard)
	if err != nil {
		return nil, err
	}
	f, err := t.openFile(shard)
	if err != nil {
		return nil, err
	}
	s := &sourceShard{file: f, why: why}
	if c.open == nil {
		c.open = map[inputShard]*sourceShard{}
	}
	c.open[at] = s
	return s, nil
}

// close closes the shards that are open; they may be opened again.
func (c *copier) close() error {
	var err error
	for at, s := range c.open {
		err = errors.Join(err, s.file.Close())
		delete(c.open, at)
	}
	return err
}

// invalidRows are the reasons of the invalid embeddings of a shard, by row.
func (t *Cache) invalidRows(shard int) (map[int]unusable, error) {
	if t.shards[shard].invalid == 0 {
		return nil, nil
	}
	m, err := readManifest(t.folder, t.dataset, shard, t.info.Fingerprint)
	if err != nil {
		return nil, err
	}
	return m.invalidRows(), nil
}
