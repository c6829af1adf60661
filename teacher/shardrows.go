package teacher

import (
	"slices"

	"facepipe/store"
)

// shardRows numbers the crops of some shards of a dataset from 0, shard after shard.
type shardRows struct {
	ds     *store.Dataset
	shards []int
	starts []int // the number of each shard's first crop
}

func newShardRows(ds *store.Dataset, shards []int) *shardRows {
	r := &shardRows{ds: ds, shards: shards}
	n := 0
	for _, shard := range shards {
		r.starts = append(r.starts, n)
		n += ds.ShardRows(shard)
	}
	return r
}

// at is where crop i is.
func (r *shardRows) at(i int) store.Location {
	k, found := slices.BinarySearch(r.starts, i)
	if !found {
		k--
	}
	return store.Location{Shard: uint32(r.shards[k]), Row: uint32(i - r.starts[k])}
}

// last says whether a crop is the last of its shard.
func (r *shardRows) last(at store.Location) bool {
	return int(at.Row) == r.ds.ShardRows(int(at.Shard))-1
}
