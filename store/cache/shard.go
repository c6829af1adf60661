package cache

import (
	"fmt"

	"facepipe/store/internal/table"
)

// Shard is a view of one memory-mapped shard of embeddings; row i belongs to
// row i of the crop shard of the same number. It is safe for concurrent use, except
// that nothing may be in use when it is closed. Keep a shard open while reading its
// rows, as with [store.CropShard].
type Shard struct {
	view *table.View[*file]
}

// Rows is the number of embeddings.
func (s *Shard) Rows() int {
	f := s.view.Use()
	if f.File == nil {
		return 0
	}
	return f.Info.Rows()
}

// Row copies the teacher's raw embedding of a row (of its mirror image if flip) to
// dst, which has length Dim, and returns the norm that the teacher's output had before
// it was rounded to the cache's element type. valid is false, and dst zero, where the
// teacher gave no usable embedding. A row out of range, a dst of another length and
// flip on a cache without mirror images are mistakes of the caller: the last is an
// error, the others panic. [store.ErrDamaged] if the batch does not match its checksum.
func (s *Shard) Row(row int, flip bool, dst []float32) (norm float32, valid bool, err error) {
	v, k, err := s.find(row, flip)
	if err != nil {
		return 0, false, err
	}
	if len(dst) != v.Dim {
		panic(fmt.Sprintf("cache: embedding of %d elements read into %d", v.Dim, len(dst)))
	}
	norm = v.Norms[k]
	if norm == 0 {
		clear(dst)
		return 0, false, nil
	}
	v.CopyRow(k, dst)
	return norm, true, nil
}

// Prefetch asks the system to have n rows, from row on, in memory soon; it does not wait
// for that. Rows out of range panic.
func (s *Shard) Prefetch(row, n int) {
	if f := s.view.Use(); f.File != nil {
		f.Prefetch(row, n)
	}
}

// AppendBytes appends the embedding that [Shard.Row] reads to dst as it is
// stored, Dim elements of the cache's type, little-endian; zeros if it is not valid.
// It is for store/export.
func (s *Shard) AppendBytes(dst []byte, row int, flip bool) (embedding []byte, norm float32, err error) {
	v, k, err := s.find(row, flip)
	if err != nil {
		return dst, 0, err
	}
	return v.AppendRow(dst, k), v.Norms[k], nil
}

// find is the column that holds a row's embedding, and where in it.
func (s *Shard) find(row int, flip bool) (v *table.Vectors, k int, err error) {
	f := s.view.Use()
	if f.File == nil {
		panic("cache: embedding of a shard without rows")
	}
	b, k := f.Find(row)
	c, err := f.Columns[b]()
	if err != nil {
		return nil, 0, err
	}
	if !flip {
		return &c.Plain, k, nil
	}
	if c.Mirror == nil {
		return nil, 0, fmt.Errorf("%s: holds no embeddings of mirror images", f.Path)
	}
	return c.Mirror, k, nil
}

// Close ends the view; the last one unmaps the file. Closing again does nothing.
func (s *Shard) Close() error { return s.view.Close() }
