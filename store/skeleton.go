package store

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
)

var errSkeleton = errors.New("store: not built yet")

// Option adjusts [Open].
type Option func(*Dataset)

// WithLogger sends notices (such as "index is rebuilt") to l instead of [slog.Default].
func WithLogger(l *slog.Logger) Option { return func(*Dataset) {} }

// Dataset is an open data set. It is a snapshot: crops that are appended later do
// not show. Safe for concurrent use.
type Dataset struct{}

// Open opens the data set in dir for reading.
func Open(dir string, opts ...Option) (*Dataset, error) { return nil, errSkeleton }

// Close releases the index. Open shards stay valid until they are closed.
func (d *Dataset) Close() error { return nil }

// Dir is the folder.
func (d *Dataset) Dir() string { return "" }

// Contract is how the crops were made.
func (d *Dataset) Contract() Contract { return Contract{} }

// Sources are the sources by number.
func (d *Dataset) Sources() []SourceInfo { return nil }

// Digest identifies the content (64 hexadecimal digits).
func (d *Dataset) Digest() string { return "" }

// Rows is the number of crops.
func (d *Dataset) Rows() int { return 0 }

// Rejects is the number of inputs that were refused.
func (d *Dataset) Rejects() int { return 0 }

// Duplicates is the number of inputs whose pixels were stored already.
func (d *Dataset) Duplicates() int { return 0 }

// Identities is the number of labels; labels are 0 .. Identities()-1.
func (d *Dataset) Identities() int { return 0 }

// Shards is the number of shards. A shard may have no rows.
func (d *Dataset) Shards() int { return 0 }

// ShardRows is the number of rows of shard i.
func (d *Dataset) ShardRows(i int) int { return 0 }

// Locate is where global row 0 .. Rows()-1 is.
func (d *Dataset) Locate(row int) Location { return Location{} }

// RowOf is the inverse of Locate.
func (d *Dataset) RowOf(l Location) int { return 0 }

// Lookup finds a crop by key; the key of a duplicate leads to the stored crop.
// ErrNotFound.
func (d *Dataset) Lookup(key string) (Location, error) { return Location{}, errSkeleton }

// LookupID finds a crop by ID. ErrNotFound.
func (d *Dataset) LookupID(id ID) (Location, error) { return Location{}, errSkeleton }

// IdentityRows are the global rows of an identity, ascending. ErrNotFound.
func (d *Dataset) IdentityRows(name string) ([]int, error) { return nil, errSkeleton }

// CropShard opens shard i.
func (d *Dataset) CropShard(i int) (*CropShard, error) { return nil, errSkeleton }

// Teachers are the names of the teacher caches, sorted.
func (d *Dataset) Teachers() ([]string, error) { return nil, errSkeleton }

// OpenTeacher opens a teacher cache. ErrNotFound.
func (d *Dataset) OpenTeacher(name string) (*Teacher, error) { return nil, errSkeleton }

// CreateTeacher begins or continues a teacher cache. ErrFingerprint, ErrLocked.
func (d *Dataset) CreateTeacher(info TeacherInfo) (*TeacherWriter, error) { return nil, errSkeleton }

// CropShard is a view of one memory-mapped shard. Safe for concurrent use.
type CropShard struct{}

// Rows is the number of crops.
func (s *CropShard) Rows() int { return 0 }

// Crop is row 0 .. Rows()-1. Its Image points into the mapping: it must not be
// changed, nor used after Close. ErrDamaged.
func (s *CropShard) Crop(row int) (Crop, error) { return Crop{}, errSkeleton }

// Retain is a second view, to be closed by itself.
func (s *CropShard) Retain() *CropShard { return s }

// Close ends the view; the last one unmaps the file.
func (s *CropShard) Close() error { return nil }

// WriterOptions adjust a Writer.
type WriterOptions struct {
	// ShardRows is the number of crops a shard; 0 is DefaultShardRows.
	ShardRows int
	// Logger gets notices; nil is slog.Default().
	Logger *slog.Logger
}

// DefaultShardRows is the number of crops in a full shard.
const DefaultShardRows = 4096

// Outcome is what became of an appended crop.
type Outcome int

// The outcomes of Append.
const (
	// Stored: the crop is in the data set.
	Stored Outcome = iota
	// Duplicate: its pixels are stored already; its key now leads to that crop.
	Duplicate
	// Conflict: its key belongs to other pixels of another source; it was recorded as a reject.
	Conflict
	// Repeated: this source has brought this key before; nothing was recorded.
	Repeated
)

// Writer appends to a data set.
type Writer struct{}

// OpenWriter creates the data set in dir or continues it. ErrLocked, ErrContract.
func OpenWriter(dir string, c Contract, o WriterOptions) (*Writer, error) { return nil, errSkeleton }

// AddSource registers a source, or finds it again, and returns its number.
func (w *Writer) AddSource(s SourceInfo) int { return 0 }

// Seen says whether the source's key is stored, a duplicate, or rejected already.
// Safe for concurrent use with itself, not with Append or Reject.
func (w *Writer) Seen(source int, key string) bool { return false }

// Append adds a crop. The order of Append and Reject decides the bytes on disk.
func (w *Writer) Append(c Crop) (Outcome, error) { return 0, errSkeleton }

// Reject records a refused input.
func (w *Writer) Reject(r Reject) error { return errSkeleton }

// Rows is the number of crops stored so far, earlier runs included.
func (w *Writer) Rows() int { return 0 }

// Close seals the data set.
func (w *Writer) Close() error { return nil }

// Abort gives up the shard in flight and leaves the rest to a later run. After Close it does nothing.
func (w *Writer) Abort() error { return nil }

// TeacherInfo describes a teacher cache.
type TeacherInfo struct {
	Name             string          `json:"name"`
	ModelFile        string          `json:"model_file"`
	ModelDigest      string          `json:"model_digest"`
	Fingerprint      string          `json:"fingerprint"`
	Preprocess       json.RawMessage `json:"preprocess"`
	PreprocessReason string          `json:"preprocess_reason"`
	Dim              int             `json:"dim"`
	DType            string          `json:"dtype"` // "fp16" or "fp32"
	Flip             bool            `json:"flip"`
}

// Teacher is an open teacher cache. Safe for concurrent use.
type Teacher struct{}

// Info describes the cache.
func (t *Teacher) Info() TeacherInfo { return TeacherInfo{} }

// MissingShards are the shards with rows that are not cached yet, ascending.
func (t *Teacher) MissingShards() []int { return nil }

// Digest identifies the cached content; an error while shards are missing.
func (t *Teacher) Digest() (string, error) { return "", errSkeleton }

// Shard opens the embeddings of crop shard i. ErrNotFound if it is missing.
func (t *Teacher) Shard(i int) (*EmbeddingShard, error) { return nil, errSkeleton }

// EmbeddingShard is a view of one memory-mapped embedding shard. Safe for concurrent use.
type EmbeddingShard struct{}

// Rows is the number of embeddings.
func (s *EmbeddingShard) Rows() int { return 0 }

// Row copies the raw embedding of crop row (flip: of its mirror image) to dst of
// length Dim and returns its norm as the teacher gave it. valid is false, and dst
// zero, where the teacher gave no usable embedding. ErrDamaged.
func (s *EmbeddingShard) Row(row int, flip bool, dst []float32) (norm float32, valid bool, err error) {
	return 0, false, errSkeleton
}

// Retain is a second view, to be closed by itself.
func (s *EmbeddingShard) Retain() *EmbeddingShard { return s }

// Close ends the view; the last one unmaps the file.
func (s *EmbeddingShard) Close() error { return nil }

// TeacherWriter fills a teacher cache, shard by shard in any order.
type TeacherWriter struct{}

// MissingShards are the shards still to be written, ascending.
func (w *TeacherWriter) MissingShards() []int { return nil }

// Shard begins the embeddings of crop shard i.
func (w *TeacherWriter) Shard(i int) (*EmbeddingWriter, error) { return nil, errSkeleton }

// Close releases the lock. Idempotent.
func (w *TeacherWriter) Close() error { return nil }

// EmbeddingWriter writes one shard of embeddings.
type EmbeddingWriter struct{}

// Append adds the raw embeddings of the next crop and of its mirror image (nil
// unless the cache holds mirror images), of length Dim each. Non-finite or
// zero ones are recorded as invalid.
func (w *EmbeddingWriter) Append(emb, flipEmb []float32) error { return errSkeleton }

// Commit makes the shard durable; every row must have been appended.
func (w *EmbeddingWriter) Commit() error { return errSkeleton }

// Abort throws the shard away. After Commit it does nothing.
func (w *EmbeddingWriter) Abort() error { return nil }

// CheckOptions adjust Check.
type CheckOptions struct {
	// ReadData reads and verifies every byte.
	ReadData bool
}

// Problem is one thing that is wrong.
type Problem struct {
	File string `json:"file"` // relative to the data set
	What string `json:"what"`
}

// CheckReport is the result of Check.
type CheckReport struct {
	OK       bool      `json:"ok"`
	Problems []Problem `json:"problems"`
	// Notes are worth knowing but no damage.
	Notes []string `json:"notes,omitempty"`
}

// Check looks for damage. An error means that it could not look.
func Check(ctx context.Context, dir string, o CheckOptions) (CheckReport, error) {
	return CheckReport{}, errSkeleton
}
