package eval

import (
	"errors"
	"fmt"
	"sync"

	"facepipe/store"
)

// cropReader decodes the crops of a pair set. Shards are opened when they are first
// needed and stay open (mapped, not read into memory) until close, so that models
// after the first need not verify them again. Safe for concurrent use.
type cropReader struct {
	ds    *store.Dataset
	pairs *PairSet
	size  int // of a crop's side, in pixels

	mu     sync.Mutex
	shards map[uint32]*store.CropShard
}

func newCropReader(ds *store.Dataset, pairs *PairSet) *cropReader {
	return &cropReader{ds: ds, pairs: pairs, size: ds.Contract().CropSize, shards: map[uint32]*store.CropShard{}}
}

func (r *cropReader) len() int { return len(r.pairs.locations) }

// read decodes crop i of the pair set into rgb.
func (r *cropReader) read(i int, rgb []byte) error {
	at := r.pairs.locations[i]
	shard, err := r.shard(at.Shard)
	if err != nil {
		return err
	}
	crop, err := shard.Crop(int(at.Row))
	if err != nil {
		return err
	}
	if err := crop.DecodeRGB(r.size, rgb); err != nil {
		return fmt.Errorf("decode %s: %w", crop.Key, err)
	}
	return nil
}

func (r *cropReader) shard(number uint32) (*store.CropShard, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if s, ok := r.shards[number]; ok {
		return s, nil
	}
	s, err := r.ds.CropShard(int(number))
	if err != nil {
		return nil, err
	}
	r.shards[number] = s
	return s, nil
}

func (r *cropReader) close() error {
	var err error
	for _, s := range r.shards {
		err = errors.Join(err, s.Close())
	}
	return err
}
