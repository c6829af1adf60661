// Package cache keeps what a teacher makes of a dataset's crops: an embedding of every crop,
// in shards that go row by row with those of the crops.
//
// A cache is the folder teachers/NAME of a dataset. [Create] begins or continues one: a shard
// counts from the moment its manifest is durable, in whatever order shards come. [Open] reads
// one through memory maps and hands out nothing that was not compared with a checksum.
// Embeddings that exist elsewhere are copied bit for bit: out of other datasets ([OpenDonors]),
// out of the inputs of a merge ([Join]), and out of what the workers of a plan put aside
// ([OpenParts]). Beside the shards lie the records of the runs that made them ([Run]).
//
// It builds on the dataset of package store and on the files of store/internal/table. Damage is
// [store.ErrDamaged] with the file's name. A cache of another teacher is
// [store.ErrFingerprint] and is left alone; one that another process writes is
// [store.ErrLocked].
package cache

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/apache/arrow-go/v18/arrow"
	"golang.org/x/sys/unix"

	"facepipe/store"
	"facepipe/store/internal/table"
)

// Cache is an open teacher cache: the embeddings of a dataset's crops by one model.
// It is a snapshot, as the [store.Dataset] is. Safe for concurrent use.
type Cache struct {
	dataset *store.Dataset
	folder  string
	info    Info
	schema  *arrow.Schema
	shards  []*shardInfo // nil where there is none
	open    table.OpenShards[*file]
}

// shardInfo is what an open teacher cache keeps of a shard's manifest.
type shardInfo struct {
	file    *table.FileInfo
	digest  table.Digest
	invalid int
	// normMin and normMax are over the valid embeddings, 0 without any.
	normMin, normMax float32
}

func folderOf(d *store.Dataset, name string) string {
	return filepath.Join(d.Dir(), store.TeachersFolder, name)
}

// Names are the names of the teacher caches, sorted; also of those that [Open] finds damaged.
func Names(d *store.Dataset) ([]string, error) {
	entries, err := os.ReadDir(filepath.Join(d.Dir(), store.TeachersFolder))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	var names []string
	for _, e := range entries {
		if !validName.MatchString(e.Name()) {
			continue // on its way out, perhaps
		}
		folder := folderOf(d, e.Name())
		if _, err := os.Lstat(filepath.Join(folder, infoFile)); err == nil || outlives(folder) {
			names = append(names, e.Name())
		}
	}
	return names, nil
}

// outlives is whether a folder has what is only written after teacher.json: shards, records of runs,
// what is derived. A folder that cannot be looked at may have some.
func outlives(folder string) bool {
	entries, err := os.ReadDir(folder)
	if err != nil {
		return !errors.Is(err, os.ErrNotExist) && !errors.Is(err, unix.ENOTDIR)
	}
	return slices.ContainsFunc(entries, func(e os.DirEntry) bool {
		_, shard := table.ParseShardName(e.Name(), table.ArrowSuffix)
		_, manifest := table.ParseShardName(e.Name(), table.ManifestSuffix)
		_, err := os.Lstat(filepath.Join(folder, e.Name(), table.LockFile))
		return shard || manifest || e.IsDir() && (e.Name() == runsFolder || err == nil)
	})
}

// Open opens a teacher cache for reading. It reads all manifests and compares them with
// the crop shards' and the sizes of the files. A cache may be incomplete: see
// [Cache.MissingShards]. Errors: [store.ErrNotFound], which names the caches there are,
// [store.ErrVersion], [store.ErrDamaged].
func Open(d *store.Dataset, name string) (*Cache, error) {
	t, err := unloaded(d, name)
	if errors.Is(err, os.ErrNotExist) {
		return nil, notFound(d, name)
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

// notFound is [store.ErrNotFound], with the names of those there are.
func notFound(d *store.Dataset, name string) error {
	names, err := Names(d)
	if err != nil {
		return err
	}
	there := "it has " + strings.Join(names, ", ")
	if len(names) == 0 {
		there = "it has none: run precompute-teacher"
	}
	return fmt.Errorf("open teacher %q of %s: %w: %s", name, d.Dir(), store.ErrNotFound, there)
}

// Find opens the cache that is described, nil if there is none yet. One of that name
// that holds something else is [store.ErrFingerprint]. Nothing is written: [Create] takes a
// name.
func Find(d *store.Dataset, info Info) (*Cache, error) {
	if err := info.Validate(); err != nil {
		return nil, fmt.Errorf("find teacher cache: %w", err)
	}
	t, err := Open(d, info.Name)
	if errors.Is(err, store.ErrNotFound) {
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

// unloaded is the teacher cache with no shards loaded.
func unloaded(d *store.Dataset, name string) (*Cache, error) {
	if !validName.MatchString(name) {
		return nil, fmt.Errorf("open teacher %q: %w", name, os.ErrNotExist)
	}
	folder := folderOf(d, name)
	info, err := findInfo(folder, name)
	if err != nil {
		return nil, err
	}
	return &Cache{
		dataset: d,
		folder:  folder,
		info:    info,
		schema:  schemaOf(info),
		shards:  make([]*shardInfo, d.Shards()),
	}, nil
}

// loadShard reads the manifest of a shard and checks the size of its file; nil and
// [os.ErrNotExist] if it was not embedded yet.
func (t *Cache) loadShard(shard int) (*shardInfo, error) {
	if t.dataset.ShardRows(shard) == 0 {
		return nil, nil
	}
	m, err := readManifest(t.folder, t.dataset, shard, t.info.Fingerprint)
	if err != nil {
		return nil, err
	}
	info := &shardInfo{file: m.File, invalid: len(m.Invalid), normMin: m.NormMin, normMax: m.NormMax}
	if info.digest, err = table.ParseDigest(m.Digest); err != nil {
		return nil, err
	}
	return info, table.CheckSize(t.path(shard), m.File.Bytes)
}

func (t *Cache) path(shard int) string { return filepath.Join(t.folder, table.ArrowName(shard)) }

// Info describes the cache.
func (t *Cache) Info() Info { return t.info }

// Dataset is the one whose crops are embedded.
func (t *Cache) Dataset() *store.Dataset { return t.dataset }

// Folder is the path of the cache's folder. It is for store/derived.
func (t *Cache) Folder() string { return t.folder }

// Has says whether shard i is embedded.
func (t *Cache) Has(i int) bool { return t.shards[i] != nil }

// ShardInvalid is [Cache.Invalid] of shard i alone, 0 if it is missing.
func (t *Cache) ShardInvalid(i int) int {
	if t.shards[i] == nil {
		return 0
	}
	return t.shards[i].invalid
}

// MissingShards are the shards with rows that were not embedded yet, ascending.
func (t *Cache) MissingShards() []int {
	var missing []int
	for i, s := range t.shards {
		if s == nil && t.dataset.ShardRows(i) > 0 {
			missing = append(missing, i)
		}
	}
	return missing
}

// Rows is the number of crops that are embedded.
func (t *Cache) Rows() int {
	n := 0
	for i, s := range t.shards {
		if s != nil {
			n += t.dataset.ShardRows(i)
		}
	}
	return n
}

// Bytes is the size of the shards, without manifests.
func (t *Cache) Bytes() (n int64) {
	for _, s := range t.shards {
		if s != nil {
			n += s.file.Bytes
		}
	}
	return n
}

// Norms are the smallest and the largest length of a valid embedding, mirror images included;
// both 0 without any.
func (t *Cache) Norms() (least, most float32) {
	for _, s := range t.shards {
		if s == nil || s.normMax == 0 {
			continue
		}
		if most == 0 {
			least = s.normMin
		}
		least, most = min(least, s.normMin), max(most, s.normMax)
	}
	return least, most
}

// Invalid is the number of embeddings that the teacher did not give usably, those of
// mirror images counted by themselves.
func (t *Cache) Invalid() int {
	n := 0
	for i := range t.shards {
		n += t.ShardInvalid(i)
	}
	return n
}

// Digest identifies the cached content in 64 hexadecimal digits: the fingerprint, the
// crops and the embeddings' bits. An error while shards are missing.
func (t *Cache) Digest() (string, error) {
	if m := t.MissingShards(); len(m) > 0 {
		return "", fmt.Errorf("digest teacher %s of %s: %d shards are missing", t.info.Name, t.dataset.Dir(), len(m))
	}
	h := sha256.New()
	table.WriteFields(h, "facepipe teacher 1", t.info.Fingerprint)
	for _, s := range t.shards {
		if s != nil {
			h.Write(s.digest[:])
		}
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// Shard opens the embeddings of crop shard i, to be closed after use. It verifies the
// file's frame and footer; rows are verified batch by batch when they are first read.
// That of a crop shard without rows is empty. [store.ErrNotFound] if the shard is missing,
// [store.ErrDamaged].
func (t *Cache) Shard(i int) (*Shard, error) {
	if t.shards[i] == nil && t.dataset.ShardRows(i) > 0 {
		return nil, fmt.Errorf("open shard %d of teacher %s: %w", i, t.info.Name, store.ErrNotFound)
	}
	v, err := t.open.View(i, func() (*file, error) { return t.openFile(i) })
	if err != nil {
		return nil, err
	}
	return &Shard{view: v}, nil
}

// EachBatch visits the record batches of shard i in their order, each after it was compared
// with its checksum, and with the number of its first row; none if the shard is missing or
// has no rows. A batch is gone when visit returns. It ends with the first error, or when ctx
// does. [store.ErrDamaged]. It is for store/derived.
func (t *Cache) EachBatch(ctx context.Context, i int, visit func(c *Columns, first int) error) (err error) {
	f, err := t.openFile(i)
	if err != nil || f.File == nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	for b, first := range f.Starts {
		if err := ctx.Err(); err != nil {
			return err
		}
		c, err := f.Columns[b]()
		if err != nil {
			return err
		}
		if err := visit(c, first); err != nil {
			return err
		}
	}
	return nil
}

// openFile opens the file of shard i for the caller alone; that of a shard that is missing,
// or has no rows, is none.
func (t *Cache) openFile(i int) (*file, error) {
	if t.shards[i] == nil {
		return &file{}, nil
	}
	f, err := table.Open(t.path(i), t.shards[i].file, t.schema, parseColumns)
	if err != nil {
		return nil, err
	}
	return &file{f}, nil
}
