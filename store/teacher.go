package store

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/apache/arrow-go/v18/arrow"
)

// Teacher is an open teacher cache: the embeddings of a dataset's crops by one model.
// It is a snapshot, as the [Dataset] is. Safe for concurrent use.
type Teacher struct {
	dataset *Dataset
	folder  string
	info    TeacherInfo
	schema  *arrow.Schema
	shards  []*embeddingInfo // nil where there is none
	open    openShards[*embeddingFile]
}

// embeddingInfo is what an open teacher cache keeps of a shard's manifest.
type embeddingInfo struct {
	file    *fileInfo
	digest  digest
	invalid int
}

func (d *Dataset) teacherFolder(name string) string {
	return filepath.Join(d.Dir(), teachersFolder, name)
}

// Teachers are the names of the teacher caches, sorted.
func (d *Dataset) Teachers() ([]string, error) {
	entries, err := os.ReadDir(filepath.Join(d.Dir(), teachersFolder))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	var names []string
	for _, e := range entries {
		if !teacherName.MatchString(e.Name()) {
			continue // on its way out, perhaps
		}
		if _, err := os.Stat(filepath.Join(d.teacherFolder(e.Name()), teacherFile)); err == nil {
			names = append(names, e.Name())
		}
	}
	return names, nil
}

// OpenTeacher opens a teacher cache for reading. It reads all manifests and compares
// them with the crop shards' and the sizes of the files. A cache may be incomplete:
// see [Teacher.MissingShards]. [ErrNotFound], which names those there are, [ErrVersion],
// [ErrDamaged].
func (d *Dataset) OpenTeacher(name string) (*Teacher, error) {
	t, err := d.newTeacher(name)
	if errors.Is(err, os.ErrNotExist) {
		return nil, d.noTeacher(name)
	}
	if err != nil {
		return nil, err
	}
	for shard := range d.Shards() {
		info, err := t.loadShard(shard)
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return nil, err
		}
		t.shards[shard] = info
	}
	return t, nil
}

// noTeacher is [ErrNotFound], with the names of those there are.
func (d *Dataset) noTeacher(name string) error {
	names, err := d.Teachers()
	if err != nil {
		return err
	}
	there := "it has " + strings.Join(names, ", ")
	if len(names) == 0 {
		there = "it has none: run precompute-teacher"
	}
	return fmt.Errorf("open teacher %q of %s: %w: %s", name, d.Dir(), ErrNotFound, there)
}

// FindTeacher opens the cache that is described, nil if there is none yet. One of that name
// that holds something else is [ErrFingerprint]. Nothing is written: a name is taken by
// [Dataset.CreateTeacher].
func (d *Dataset) FindTeacher(info TeacherInfo) (*Teacher, error) {
	if err := info.validate(); err != nil {
		return nil, fmt.Errorf("find teacher cache: %w", err)
	}
	t, err := d.OpenTeacher(info.Name)
	if errors.Is(err, ErrNotFound) {
		return nil, nil
	}
	if err == nil {
		err = t.info.conflict(t.folder, info)
	}
	if err != nil {
		return nil, err
	}
	return t, nil
}

// newTeacher is the teacher cache with no shards loaded.
func (d *Dataset) newTeacher(name string) (*Teacher, error) {
	if !teacherName.MatchString(name) {
		return nil, fmt.Errorf("open teacher %q: %w", name, os.ErrNotExist)
	}
	folder := d.teacherFolder(name)
	info, err := readTeacherInfo(folder, name)
	if err != nil {
		return nil, err
	}
	return &Teacher{
		dataset: d,
		folder:  folder,
		info:    info,
		schema:  embeddingSchema(info),
		shards:  make([]*embeddingInfo, d.Shards()),
	}, nil
}

// loadShard reads the manifest of a shard and checks the size of its file; nil and
// [os.ErrNotExist] if it was not embedded yet.
func (t *Teacher) loadShard(shard int) (*embeddingInfo, error) {
	if t.dataset.ShardRows(shard) == 0 {
		return nil, nil
	}
	m, err := readEmbeddingManifest(t.folder, t.dataset, shard, t.info.Fingerprint)
	if err != nil {
		return nil, err
	}
	info := &embeddingInfo{file: m.File, invalid: len(m.Invalid)}
	if info.digest, err = parseDigest(m.Digest); err != nil {
		return nil, err
	}
	return info, checkSize(t.path(shard), m.File.Bytes)
}

func (t *Teacher) path(shard int) string { return filepath.Join(t.folder, arrowName(shard)) }

// Info describes the cache.
func (t *Teacher) Info() TeacherInfo { return t.info }

// Dataset is the one whose crops are embedded.
func (t *Teacher) Dataset() *Dataset { return t.dataset }

// Folder is the cache's.
func (t *Teacher) Folder() string { return t.folder }

// Has says whether shard i is embedded.
func (t *Teacher) Has(i int) bool { return t.shards[i] != nil }

// ShardInvalid is [Teacher.Invalid] of shard i alone, 0 if it is missing.
func (t *Teacher) ShardInvalid(i int) int {
	if t.shards[i] == nil {
		return 0
	}
	return t.shards[i].invalid
}

// MissingShards are the shards with rows that were not embedded yet, ascending.
func (t *Teacher) MissingShards() []int {
	var missing []int
	for i, s := range t.shards {
		if s == nil && t.dataset.ShardRows(i) > 0 {
			missing = append(missing, i)
		}
	}
	return missing
}

// Rows is the number of crops that are embedded.
func (t *Teacher) Rows() int {
	n := 0
	for i, s := range t.shards {
		if s != nil {
			n += t.dataset.ShardRows(i)
		}
	}
	return n
}

// Bytes is the size of the shards, without manifests.
func (t *Teacher) Bytes() (n int64) {
	for _, s := range t.shards {
		if s != nil {
			n += s.file.Bytes
		}
	}
	return n
}

// Invalid is the number of embeddings that the teacher did not give usably, those of
// mirror images counted by themselves.
func (t *Teacher) Invalid() int {
	n := 0
	for i := range t.shards {
		n += t.ShardInvalid(i)
	}
	return n
}

// Digest identifies the cached content in 64 hexadecimal digits: the fingerprint, the
// crops and the embeddings' bits. An error while shards are missing.
func (t *Teacher) Digest() (string, error) {
	if m := t.MissingShards(); len(m) > 0 {
		return "", fmt.Errorf("digest teacher %s of %s: %d shards are missing", t.info.Name, t.dataset.Dir(), len(m))
	}
	h := sha256.New()
	writeFields(h, "facepipe teacher 1", t.info.Fingerprint)
	for _, s := range t.shards {
		if s != nil {
			h.Write(s.digest[:])
		}
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// Shard opens the embeddings of crop shard i, to be closed after use. It verifies the
// file's frame and footer; rows are verified batch by batch when they are first read.
// That of a crop shard without rows is empty. [ErrNotFound] if the shard is missing,
// [ErrDamaged].
func (t *Teacher) Shard(i int) (*EmbeddingShard, error) {
	if t.shards[i] == nil && t.dataset.ShardRows(i) > 0 {
		return nil, fmt.Errorf("open shard %d of teacher %s: %w", i, t.info.Name, ErrNotFound)
	}
	v, err := t.open.view(i, func() (*embeddingFile, error) { return t.openFile(i) })
	if err != nil {
		return nil, err
	}
	return &EmbeddingShard{view: v}, nil
}

// openFile opens the file of shard i for the caller alone.
func (t *Teacher) openFile(i int) (*embeddingFile, error) {
	if t.shards[i] == nil {
		return &embeddingFile{}, nil
	}
	f, err := openArrow(t.path(i), t.shards[i].file, t.schema, parseEmbeddingColumns)
	if err != nil {
		return nil, err
	}
	return &embeddingFile{f}, nil
}
