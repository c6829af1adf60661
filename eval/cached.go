package eval

import (
	"fmt"
	"sync"

	"facepipe/eval/faces"
	"facepipe/store"
	"facepipe/store/cache"
)

// cached are the embeddings of some faces in a teacher's cache of the dataset.
type cached struct {
	ds     *store.Dataset
	cache  *cache.Cache
	places []int
	mirror bool // mirror images are added

	mu     sync.Mutex
	shards map[uint32]*cache.Shard
	spare  sync.Pool
}

// openCache opens the cache of a name. Mirror images are added if they are wanted and are there.
func openCache(set *faces.Dataset, name string, places []int, flip bool) (*cached, error) {
	ds := set.Dataset()
	c, err := cache.Open(ds, name)
	if err != nil {
		return nil, err
	}
	lacking := map[uint32]bool{}
	for _, place := range places {
		if at := ds.Locate(place); !c.Has(int(at.Shard)) {
			lacking[at.Shard] = true
		}
	}
	if len(lacking) > 0 {
		return nil, fmt.Errorf("teacher %s of %s lacks %d of the shards that are needed: run precompute-teacher again", name, ds.Dir(), len(lacking))
	}
	e := &cached{ds: ds, cache: c, places: places, mirror: flip && c.Info().Flip, shards: map[uint32]*cache.Shard{}}
	e.spare.New = func() any { row := make([]float32, c.Info().Dim); return &row }
	return e, nil
}

// Len is the number of faces.
func (c *cached) Len() int { return len(c.places) }

// Dim is the length of an embedding.
func (c *cached) Dim() int { return c.cache.Info().Dim }

// Row copies an embedding, the mirror image's added.
func (c *cached) Row(i int, dst []float32) (bool, error) {
	at := c.ds.Locate(c.places[i])
	shard, err := c.shard(at.Shard)
	if err != nil {
		return false, err
	}
	_, ok, err := shard.Row(int(at.Row), false, dst)
	if !c.mirror || !ok || err != nil {
		return ok, err
	}
	mirrored := c.spare.Get().(*[]float32)
	defer c.spare.Put(mirrored)
	if _, ok, err = shard.Row(int(at.Row), true, *mirrored); !ok || err != nil {
		return ok, err
	}
	for k, v := range *mirrored {
		dst[k] += v
	}
	return true, nil
}

func (c *cached) shard(number uint32) (*cache.Shard, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if s, ok := c.shards[number]; ok {
		return s, nil
	}
	s, err := c.cache.Shard(int(number))
	if err == nil {
		c.shards[number] = s
	}
	return s, err
}

func (c *cached) close() {
	for _, s := range c.shards {
		_ = s.Close()
	}
}

// notes say what a cache's embeddings are.
func (c *cached) notes(flip bool) (notes []string) {
	info := c.cache.Info()
	if flip && !info.Flip {
		notes = append(notes, "its cache has no mirror images: its embeddings are without them")
	}
	if info.DType == cache.FP16 {
		notes = append(notes, "its cache keeps half precision (fp16)")
	}
	return notes
}
