package store

import "fmt"

// EmbeddingShard is a view of one memory-mapped shard of embeddings; row i belongs to
// row i of the crop shard of the same number. It is safe for concurrent use, except
// that nothing may be in use when it is closed. Keep a shard open while reading its
// rows, as with [CropShard].
type EmbeddingShard struct {
	view *view[*embeddingFile]
}

// embeddingFile is an open shard of embeddings; that of crops without rows has no file.
type embeddingFile struct{ *arrowFile[embeddingColumns] }

// Close unmaps the file.
func (f *embeddingFile) Close() error {
	if f.arrowFile == nil {
		return nil
	}
	return f.close()
}

// Rows is the number of embeddings.
func (s *EmbeddingShard) Rows() int {
	f := s.view.use()
	if f.arrowFile == nil {
		return 0
	}
	return f.info.rows()
}

// Row copies the teacher's raw embedding of a row (of its mirror image if flip) to
// dst, which has length Dim, and returns the norm that the teacher's output had before
// it was rounded to the cache's element type. valid is false, and dst zero, where the
// teacher gave no usable embedding. A row out of range, a dst of another length and
// flip on a cache without mirror images are mistakes of the caller: the last is an
// error, the others panic. [ErrDamaged] if the batch does not match its checksum.
func (s *EmbeddingShard) Row(row int, flip bool, dst []float32) (norm float32, valid bool, err error) {
	v, k, err := s.find(row, flip)
	if err != nil {
		return 0, false, err
	}
	if len(dst) != v.dim {
		panic(fmt.Sprintf("store: embedding of %d elements read into %d", v.dim, len(dst)))
	}
	norm = v.norms[k]
	if norm == 0 {
		clear(dst)
		return 0, false, nil
	}
	v.copyRow(k, dst)
	return norm, true, nil
}

// Prefetch asks the system to have n rows, from row on, in memory soon; it does not wait
// for that. Rows out of range panic.
func (s *EmbeddingShard) Prefetch(row, n int) {
	if f := s.view.use(); f.arrowFile != nil {
		f.prefetch(row, n)
	}
}

// AppendBytes appends the embedding that [EmbeddingShard.Row] reads to dst as it is
// stored, Dim elements of the cache's type, little-endian; zeros if it is not valid.
func (s *EmbeddingShard) AppendBytes(dst []byte, row int, flip bool) (embedding []byte, norm float32, err error) {
	v, k, err := s.find(row, flip)
	if err != nil {
		return dst, 0, err
	}
	return v.appendRow(dst, k), v.norms[k], nil
}

// find is the column that holds a row's embedding, and where in it.
func (s *EmbeddingShard) find(row int, flip bool) (v *vectors, k int, err error) {
	f := s.view.use()
	if f.arrowFile == nil {
		panic("store: embedding of a shard without rows")
	}
	b, k := f.find(row)
	c, err := f.columns[b]()
	if err != nil {
		return nil, 0, err
	}
	if !flip {
		return &c.plain, k, nil
	}
	if c.mirror == nil {
		return nil, 0, fmt.Errorf("%s: holds no embeddings of mirror images", f.path)
	}
	return c.mirror, k, nil
}

// Retain is a second view of the shard, to be closed by itself.
func (s *EmbeddingShard) Retain() *EmbeddingShard { return &EmbeddingShard{view: s.view.retain()} }

// Close ends the view; the last one unmaps the file. Closing again does nothing.
func (s *EmbeddingShard) Close() error { return s.view.close() }
