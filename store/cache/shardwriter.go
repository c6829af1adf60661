package cache

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"facepipe/internal/durable"
	"facepipe/internal/verdict"
	"facepipe/store"
	"facepipe/store/internal/table"
)

// ShardWriter writes the embeddings of one crop shard: Append for every row in
// order, then Commit. For one goroutine.
type ShardWriter struct {
	info     Info
	place    shardPlace
	crops    *store.IDs
	out      *table.Writer[Columns]
	manifest manifest
	batch    batch
	row      int // next row of the shard
	done     bool

	plain, mirrored verdict.Fault // of the row before
}

// shardPlace is where a shard of embeddings is committed.
type shardPlace interface {
	// publish makes the sealed file, and then the manifest that describes it, durable.
	publish(shard int, out *table.Writer[Columns], manifest []byte) error
}

// Shard begins the embeddings of crop shard i, which must be missing. End it with
// Commit or Abort.
func (w *Writer) Shard(i int) (*ShardWriter, error) {
	if !slices.Contains(w.MissingShards(), i) {
		return nil, fmt.Errorf("write shard %d of teacher %s: it is not missing", i, w.cache.info.Name)
	}
	return newShardWriter(w.disk, w.cache.dataset, w.cache.info, w.cache.path(i), i, w)
}

// newShardWriter begins the embeddings of crop shard i of a dataset, in a temporary file
// in path's folder.
func newShardWriter(disk durable.Disk, d *store.Dataset, info Info, path string, i int, place shardPlace) (*ShardWriter, error) {
	crops, err := d.IDs(i)
	if err != nil {
		return nil, err
	}
	out, err := table.Create(disk, path, schemaOf(info), parseColumns)
	if err != nil {
		return nil, errors.Join(err, crops.Close())
	}
	e := &ShardWriter{info: info, place: place, crops: crops, out: out}
	e.manifest = manifest{
		Header:      table.HeaderOf(table.FormatEmbeddings),
		Shard:       i,
		Fingerprint: info.Fingerprint,
		Crops:       d.ShardDigest(i),
		Rows:        d.ShardRows(i),
	}
	e.batch.reset(&e.info)
	return e, nil
}

// publish gives the shard its place in the cache.
func (w *Writer) publish(shard int, out *table.Writer[Columns], manifest []byte) error {
	if err := out.Commit(); err != nil {
		return err
	}
	path := filepath.Join(w.cache.folder, table.ManifestName(shard))
	if err := w.disk.WriteFile(path, manifest, table.OnceMode); err != nil {
		if _, gone := os.Lstat(path); errors.Is(gone, os.ErrNotExist) {
			err = errors.Join(err, table.RemoveShard(w.disk, out.Path)) // which nothing describes
		}
		return err
	}
	w.written(shard)
	return nil
}

// Append adds the teacher's raw output for the next row and, if the cache holds them,
// for its mirror image (nil otherwise), of length Dim each; both are copied. An output in
// which [verdict.Of] finds a fault is recorded as invalid, with its reason, and stored as
// zeros; see [ShardWriter.Faults]. A wrong length is an error, as is one row too many.
func (w *ShardWriter) Append(embedding, mirror []float32) error {
	info := &w.info
	mirrorDim := 0
	if info.Flip {
		mirrorDim = info.Dim
	}
	if len(embedding) != info.Dim || len(mirror) != mirrorDim {
		return w.failed(fmt.Errorf("row %d has %d and %d elements, want %d and %d", w.row, len(embedding), len(mirror), info.Dim, mirrorDim))
	}
	if err := w.begin(); err != nil {
		return err
	}
	w.plain, w.mirrored = w.add(&w.batch.plain, embedding, false), verdict.None
	if info.Flip {
		w.mirrored = w.add(&w.batch.mirror, mirror, true)
	}
	w.row++
	return nil
}

// Faults are those of the embeddings that were appended last.
func (w *ShardWriter) Faults() (plain, mirrored verdict.Fault) { return w.plain, w.mirrored }

// appendStored adds row k of a batch of another cache of the same fingerprint, bit for
// bit: a norm was taken before rounding and cannot be had from the elements. It must be
// the embedding of the next row's crop. why are the reasons of embeddings without use.
func (w *ShardWriter) appendStored(c *Columns, k int, why unusable) error {
	if err := w.begin(); err != nil {
		return err
	}
	ids := w.batch.ids
	if have, want := c.ID.Value(k), ids[len(ids)-len(store.ID{}):]; !bytes.Equal(have, want) {
		return w.failed(fmt.Errorf("%w: row %d is crop %x, the embedding is of %x", errOtherCrop, w.row, want, have))
	}
	w.account(w.batch.plain.appendStored(&c.Plain, k), false, why.plain)
	if c.Mirror != nil {
		w.account(w.batch.mirror.appendStored(c.Mirror, k), true, why.mirror)
	}
	w.row++
	return nil
}

// errOtherCrop is of an embedding that is not where its crop's id led.
var errOtherCrop = errors.New("another crop's embedding")

// begin puts the id of the next row's crop into the batch.
func (w *ShardWriter) begin() error {
	switch {
	case w.done:
		return w.failed(errors.New("already committed or aborted"))
	case w.row == w.manifest.Rows:
		return w.failed(fmt.Errorf("more than its %d rows", w.row))
	}
	if w.batch.full() {
		if err := w.flush(); err != nil {
			return err
		}
	}
	id, err := w.crops.At(w.row)
	if err != nil {
		return err
	}
	w.batch.ids = append(w.batch.ids, id[:]...)
	return nil
}

func (w *ShardWriter) failed(err error) error {
	return fmt.Errorf("write %s: %w", w.out.Path, err)
}

// add appends one embedding to a column.
func (w *ShardWriter) add(to *vectorColumn, embedding []float32, mirror bool) verdict.Fault {
	v := to.append(embedding)
	w.account(v.Norm, mirror, v.Reason)
	return v.Fault
}

// account keeps the manifest's account of an embedding of the row, whose norm is 0 if it
// is invalid.
func (w *ShardWriter) account(norm float32, mirror bool, reason string) {
	m := &w.manifest
	if norm == 0 {
		m.Invalid = append(m.Invalid, invalid{Row: w.row, Mirror: mirror, Reason: reason})
		return
	}
	if m.NormMax == 0 {
		m.NormMin = norm
	}
	m.NormMin, m.NormMax = min(m.NormMin, norm), max(m.NormMax, norm)
}

func (w *ShardWriter) flush() error {
	if w.batch.rows() == 0 {
		return nil
	}
	rec := w.batch.record(w.out.Schema)
	defer rec.Release()
	if err := w.out.WriteBatch(rec, 0); err != nil {
		return err
	}
	w.batch.reset(&w.info)
	return nil
}

// Commit makes the shard durable: its file, then its manifest. Every row must have
// been appended. On failure nothing of it remains.
func (w *ShardWriter) Commit() error {
	if w.done {
		return w.failed(errors.New("already committed or aborted"))
	}
	if err := w.commit(); err != nil {
		return errors.Join(err, w.Abort())
	}
	w.done = true
	return w.crops.Close()
}

func (w *ShardWriter) commit() error {
	if w.row != w.manifest.Rows {
		return w.failed(fmt.Errorf("%d of %d rows were embedded", w.row, w.manifest.Rows))
	}
	if err := w.flush(); err != nil {
		return err
	}
	var err error
	if w.manifest.File, err = w.out.Seal(); err != nil {
		return w.explain(err)
	}
	sum, err := w.manifest.contentDigest()
	if err != nil {
		return w.failed(err)
	}
	w.manifest.Digest = hex.EncodeToString(sum[:])
	data, err := table.EncodeSealed(&w.manifest)
	if err != nil {
		return w.failed(err)
	}
	return w.place.publish(w.manifest.Shard, w.out, data)
}

// explain tells a file that was taken away from a disk that fails.
func (w *ShardWriter) explain(err error) error {
	if _, gone := os.Stat(w.out.Out.TempName()); errors.Is(gone, os.ErrNotExist) {
		return w.failed(fmt.Errorf("somebody has deleted the unfinished file, as a merge does that has all it wants; run the same command again: %w", gone))
	}
	return err
}

// Abort throws the shard away. After Commit or Abort it does nothing.
func (w *ShardWriter) Abort() error {
	if w.done {
		return nil
	}
	w.done = true
	return errors.Join(w.out.Abort(), w.crops.Close())
}
