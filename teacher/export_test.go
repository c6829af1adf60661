package teacher

import (
	"facepipe/store"
	"facepipe/store/cache"
)

// WithBegin has a run call begin when it begins to fill a shard.
func WithBegin(o Options, begin func(shard int)) Options {
	o.begin = begin
	return o
}

// BeginShare begins the part of a shard, as a worker of the plan in a folder does.
func BeginShare(ds *store.Dataset, info cache.Info, job string, shard int) (*share, error) {
	s, err := openShares(ds, info, job)
	if err != nil {
		return nil, err
	}
	w, err := s.open(shard)
	if err != nil {
		return nil, err
	}
	return w.(*share), nil
}

// Judge has a judge see one-element embeddings by shards and returns the number of the
// first shard at which it condemns the model; -1 if it does not.
func Judge(shards int, of func(shard int) [][]float32) int {
	j := judge{dtype: cache.FP32}
	for i := range shards {
		embeddings := of(i)
		j.begin(len(embeddings))
		for _, e := range embeddings {
			if j.see([][]float32{e}) != nil {
				return i
			}
		}
	}
	return -1
}
