package store

import (
	"errors"
	"fmt"
	"sync"
)

// CropReader reads crops from anywhere in a dataset. A shard is opened when it is
// first needed and stays open (mapped, not read into memory) until Close: opening it
// again would verify its checksums anew. Safe for concurrent use, except of Close.
type CropReader struct {
	ds *Dataset

	mu     sync.Mutex
	shards map[uint32]*CropShard
}

// CropReader is a reader to be closed before the dataset is.
func (d *Dataset) CropReader() *CropReader {
	return &CropReader{ds: d, shards: map[uint32]*CropShard{}}
}

// DecodeRGB decodes the crop at a location into rgb, as [Crop.DecodeRGB] does. The
// error names the crop; it is [ErrDamaged] if the shard is.
func (r *CropReader) DecodeRGB(at Location, rgb []byte) error {
	crop, err := r.Image(at)
	if err != nil {
		return err
	}
	if err := crop.DecodeRGB(r.ds.Contract().CropSize, rgb); err != nil {
		return fmt.Errorf("decode %s: %w", crop.Key, err)
	}
	return nil
}

// CropSize is the side of the dataset's crops in pixels.
func (r *CropReader) CropSize() int { return r.ds.Contract().CropSize }

// Crop reads the crop at a location, as [CropShard.Crop] does; its Image may be used until
// Close.
func (r *CropReader) Crop(at Location) (Crop, error) {
	shard, err := r.shard(at.Shard)
	if err != nil {
		return Crop{}, err
	}
	return shard.Crop(int(at.Row))
}

// Image reads what it takes to decode the crop at a location, as [CropShard.Image] does; it
// may be used until Close.
func (r *CropReader) Image(at Location) (Crop, error) {
	shard, err := r.shard(at.Shard)
	if err != nil {
		return Crop{}, err
	}
	return shard.Image(int(at.Row))
}

// ID is the id of the crop at a location; its image is not read.
func (r *CropReader) ID(at Location) (ID, error) {
	crop, err := r.Head(at)
	return crop.ID, err
}

// Head reads the crop at a location without its image, as [CropShard.Head] does.
func (r *CropReader) Head(at Location) (Crop, error) {
	shard, err := r.shard(at.Shard)
	if err != nil {
		return Crop{}, err
	}
	return shard.Head(int(at.Row))
}

// is asks of the row at a location whether it is one that is looked for; its image is not read.
func (r *CropReader) is(at Location, one func(*cropColumns, int) bool) (bool, error) {
	shard, err := r.shard(at.Shard)
	if err != nil {
		return false, err
	}
	return shard.is(int(at.Row), one)
}

func (r *CropReader) shard(number uint32) (*CropShard, error) {
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

// Release closes a shard that is not needed any more, so that a walk through a dataset
// keeps few open. Its crops must not be in use.
func (r *CropReader) Release(number uint32) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	s, ok := r.shards[number]
	if !ok {
		return nil
	}
	delete(r.shards, number)
	return s.Close()
}

// Close closes the shards that were needed.
func (r *CropReader) Close() error {
	var err error
	for _, s := range r.shards {
		err = errors.Join(err, s.Close())
	}
	clear(r.shards)
	return err
}
