package store

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sort"
	"sync"
	"sync/atomic"

	"facepipe/internal/durable"
	"facepipe/store/internal/index"
	"facepipe/store/internal/table"
)

// Dataset is an open dataset: a snapshot, in which crops that are appended later do
// not show. It needs nothing but the files, which any number of processes may read
// at once. Safe for concurrent use.
type Dataset struct {
	dir    string
	ctx    context.Context // of look-ups
	log    *slog.Logger
	disk   durable.Disk // for what is derived
	doc    *datasetDoc
	shards []shardInfo
	starts []int // global row of the first crop of each shard
	// superseded are rejects that count no more.
	superseded superseded
	crops      table.OpenShards[*cropFile]

	indexMu sync.Mutex // held by who opens or closes the index
	index   atomic.Pointer[index.Index]
	retired []index.Index // that others may still be asking
	renewed sync.Once     // the index on disk
	named   *CropReader   // of rows that look-ups lead to
}

// shardInfo is what an open dataset keeps of a crop shard's manifest.
type shardInfo struct {
	version int
	rows    int
	digest  table.Digest
	file    *table.FileInfo // nil without rows
}

// Option adjusts [Open].
type Option func(*Dataset)

// WithLogger sends notices (such as that the index is rebuilt) to l instead of
// [slog.Default].
func WithLogger(l *slog.Logger) Option { return func(d *Dataset) { d.log = l } }

// WithContext has the first look-up, which may build the index or wait for another process
// that does, end with ctx. Without it that cannot be stopped.
func WithContext(ctx context.Context) Option { return func(d *Dataset) { d.ctx = ctx } }

// WithDisk has what is derived (the index, caches, what is derived from these) written to a
// disk other than the system's: tests look at what one that fails makes of it.
func WithDisk(disk durable.Disk) Option { return func(d *Dataset) { d.disk = disk } }

// Open opens the dataset in dir for reading. It reads all manifests and compares
// them with dataset.json and with the sizes of their files, but no crop:
// [ErrNotFound], [ErrUnfinished], [ErrVersion], [ErrDamaged].
func Open(dir string, options ...Option) (*Dataset, error) {
	doc, err := readDatasetDoc(dir)
	if err != nil {
		return nil, err
	}
	d := newDataset(dir, doc, options...)
	for i := range doc.Shards {
		info, err := d.loadShard(i)
		if err != nil {
			return nil, err
		}
		d.shards = append(d.shards, info)
	}
	return d, nil
}

// IsDataset is whether the folder dir is a dataset, or one whose ingest was interrupted.
func IsDataset(dir string) bool {
	for _, name := range []string{datasetFile, cropsFolder} {
		if _, err := os.Stat(filepath.Join(dir, name)); err == nil {
			return true
		}
	}
	return false
}

// newDataset is the dataset that doc describes, its shards not loaded.
func newDataset(dir string, doc *datasetDoc, options ...Option) *Dataset {
	d := &Dataset{dir: dir, ctx: context.Background(), log: slog.Default(), disk: durable.Disk{FS: durable.OS{}}, doc: doc}
	d.named = d.CropReader()
	for _, o := range options {
		o(d)
	}
	row := 0
	for _, s := range doc.Shards {
		d.starts = append(d.starts, row)
		row += s.Rows
	}
	return d
}

// loadShard reads the manifest of shard i and checks it against dataset.json and the
// size of its file.
func (d *Dataset) loadShard(i int) (shardInfo, error) {
	m, err := d.readManifest(i)
	if err != nil {
		return shardInfo{}, err
	}
	info := shardInfo{version: m.Version, rows: m.Rows, file: m.File}
	if info.digest, err = table.ParseDigest(m.Digest); err != nil {
		return shardInfo{}, err
	}
	d.superseded.add(m)
	if m.File == nil {
		return info, nil
	}
	return info, table.CheckSize(d.cropPath(i), m.File.Bytes)
}

// readManifest reads the manifest of shard i and checks it against dataset.json.
func (d *Dataset) readManifest(i int) (*cropManifest, error) {
	folder := filepath.Join(d.dir, cropsFolder)
	m, err := readCropManifest(folder, i)
	if err != nil {
		return nil, err
	}
	path := filepath.Join(folder, table.ManifestName(i))
	switch ref := d.doc.Shards[i]; {
	case m.Digest != ref.Digest || m.Rows != ref.Rows:
		return nil, table.Damaged(path, "is not the shard that %s lists", datasetFile)
	case m.Version > d.doc.Version:
		return nil, table.Damaged(path, "has version %d, %s only %d", m.Version, datasetFile, d.doc.Version)
	case m.Contract != d.doc.Contract:
		return nil, table.Damaged(path, "contract %+v is not the dataset's", m.Contract)
	case m.FirstRow != d.starts[i]:
		return nil, table.Damaged(path, "begins at row %d, earlier shards end at %d", m.FirstRow, d.starts[i])
	}
	return m, nil
}

func (d *Dataset) cropPath(shard int) string {
	return filepath.Join(d.dir, cropsFolder, table.ArrowName(shard))
}

// Close releases the index, and what look-ups opened. Open shards stay valid until they are closed.
func (d *Dataset) Close() error {
	d.indexMu.Lock()
	defer d.indexMu.Unlock()
	err := d.named.Close()
	if ix := d.index.Swap(nil); ix != nil {
		err = errors.Join(err, (*ix).Close())
	}
	for _, ix := range d.retired {
		err = errors.Join(err, ix.Close())
	}
	d.retired = nil
	return err
}

// Context is the one of [WithContext].
func (d *Dataset) Context() context.Context { return d.ctx }

// Dir is the dataset's folder.
func (d *Dataset) Dir() string { return d.dir }

// FormatVersion is that of dataset.json: the newest that any of its crop shards has.
func (d *Dataset) FormatVersion() int { return d.doc.Version }

// Contract is how the crops were made.
func (d *Dataset) Contract() Contract { return d.doc.Contract }

// Sources are the sources; [Crop].Source indexes them.
func (d *Dataset) Sources() []SourceInfo { return slices.Clone(d.doc.Sources) }

// Digest identifies the dataset's content in 64 hexadecimal digits: the contract,
// the crops in their order and what else was met. Paths and times are not in it.
func (d *Dataset) Digest() string { return d.doc.Digest }

// CropsDigest identifies the crops in their order, in 64 hexadecimal digits: the contract
// and what is stored of each. Unlike [Dataset.Digest] it stays when an ingest adds nothing
// but rejects and duplicates.
func (d *Dataset) CropsDigest() string {
	h := sha256.New()
	c := d.doc.Contract
	table.WriteFields(h, "facepipe crops 1", c.Template, c.Warp, c.Decoder)
	table.WriteNumber(h, c.CropSize)
	for _, s := range d.shards {
		if s.file != nil {
			table.WriteNumber(h, s.rows)
			table.WriteFields(h, s.file.SHA256)
		}
	}
	return hex.EncodeToString(h.Sum(nil))
}

// Rows is the number of crops.
func (d *Dataset) Rows() int { return d.doc.Rows }

// Rejects is the number of inputs that were refused.
func (d *Dataset) Rejects() int { return d.doc.Rejects }

// Duplicates is the number of inputs whose pixels were stored already.
func (d *Dataset) Duplicates() int { return d.doc.Duplicates }

// Identities is the number of labels, which are 0 .. Identities()-1.
func (d *Dataset) Identities() int { return d.doc.Identities }

// Shards is the number of shards. A shard may have no rows (it then records only
// rejects and duplicates); no teacher embeds it.
func (d *Dataset) Shards() int { return len(d.doc.Shards) }

// ShardRows is the number of rows of shard i.
func (d *Dataset) ShardRows(i int) int { return d.doc.Shards[i].Rows }

// Grown is the number of crops that were appended since the dataset was opened.
func (d *Dataset) Grown() (int, error) {
	now, err := readDatasetDoc(d.dir)
	if err != nil {
		return 0, err
	}
	if was := d.doc.Shards; now.Contract != d.doc.Contract || len(now.Shards) < len(was) || !slices.Equal(now.Shards[:len(was)], was) {
		return 0, fmt.Errorf("dataset %s was made anew since it was opened", d.dir)
	}
	return now.Rows - d.doc.Rows, nil
}

// Locate is where the crop of global row 0 .. Rows()-1 is; another row panics. Global
// rows number the crops in the order they were appended.
func (d *Dataset) Locate(row int) Location {
	if row < 0 || row >= d.doc.Rows {
		panic(fmt.Sprintf("store: row %d is not in 0..%d", row, d.doc.Rows-1))
	}
	// The last shard that begins at or before row: shards without rows begin where
	// the next one does and come before it.
	shard := sort.SearchInts(d.starts, row+1) - 1
	return Location{Shard: uint32(shard), Row: uint32(row - d.starts[shard])}
}

// RowOf is the inverse of [Dataset.Locate].
func (d *Dataset) RowOf(l Location) int { return d.starts[l.Shard] + int(l.Row) }

// CropShard opens shard 0 .. Shards()-1, to be closed after use. It verifies the
// file's frame and footer; rows are verified batch by batch when they are first
// read. [ErrDamaged].
func (d *Dataset) CropShard(i int) (*CropShard, error) {
	v, err := d.crops.View(i, func() (*cropFile, error) { return d.openCrops(i) })
	if err != nil {
		return nil, err
	}
	return &CropShard{view: v}, nil
}

// openCrops opens the file of shard i for the caller alone.
func (d *Dataset) openCrops(i int) (*cropFile, error) {
	return openCropFile(d.cropPath(i), d.shards[i].file, d.doc.Contract, d.shards[i].version)
}

// ShardDigest identifies crop shard i in 64 hexadecimal digits, as manifests write it; "" if
// its own manifest is damaged, which only an audit goes on after.
func (d *Dataset) ShardDigest(i int) string {
	if sum := d.shards[i].digest; sum != (table.Digest{}) {
		return hex.EncodeToString(sum[:])
	}
	return ""
}

// Disk is where what is derived from the crops is written, caches included.
func (d *Dataset) Disk() durable.Disk { return d.disk }

// Logger gets notices.
func (d *Dataset) Logger() *slog.Logger { return d.log }
