package faces

import (
	"context"
	"errors"

	"facepipe/store"
)

// Dataset is the [Set] of a dataset's crops; places are global rows.
type Dataset struct {
	ds    *store.Dataset
	crops *store.CropReader
	owned bool
}

// Open opens the dataset in dir. Errors are those of [store.Open].
func Open(dir string, options ...store.Option) (*Dataset, error) {
	ds, err := store.Open(dir, options...)
	if err != nil {
		return nil, err
	}
	d := Of(ds)
	d.owned = true
	return d, nil
}

// Of is the set of an open dataset, which stays open when the set is closed.
func Of(ds *store.Dataset) *Dataset { return &Dataset{ds: ds, crops: ds.CropReader()} }

// Dataset is the dataset itself.
func (d *Dataset) Dataset() *store.Dataset { return d.ds }

// Len is the number of crops.
func (d *Dataset) Len() int { return d.ds.Rows() }

// Find is the global row of a key; that of a duplicate is the stored crop's.
func (d *Dataset) Find(key string) (place int, ok bool, err error) {
	at, err := d.ds.Lookup(key)
	if errors.Is(err, store.ErrNotFound) {
		return 0, false, nil
	}
	if err != nil {
		return 0, false, err
	}
	return d.ds.RowOf(at), true, nil
}

// EachKey visits all keys, those of duplicates among them.
func (d *Dataset) EachKey(ctx context.Context, visit func(key string) error) error {
	return d.ds.EachKey(ctx, visit)
}

// Head is the crop without its image.
func (d *Dataset) Head(place int) (store.Crop, error) { return d.crops.Head(d.ds.Locate(place)) }

// Labels are those of [store.Dataset.Labels].
func (d *Dataset) Labels(ctx context.Context) ([]int32, error) { return d.ds.Labels(ctx) }

// Identities is the number of labels.
func (d *Dataset) Identities() int { return d.ds.Identities() }

// CropSize is that of the contract.
func (d *Dataset) CropSize() int { return d.crops.CropSize() }

// Decode decodes a crop.
func (d *Dataset) Decode(place int, rgb []byte) error {
	return d.crops.DecodeRGB(d.ds.Locate(place), rgb)
}

// Describe names the dataset as it was opened.
func (d *Dataset) Describe() Description {
	return Description{Path: d.ds.Dir(), Digest: d.ds.Digest(), Rows: d.ds.Rows(), Contract: d.ds.Contract(), Sources: d.ds.Sources()}
}

// Close closes what [Open] opened.
func (d *Dataset) Close() error {
	err := d.crops.Close()
	if d.owned {
		err = errors.Join(err, d.ds.Close())
	}
	return err
}
