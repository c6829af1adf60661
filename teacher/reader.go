package teacher

import (
	"fmt"
	"sync/atomic"
	"time"

	"facepipe/store"
	"facepipe/store/cache"
)

// reader loads crops and knows how long that took.
type reader struct {
	crops *store.CropReader
	nanos atomic.Int64 // of reading, without decoding
}

// decode decodes the crop at a location into rgb.
func (r *reader) decode(at store.Location, rgb []byte) error {
	begun := time.Now()
	crop, err := r.crops.Image(at)
	r.nanos.Add(int64(time.Since(begun)))
	if err != nil {
		return err
	}
	if err := crop.DecodeRGB(r.crops.CropSize(), rgb); err != nil {
		return fmt.Errorf("decode %s: %w", crop.Key, err)
	}
	return nil
}

// spent is how long reading has taken so far.
func (r *reader) spent() time.Duration { return time.Duration(r.nanos.Load()) }

// OpenComplete opens a cache that must lack no shard. Errors: store.ErrNotFound,
// store.ErrDamaged.
func OpenComplete(ds *store.Dataset, name string) (*cache.Cache, error) {
	t, err := cache.Open(ds, name)
	if err != nil {
		return nil, err
	}
	if missing := t.MissingShards(); len(missing) > 0 {
		return nil, fmt.Errorf("teacher %s of %s lacks %d of %d shards: run precompute-teacher again", name, ds.Dir(), len(missing), ds.Shards())
	}
	return t, nil
}

// Rows reads single embeddings of a cache, for one goroutine.
type Rows struct {
	ds     *store.Dataset
	shards map[uint32]*cache.Shard
}

// OpenRows opens the shards of a cache that hold some rows of the dataset. They stay open
// until Close, as opening a shard again would verify its checksums again.
func OpenRows(ds *store.Dataset, kept *cache.Cache, rows []int) (*Rows, error) {
	r := &Rows{ds: ds, shards: map[uint32]*cache.Shard{}}
	for _, row := range rows {
		number := ds.Locate(row).Shard
		if _, open := r.shards[number]; open {
			continue
		}
		shard, err := kept.Shard(int(number))
		if err != nil {
			r.Close()
			return nil, err
		}
		r.shards[number] = shard
	}
	return r, nil
}

// Row copies the embedding of a row, or of its mirror image, into dst of the cache's
// dimension. The row must be one of those that were opened. usable is false, and dst zero, if
// the teacher gave no usable embedding.
func (r *Rows) Row(row int, mirror bool, dst []float32) (norm float32, usable bool, err error) {
	at := r.ds.Locate(row)
	return r.shards[at.Shard].Row(int(at.Row), mirror, dst)
}

// Close closes the shards.
func (r *Rows) Close() {
	for _, s := range r.shards {
		s.Close()
	}
}
