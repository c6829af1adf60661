package store

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"facepipe/internal/durable"
)

// Parts are shards of embeddings outside the cache that they are for: written by any
// number of workers, on any number of machines that share a folder, and taken over into
// the cache by one. Workers need no lock and look at no clock: a part's file is named
// after its contents, its manifest is put in place by a link, which only the first
// succeeds at, and a manifest refers to a file that is there.
type Parts struct {
	dataset *Dataset
	info    TeacherInfo
	dir     string
	disk    durable.Disk
}

// OpenParts is a folder of parts for a cache of a dataset; it is made if necessary.
func (d *Dataset) OpenParts(info TeacherInfo, dir string) (*Parts, error) {
	p := &Parts{dataset: d, info: info, dir: dir, disk: durable.Disk{FS: durable.OS{}}}
	if err := info.validate(); err != nil {
		return nil, fmt.Errorf("open parts: %w", err)
	}
	if err := p.disk.MkdirAll(dir, folderMode); err != nil {
		return nil, fmt.Errorf("open parts: %w", err)
	}
	// The folder's name may be there and not be durable yet, whoever made it.
	if err := syncAbove(p.disk, dir); err != nil {
		return nil, fmt.Errorf("open parts: %w", err)
	}
	return p, nil
}

// Has says whether the part of a shard is committed. A part of another teacher or of other
// crops is an error, as is damage that shows without reading the data: [ErrDamaged].
func (p *Parts) Has(shard int) (bool, error) {
	_, _, err := p.look(shard)
	if errors.Is(err, os.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}

// look reads a part's manifest, and finds the file that it is of.
func (p *Parts) look(shard int) (m *embeddingManifest, path string, err error) {
	if shard < 0 || shard >= len(p.dataset.shards) {
		return nil, "", fmt.Errorf("part %d: %w: the dataset has %d shards", shard, ErrNotFound, len(p.dataset.shards))
	}
	m, err = readEmbeddingManifest(p.dir, shard, p.info.Fingerprint, &p.dataset.shards[shard])
	if err != nil {
		return nil, "", err
	}
	path = p.path(shard, m.File.SHA256)
	return m, path, checkSize(path, m.File.Bytes)
}

// path of a part's file: two that differ have two names.
func (p *Parts) path(shard int, digest string) string {
	const digits = 16
	return filepath.Join(p.dir, fmt.Sprintf("%s.%.*s%s", shardStem(shard), digits, digest, arrowSuffix))
}

// Shard begins the part of a shard. End it with Commit or Abort. If somebody else commits
// it first, that one counts, and committing this one is no error.
func (p *Parts) Shard(i int) (*EmbeddingWriter, error) {
	return newEmbeddingWriter(p.disk, p.dataset, p.info, filepath.Join(p.dir, arrowName(i)), i, p)
}

// publish commits a part, unless there is one already.
func (p *Parts) publish(shard int, out *arrowWriter[embeddingColumns], manifest []byte) error {
	sum := out.out.Sum()
	err := out.commitIfAbsent(p.path(shard, hex.EncodeToString(sum[:])))
	if err != nil && !errors.Is(err, os.ErrExist) {
		return err
	}
	// A file of that name has these contents. It may have been linked just now by a
	// worker that has not come to make the name durable.
	if err := p.disk.FS.SyncDir(p.dir); err != nil {
		return err
	}
	err = p.disk.PutIfAbsent(filepath.Join(p.dir, manifestName(shard)), manifest, onceMode)
	if !errors.Is(err, os.ErrExist) {
		return err
	}
	// The other's is as good. A network file system may also have told us twice of our
	// own link. But it must be a part of the same crops by the same teacher.
	if _, _, err := p.look(shard); err != nil {
		return err
	}
	return p.disk.FS.SyncDir(p.dir)
}

// Extra are manifests in the folder that belong to none of the given shards.
func (p *Parts) Extra(shards []int) ([]string, error) {
	planned := map[int]bool{}
	for _, s := range shards {
		planned[s] = true
	}
	entries, err := os.ReadDir(p.dir)
	if err != nil {
		return nil, err
	}
	var extra []string
	for _, e := range entries {
		name := e.Name()
		if shard, ok := parseShardName(name, manifestSuffix); ok && planned[shard] || !strings.HasSuffix(name, manifestSuffix) {
			continue
		}
		extra = append(extra, filepath.Join(p.dir, name))
	}
	return extra, nil
}

// Adopt copies the part of a shard into the cache, bit for bit: the cache becomes what it
// would be if one process had made all of it. Every byte is verified on the way.
func (p *Parts) Adopt(w *TeacherWriter, shard int) error {
	m, path, err := p.look(shard)
	if errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("part %d: %w", shard, ErrNotFound)
	}
	if err != nil {
		return err
	}
	f, err := openArrow(path, m.File, embeddingSchema(p.info), parseEmbeddingColumns)
	if err != nil {
		return err
	}
	err = p.copyPart(w, m, f)
	return errors.Join(err, f.close())
}

func (p *Parts) copyPart(w *TeacherWriter, m *embeddingManifest, f *arrowFile[embeddingColumns]) error {
	sum := [sha256.Size]byte{}
	if err := guarded(func() { sum = sha256.Sum256(f.data) }); err != nil {
		return damaged(f.path, "%w", err)
	}
	if got := hex.EncodeToString(sum[:]); got != m.File.SHA256 {
		return damaged(f.path, "SHA-256 is %s, its manifest says %s", got, m.File.SHA256)
	}
	out, err := w.Shard(m.Shard)
	if err != nil {
		return err
	}
	why := m.invalidRows()
	for row := range m.Rows {
		b, k := f.find(row)
		c, err := f.columns[b]()
		if err == nil {
			err = out.appendStored(c, k, why[row])
		}
		if err != nil {
			return errors.Join(asDamage(f.path, err), out.Abort())
		}
	}
	return out.Commit()
}
