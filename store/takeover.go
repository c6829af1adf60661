package store

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"

	"facepipe/store/internal/table"
)

// TakenOver counts what became of another dataset's crops and duplicates.
type TakenOver struct {
	// Seen is all of them; each is one of the next four.
	Seen, Written, Duplicates int
	// Rejected are those whose keys are taken by other pixels.
	Rejected int
	// Skipped ones were met before; RejectedBefore of them were refused then.
	Skipped, RejectedBefore int
	// Rejects are the dataset's own, recorded again.
	Rejects int
}

// BeginWith registers the sources that all is to be of, in their order. A dataset that was
// begun with others is refused.
func (w *Writer) BeginWith(sources []SourceInfo) error {
	if len(w.sources) > 0 && !slices.Equal(w.sources, sources) {
		return fmt.Errorf("%s holds something else than a merge of these datasets as they are now; name a new folder", w.dir)
	}
	for _, s := range sources {
		w.AddSource(s)
	}
	return nil
}

// TakeOver appends the crops of another dataset of the same contract, and all else that its
// shards record, as an ingest would. Its source i is number sources[i] here, and prefix stands
// before its keys and identities. Images are only looked at where they are stored. done is told
// how many inputs are dealt with.
func (w *Writer) TakeOver(ctx context.Context, d *Dataset, sources []int, prefix string, done func(n int64)) (TakenOver, error) {
	t := takeOver{ctx: ctx, writer: w, input: d, sources: sources, prefix: prefix, done: done}
	for shard := range d.Shards() {
		if err := t.shard(shard); err != nil {
			return t.counts, err
		}
	}
	return t.counts, nil
}

// takeOver is one call of [Writer.TakeOver].
type takeOver struct {
	ctx     context.Context
	writer  *Writer
	input   *Dataset
	sources []int
	prefix  string
	done    func(n int64)
	counts  TakenOver
	// lost are the input's crops that are not stored, since their keys were taken;
	// lostAt[i] is where number i of them lies.
	lost   table.KeyTable
	lostAt []Location
}

// shard takes over a shard of the input: its crops, then what else it records.
func (c *takeOver) shard(i int) error {
	m, err := c.input.readManifest(i)
	if err != nil {
		return err
	}
	if err := c.rows(i); err != nil {
		return err
	}
	path := filepath.Join(c.input.dir, cropsFolder, table.ManifestName(i))
	for _, dup := range m.Duplicates {
		dup.Key, dup.Identity = c.name(dup.Key), c.name(dup.Identity)
		if err := c.duplicate(path, dup); err != nil {
			return err
		}
	}
	for _, r := range c.input.superseded.left(m) {
		if r.Source, err = c.source(path, r.Source); err != nil {
			return err
		}
		r.Key = c.name(r.Key)
		if err := c.writer.Reject(r); err != nil {
			return err
		}
		c.counts.Rejects++
	}
	return nil
}

func (c *takeOver) rows(shard int) (err error) {
	f, err := c.input.openCrops(shard)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	for b := range f.batches() {
		if err := c.ctx.Err(); err != nil {
			return err
		}
		columns, err := f.Columns[b]()
		if err != nil {
			return err
		}
		for k := range columns.rows() {
			at := Location{Shard: uint32(shard), Row: uint32(f.Starts[b] + k)}
			if err := c.row(f, columns, k, at); err != nil {
				return err
			}
		}
		c.done(int64(columns.rows()))
	}
	return nil
}

// row takes over row k of a batch, which lies at a location.
func (c *takeOver) row(f *cropFile, columns *cropColumns, k int, at Location) error {
	c.counts.Seen++
	source, err := c.source(f.Path, int(columns.source.Value(k)))
	if err != nil {
		return err
	}
	id, key := columns.idAt(k), c.name(columns.key.Value(k))
	if c.writer.Seen(source, key) {
		c.skip(id, key)
	} else {
		// Only now is the image looked at.
		crop, err := f.crop(int(at.Row))
		if err != nil {
			return err
		}
		crop.Source, crop.Key, crop.Identity = source, c.name(crop.Key), c.name(crop.Identity)
		if err := c.fits(crop.Key, crop.Identity); err != nil {
			return err
		}
		if err := validCrop(&crop); err != nil {
			return table.Damaged(f.Path, "crop %q: %w", key, err)
		}
		if err := c.take(&crop); err != nil {
			return err
		}
	}
	if !c.writer.known.stored(id) {
		c.lost.Insert(table.Key128(id))
		c.lostAt = append(c.lostAt, at)
	}
	return nil
}

// duplicate takes over an input that had the pixels of a crop. If that one is not
// stored, because its key was taken, this one takes its place.
func (c *takeOver) duplicate(path string, dup duplicate) (err error) {
	c.counts.Seen++
	c.done(1)
	crop := Crop{ID: dup.Of}
	if !c.writer.known.stored(dup.Of) {
		n, ok := c.lost.Find(table.Key128(dup.Of))
		if !ok {
			return table.Damaged(path, "duplicate %q is of crop %v, which is not stored", dup.Key, dup.Of)
		}
		if crop, err = c.read(c.lostAt[n]); err != nil {
			return err
		}
	}
	if crop.Identity != dup.Identity {
		crop.Split = "" // that of another person
	}
	crop.Key, crop.Identity, crop.Attributes = dup.Key, dup.Identity, ""
	if crop.Source, err = c.source(path, dup.Source); err != nil {
		return err
	}
	if err := c.fits(dup.Key, dup.Identity); err != nil {
		return err
	}
	if err := errors.Join(ValidKey(dup.Key), ValidIdentity(dup.Identity)); err != nil {
		return table.Damaged(path, "duplicate %q: %w", dup.Key, err)
	}
	if c.writer.Seen(crop.Source, crop.Key) {
		c.skip(crop.ID, crop.Key)
		return nil
	}
	return c.take(&crop)
}

// read is a copy of one crop of the input.
func (c *takeOver) read(at Location) (crop Crop, err error) {
	f, err := c.input.openCrops(int(at.Shard))
	if err != nil {
		return Crop{}, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	crop, err = f.crop(int(at.Row))
	crop.Image = slices.Clone(crop.Image)
	return crop, err
}

// source is the number here of a source of the input.
func (c *takeOver) source(path string, number int) (int, error) {
	if number < 0 || number >= len(c.sources) {
		return 0, table.Damaged(path, "names source %d of %d", number, len(c.sources))
	}
	return c.sources[number], nil
}

// name is a key or an identity as it is here.
func (c *takeOver) name(was string) string {
	if was == "" {
		return ""
	}
	return c.prefix + was
}

// fits is an error if the prefix has made a name too long.
func (c *takeOver) fits(names ...string) error {
	for _, name := range names {
		if c.prefix != "" && len(name) > MaxKeyBytes {
			return fmt.Errorf("with the prefix %q a name of %s has %d bytes, more than %d: give a shorter one", c.prefix, c.input.dir, len(name), MaxKeyBytes)
		}
	}
	return nil
}

// skip counts a crop that was met before.
func (c *takeOver) skip(id ID, key string) {
	c.counts.Skipped++
	if !c.writer.known.leads(key, id) {
		c.counts.RejectedBefore++
	}
}

// take appends a crop that was not met before.
func (c *takeOver) take(crop *Crop) error {
	outcome, err := c.writer.take(crop)
	if err != nil {
		return err
	}
	switch outcome {
	case Stored:
		c.counts.Written++
	case Duplicate:
		c.counts.Duplicates++
	case Conflict:
		c.counts.Rejected++
	default:
		c.counts.Skipped++
	}
	return nil
}
