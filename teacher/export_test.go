package teacher

import (
	"facepipe/internal/verdict"
	"facepipe/store"
	"facepipe/store/cache"
)

// WithBegin has a run call begin when it begins to fill a shard.
func WithBegin(o Options, begin func(shard int)) Options {
	o.begin = begin
	return o
}

// BeginPart begins the part of a shard, as a worker of the plan in a folder does.
func BeginPart(ds *store.Dataset, info cache.Info, plan string, shard int) (*partWriter, error) {
	s, err := openPlanParts(ds, info, plan)
	if err != nil {
		return nil, err
	}
	w, err := s.open(shard)
	if err != nil {
		return nil, err
	}
	return w.(*partWriter), nil
}

// Judge has a judge see one-element embeddings by shards and returns the number of the
// first shard at which it condemns the model; -1 if it does not.
func Judge(shards int, of func(shard int) [][]float32) int {
	j := judge{}
	for i := range shards {
		embeddings := of(i)
		j.begin(len(embeddings))
		for _, e := range embeddings {
			if j.see(verdict.Of(e, false).Fault) != nil {
				return i
			}
		}
	}
	return -1
}
