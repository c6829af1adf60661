package teacher

import (
	"context"
	"slices"

	"facepipe/store"
)

// work is what a run has to do: the shards that are missing, and which of their crops are
// to be embedded. The embeddings of the others are copied from other caches.
type work struct {
	ds     *store.Dataset
	shards []int
	// rows to embed of each shard, ascending; nil stands for all.
	rows [][]int32
	// starts are the numbers of the shards' first crops to embed, of which there are todo.
	starts []int
	todo   int
	each   int // embeddings of a crop
}

// newWork finds out which crops of some shards no other cache has.
func (r *run) newWork(ctx context.Context, shards []int) (*work, error) {
	w := &work{ds: r.ds, shards: shards, each: len(flips(r.o.Flip))}
	for _, shard := range shards {
		rows, all, err := r.missing(ctx, shard)
		if err != nil {
			return nil, err
		}
		w.starts = append(w.starts, w.todo)
		if all {
			rows = nil
			w.todo += r.ds.ShardRows(shard)
		}
		w.todo += len(rows)
		w.rows = append(w.rows, rows)
	}
	return w, nil
}

// missing are the rows of a shard that no other cache has.
func (r *run) missing(ctx context.Context, shard int) (rows []int32, all bool, err error) {
	if r.donors == nil {
		return nil, true, nil
	}
	crops, err := r.ds.CropShard(shard)
	if err != nil {
		return nil, false, err
	}
	defer crops.Close()
	for row := range crops.Rows() {
		if err := ctx.Err(); err != nil {
			return nil, false, err
		}
		crop, err := crops.Head(row)
		if err != nil {
			return nil, false, err
		}
		_, found, err := r.donors.Find(crop.ID)
		if err != nil {
			return nil, false, err
		}
		if !found {
			rows = append(rows, int32(row))
		}
	}
	return rows, len(rows) == crops.Rows(), nil
}

// at is where crop i of those to embed is.
func (w *work) at(i int) store.Location {
	// The last shard that begins at or before i: shards without work begin where the next
	// one does.
	k, _ := slices.BinarySearchFunc(w.starts, i, func(start, i int) int {
		if start <= i {
			return -1
		}
		return 1
	})
	k--
	row := i - w.starts[k]
	if w.rows[k] != nil {
		row = int(w.rows[k][row])
	}
	return store.Location{Shard: uint32(w.shards[k]), Row: uint32(row)}
}
