package store

import (
	"errors"

	"facepipe/store/internal/table"
)

// CropShard is a view of one memory-mapped shard of crops. It is safe for
// concurrent use, except that nothing may be in use when it is closed. Keep a shard
// open while reading its rows: the first access to each of its batches verifies
// checksums, and closing the last view forgets that.
type CropShard struct {
	view *table.View[*cropFile]
}

// cropFile is an open crop shard; without rows it has no file.
type cropFile struct{ *table.File[cropColumns] }

// openCropFile opens the Arrow file at path, which its manifest says is of a version.
func openCropFile(path string, info *table.FileInfo, c Contract, version int) (*cropFile, error) {
	if info == nil {
		return &cropFile{}, nil
	}
	schema, err := cropSchema(c, version)
	if err != nil {
		return nil, err
	}
	f, err := table.Open(path, info, schema, parseCropColumns)
	if err != nil {
		return nil, err
	}
	return &cropFile{f}, nil
}

// Close unmaps the file.
func (f *cropFile) Close() error {
	if f.File == nil {
		return nil
	}
	return f.File.Close()
}

// batches is the number of record batches.
func (f *cropFile) batches() int {
	if f.File == nil {
		return 0
	}
	return len(f.Columns)
}

// crop reads a row after verifying all of its batch.
func (f *cropFile) crop(row int) (Crop, error) {
	c, k, err := f.verified(row)
	if err != nil {
		return Crop{}, err
	}
	return c.crop(k), nil
}

// verified are the columns of the batch that holds a row, and the row's place there, after
// verifying all of it.
func (f *cropFile) verified(row int) (*cropColumns, int, error) {
	b, k := f.Find(row)
	c, err := f.Columns[b]()
	if err != nil {
		return nil, 0, err
	}
	return c, k, f.Payloads[b]()
}

// Rows is the number of crops.
func (s *CropShard) Rows() int {
	f := s.view.Use()
	if f.File == nil {
		return 0
	}
	return f.Info.Rows()
}

// Crop reads row 0 .. Rows()-1; another row panics. Its Image points into the
// mapping: it must not be changed, nor be used after Close. The rest is a copy.
// [ErrDamaged] if the batch that holds the row does not match its checksum.
func (s *CropShard) Crop(row int) (Crop, error) {
	f := s.view.Use()
	if f.File == nil {
		panic("store: crop of a shard without rows")
	}
	return f.crop(row)
}

// Image reads of a row what it takes to decode it: its ID, Key, Encoding and Image. Key and
// Image point into the mapping: they must not be used after Close. Nothing is allocated.
// Otherwise it is as [CropShard.Crop].
func (s *CropShard) Image(row int) (Crop, error) {
	f := s.view.Use()
	if f.File == nil {
		panic("store: crop of a shard without rows")
	}
	c, k, err := f.verified(row)
	if err != nil {
		return Crop{}, err
	}
	return Crop{ID: c.idAt(k), Key: c.key.Value(k), Encoding: encodingOf(c.encoding.Value(k)), Image: c.image.Value(k)}, nil
}

// Prefetch asks the system to have n rows, from row on, in memory soon; it does not wait
// for that. Rows out of range panic.
func (s *CropShard) Prefetch(row, n int) {
	if f := s.view.Use(); f.File != nil {
		f.Prefetch(row, n)
	}
}

// Head reads a row as [CropShard.Crop] does, but leaves Image empty: images are neither
// read nor verified.
func (s *CropShard) Head(row int) (Crop, error) {
	c, k, err := s.columns(row)
	if err != nil {
		return Crop{}, err
	}
	crop := c.crop(k)
	crop.Image = nil
	return crop, nil
}

// is asks of a row whether it is one that is looked for.
func (s *CropShard) is(row int, one func(*cropColumns, int) bool) (bool, error) {
	c, k, err := s.columns(row)
	return err == nil && one(c, k), err
}

// columns are those of the batch that holds a row, images not verified, and the row's place there.
func (s *CropShard) columns(row int) (*cropColumns, int, error) {
	f := s.view.Use()
	if f.File == nil {
		panic("store: crop of a shard without rows")
	}
	b, k := f.Find(row)
	c, err := f.Columns[b]()
	return c, k, err
}

// Retain is a second view of the shard, to be closed by itself.
func (s *CropShard) Retain() *CropShard { return &CropShard{view: s.view.Retain()} }

// Close ends the view; the last one unmaps the file. Closing again does nothing.
func (s *CropShard) Close() error { return s.view.Close() }

// eachColumns calls visit with the columns of every batch of a crop shard, images
// not verified, and closes the shard.
func (f *cropFile) eachColumns(visit func(*cropColumns) error) (err error) {
	defer func() { err = errors.Join(err, f.Close()) }()
	for i := range f.batches() {
		c, err := f.Columns[i]()
		if err != nil {
			return err
		}
		if err := visit(c); err != nil {
			return err
		}
	}
	return nil
}
