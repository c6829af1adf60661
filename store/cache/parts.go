package cache

import (
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"facepipe/internal/durable"
	"facepipe/internal/filedigest"
	"facepipe/store"
	"facepipe/store/internal/table"
)

// Parts are shards of embeddings outside the cache that they are for: written by any
// number of workers, on any number of machines that share a folder, and taken over into
// the cache by one. Workers need no lock and look at no clock: a part's file is named
// after its contents, its manifest is put in place by a link, which only the first
// succeeds at, and a manifest refers to a file that is there. What a part is of, its
// manifest says: the teacher's fingerprint and the digest of the crops.
type Parts struct {
	dataset *store.Dataset
	info    Info
	dir     string
	disk    durable.Disk
}

// OpenParts is a folder of parts for a cache of a dataset; it is made if necessary.
func OpenParts(d *store.Dataset, info Info, dir string) (*Parts, error) {
	p := &Parts{dataset: d, info: info, dir: dir, disk: d.Disk()}
	if err := info.Validate(); err != nil {
		return nil, fmt.Errorf("open parts: %w", err)
	}
	if err := p.disk.MkdirBelow(filepath.Dir(dir), filepath.Base(dir), table.FolderMode); err != nil {
		return nil, fmt.Errorf("open parts: %w", err)
	}
	// The folder's name may be there and not be durable yet, whoever made it.
	if err := table.SyncAbove(p.disk, dir); err != nil {
		return nil, fmt.Errorf("open parts: %w", err)
	}
	return p, nil
}

// Has says whether the part of a shard is committed. A part of another teacher or of other
// crops is [store.ErrPlan]; damage that shows without reading the data is [store.ErrDamaged].
func (p *Parts) Has(shard int) (bool, error) {
	_, _, err := p.look(shard)
	if errors.Is(err, os.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}

// Invalid is the number of embeddings of a committed part that the teacher did not give
// usably, those of mirror images counted by themselves. [store.ErrNotFound].
func (p *Parts) Invalid(shard int) (int, error) {
	m, _, err := p.find(shard)
	if err != nil {
		return 0, err
	}
	return len(m.Invalid), nil
}

// find is look for a part that must be there.
func (p *Parts) find(shard int) (m *manifest, path string, err error) {
	m, path, err = p.look(shard)
	if errors.Is(err, os.ErrNotExist) {
		err = fmt.Errorf("part %d: %w in %s: its worker is not done", shard, store.ErrNotFound, p.dir)
	}
	return m, path, err
}

// look reads a part's manifest, and finds the file that it is of.
func (p *Parts) look(shard int) (m *manifest, path string, err error) {
	if shard < 0 || shard >= p.dataset.Shards() {
		return nil, "", fmt.Errorf("part %d: %w: the dataset has %d shards", shard, store.ErrNotFound, p.dataset.Shards())
	}
	return lookAt(p.dir, p.info, PartOf{shard, p.dataset.ShardRows(shard), p.dataset.ShardDigest(shard)})
}

// PartOf is what a part is of: a shard, with its number of rows and the digest of its crops.
type PartOf struct {
	Shard, Rows int
	Crops       string
}

// lookAt reads a part's manifest in a folder, and finds the file that it is of.
func lookAt(dir string, info Info, of PartOf) (m *manifest, path string, err error) {
	m, path = new(manifest), filepath.Join(dir, table.ManifestName(of.Shard))
	if err := table.ReadSealed(path, table.FormatEmbeddings, m); err != nil {
		return nil, "", err
	}
	if err := m.belongs(info.Fingerprint, of.Crops); err != nil {
		return nil, "", fmt.Errorf("%s: a part of %w or model: it %w; remove it, or name a new plan folder", path, store.ErrPlan, err)
	}
	if err := table.AsDamage(path, m.validate(of.Shard, of.Rows)); err != nil {
		return nil, "", err
	}
	path = partFilePath(dir, of.Shard, m.File.SHA256)
	return m, path, table.CheckSize(path, m.File.Bytes)
}

// AuditPart looks at a part in a plan's folder, whose dataset need not be there: with read at all of
// its bytes. done is whether there is one. It is for store/check.
//
// Errors: [store.ErrPlan], [store.ErrDamaged].
func AuditPart(dir string, info Info, of PartOf, read bool) (done bool, err error) {
	m, path, err := lookAt(dir, info, of)
	if errors.Is(err, os.ErrNotExist) {
		return false, nil
	}
	if err != nil || !read {
		return true, err
	}
	f, err := table.Open(path, m.File, schemaOf(info), parseColumns)
	if err != nil {
		return true, err
	}
	return true, errors.Join(table.CheckFileDigest(f.Path, f.Data, f.Info), f.Close())
}

func (p *Parts) manifest(shard int) string { return filepath.Join(p.dir, table.ManifestName(shard)) }

// path is that of a part's file: two that differ have two names.
func (p *Parts) path(shard int, digest string) string { return partFilePath(p.dir, shard, digest) }

func partFilePath(dir string, shard int, digest string) string {
	return filepath.Join(dir, fmt.Sprintf("%s.%.*s%s", table.ShardStem(shard), table.TableDigits, digest, table.ArrowSuffix))
}

// Shard begins the part of a shard. End it with Commit or Abort. If somebody else commits
// it first, that one counts, and committing this one is no error.
func (p *Parts) Shard(i int) (*ShardWriter, error) {
	return newShardWriter(p.disk, p.dataset, p.info, filepath.Join(p.dir, table.ArrowName(i)), i, p)
}

// publish commits a part, unless there is one already.
func (p *Parts) publish(shard int, out *table.Writer[Columns], manifest []byte) error {
	sum := out.Out.Sum()
	digest := hex.EncodeToString(sum[:])
	path := p.path(shard, digest)
	err := out.CommitIfAbsent(path)
	if errors.Is(err, os.ErrExist) {
		err = p.confirm(path, digest)
	}
	if err != nil {
		return err
	}
	switch err := p.disk.PutIfAbsent(p.manifest(shard), manifest, table.OnceMode); {
	case errors.Is(err, os.ErrExist):
		// The other's is as good, if it is one of the same crops by the same teacher.
		if _, _, err := p.look(shard); err != nil {
			return err
		}
		return p.disk.FS.SyncDir(p.dir)
	case err != nil:
		return err
	}
	return p.stands(shard, path)
}

// confirm is for a file that is there already: another worker's, of the same contents. It
// may have been linked just now by one that has not come to make the name durable.
func (p *Parts) confirm(path, want string) error {
	got, err := filedigest.Of(path)
	if err != nil {
		return err
	}
	if got != want {
		return table.Damaged(path, "SHA-256 is %s, its name stands for %s", got, want)
	}
	return p.disk.FS.SyncDir(p.dir)
}

// stands makes sure that a manifest of ours did not come after [Parts.Clear] had deleted its
// file: then it goes, too.
func (p *Parts) stands(shard int, path string) error {
	_, err := os.Stat(path)
	if errors.Is(err, os.ErrNotExist) {
		return errors.Join(fmt.Errorf("part %d: its file was deleted: %w", shard, err), p.disk.FS.Remove(p.manifest(shard)))
	}
	return err
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
		if shard, ok := table.ParseShardName(name, table.ManifestSuffix); ok && planned[shard] || !strings.HasSuffix(name, table.ManifestSuffix) {
			continue
		}
		extra = append(extra, filepath.Join(p.dir, name))
	}
	return extra, nil
}

// Verify reads all of a committed part and compares it with its manifest: [store.ErrNotFound],
// [store.ErrPlan], [store.ErrDamaged].
func (p *Parts) Verify(shard int) error {
	_, f, err := p.open(shard)
	if err != nil {
		return err
	}
	return errors.Join(table.CheckFileDigest(f.Path, f.Data, f.Info), f.Close())
}

func (p *Parts) open(shard int) (*manifest, *table.File[Columns], error) {
	m, path, err := p.find(shard)
	if err != nil {
		return nil, nil, err
	}
	f, err := table.Open(path, m.File, schemaOf(p.info), parseColumns)
	return m, f, err
}

// Adopt copies the part of a shard into the cache, bit for bit: the cache becomes what it
// would be if one process had made all of it. Every batch is compared with its checksum on
// the way.
func (p *Parts) Adopt(w *Writer, shard int) error {
	m, f, err := p.open(shard)
	if err != nil {
		return err
	}
	err = copyPart(w, m, f)
	return errors.Join(err, f.Close())
}

func copyPart(w *Writer, m *manifest, f *table.File[Columns]) error {
	out, err := w.Shard(m.Shard)
	if err != nil {
		return err
	}
	why := m.invalidRows()
	for row := range m.Rows {
		b, k := f.Find(row)
		c, err := f.Columns[b]()
		if err == nil {
			err = out.appendStored(c, k, why[row])
		}
		if err != nil {
			return errors.Join(table.AsDamage(f.Path, err), out.Abort())
		}
	}
	return out.Commit()
}

// Tidy deletes what killed workers and those that came second have left, once all shards of
// the plan are in the cache: temporary files, and files of parts whose manifests name
// others. A worker that is still at one of these shards finds its temporary file gone when
// it comes to commit, and the shard done. What has no manifest may be getting one just now,
// and stays.
func (p *Parts) Tidy() (r Removed, err error) {
	files, err := p.list()
	if err != nil {
		return r, err
	}
	for _, f := range files {
		if f.kind == partTemp || f.kind == partTable && p.lost(f) {
			err = errors.Join(err, p.remove(f, &r))
		}
	}
	return r, err
}

// lost says whether a table's part has a manifest, and that of another table.
func (p *Parts) lost(f partFile) bool {
	_, path, err := p.look(f.shard)
	return err == nil && filepath.Base(path) != f.name
}

// Clear deletes all parts, and what Tidy does, once all shards of the plan are in the
// cache. Manifests go first and durably, so that none is left whose file is gone. It looks
// again until no part is to be seen: a worker that links its manifest after that finds its
// file gone, and takes the manifest back.
func (p *Parts) Clear() (r Removed, err error) {
	for left := true; left; {
		files, err := p.list()
		if err != nil {
			return r, err
		}
		left = false
		for _, f := range files {
			if f.kind == partManifest {
				left, err = true, errors.Join(err, p.remove(f, &r))
			}
		}
		if left {
			err = errors.Join(err, p.disk.FS.SyncDir(p.dir))
		}
		if err != nil {
			return r, err
		}
		for _, f := range files {
			if f.kind != partManifest {
				left, err = left || f.kind == partTable, errors.Join(err, p.remove(f, &r))
			}
		}
		if err != nil {
			return r, err
		}
	}
	return r, nil
}

// partFile is a file that a worker may have made.
type partFile struct {
	name  string
	kind  partKind
	shard int // of a manifest or a table
}

type partKind int

const (
	partTemp partKind = iota
	partManifest
	partTable
)

var partTableName = regexp.MustCompile(`^([0-9]+)\.[0-9a-f]{16}\.arrow$`)

// list is what is in the folder, but for what no worker makes.
func (p *Parts) list() (files []partFile, err error) {
	entries, err := os.ReadDir(p.dir)
	for _, e := range entries {
		f := partFile{name: e.Name()}
		var known bool
		if f.shard, known = table.ParseShardName(f.name, table.ManifestSuffix); known {
			f.kind = partManifest
		} else if stem := partTableName.FindStringSubmatch(f.name); stem != nil {
			f.kind = partTable
			f.shard, known = table.ParseShardName(stem[1]+table.ArrowSuffix, table.ArrowSuffix)
		} else {
			known = strings.HasPrefix(f.name, durable.TempPrefix)
		}
		if known && !e.IsDir() {
			files = append(files, f)
		}
	}
	return files, err
}

// remove deletes a file, unless another has.
func (p *Parts) remove(f partFile, r *Removed) error {
	path := filepath.Join(p.dir, f.name)
	info, err := os.Lstat(path)
	if err == nil {
		err = p.disk.FS.Remove(path)
	}
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err == nil {
		r.Files++
		r.Bytes += info.Size()
	}
	return err
}
