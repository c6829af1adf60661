package store

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"

	"facepipe/internal/progress"
)

// cropMerge appends the crops of the inputs to the merged dataset.
type cropMerge struct {
	*merge
	writer *Writer
	bar    *progress.Bar

	// Of the input that is being read:
	input   *Dataset
	sources []int // the numbers of its sources in the merged dataset
	// lost are its crops that are not stored, since their keys were taken; lostAt[i]
	// is where number i of them lies.
	lost   keyTable
	lostAt []Location
}

// crops writes the crops, and all else that shards hold, as an ingest would.
func (m *merge) crops() (err error) {
	w, err := OpenWriter(m.out, m.inputs[0].Contract(), WriterOptions{ShardRows: m.options.ShardRows, Logger: m.options.Logger})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, w.Abort()) }()
	numbers, err := m.addSources(w)
	if err != nil {
		return err
	}
	total := 0
	for _, d := range m.inputs {
		total += d.Rows() + d.Duplicates()
	}
	c := &cropMerge{merge: m, writer: w, bar: m.bar("merge", total)}
	for i, d := range m.inputs {
		c.input, c.sources, c.lost, c.lostAt = d, numbers[i], keyTable{}, nil
		for shard := range d.Shards() {
			if err := c.shard(shard); err != nil {
				return err
			}
		}
	}
	c.bar.Finish()
	return w.Close()
}

// addSources registers the sources of all inputs at once, so that the first shard of a
// merge tells which merge it is of: one that is found in the folder must be this one.
// It returns the sources' numbers, an input at a time.
func (m *merge) addSources(w *Writer) ([][]int, error) {
	var all []SourceInfo
	numbers := make([][]int, len(m.inputs))
	for i, d := range m.inputs {
		for _, s := range d.doc.Sources {
			// A source that came by a merge already stays what it is: by way of two
			// inputs it is still one.
			if s.MergedFrom == "" {
				s.MergedFrom = d.Digest()
			}
			n := slices.Index(all, s)
			if n < 0 {
				n = len(all)
				all = append(all, s)
			}
			numbers[i] = append(numbers[i], n)
		}
	}
	if len(w.sources) > 0 && !slices.Equal(w.sources, all) {
		return nil, fmt.Errorf("%s holds something else than a merge of these datasets as they are now; name a new folder", m.out)
	}
	for _, s := range all {
		w.AddSource(s)
	}
	return numbers, nil
}

// shard takes over a shard of the input: its crops, then what else it records.
func (c *cropMerge) shard(i int) error {
	m, err := c.input.readManifest(i)
	if err != nil {
		return err
	}
	if err := c.rows(i); err != nil {
		return err
	}
	path := filepath.Join(c.input.dir, cropsFolder, manifestName(i))
	for _, dup := range m.Duplicates {
		if err := c.duplicate(path, dup); err != nil {
			return err
		}
	}
	for _, r := range m.Rejects {
		if r.Source, err = c.source(path, r.Source); err != nil {
			return err
		}
		if err := c.writer.Reject(r); err != nil {
			return err
		}
		c.summary.CarriedRejects++
	}
	return nil
}

func (c *cropMerge) rows(shard int) (err error) {
	f, err := c.input.openCrops(shard)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	for b := range f.batches() {
		if err := c.ctx.Err(); err != nil {
			return err
		}
		columns, err := f.columns[b]()
		if err != nil {
			return err
		}
		for k := range columns.rows() {
			at := Location{Shard: uint32(shard), Row: uint32(f.starts[b] + k)}
			if err := c.row(f, columns, k, at); err != nil {
				return err
			}
		}
		c.bar.Add(int64(columns.rows()))
	}
	return nil
}

// row takes over row k of a batch, which lies at a location.
func (c *cropMerge) row(f *cropFile, columns *cropColumns, k int, at Location) error {
	c.summary.Seen++
	source, err := c.source(f.path, int(columns.source.Value(k)))
	if err != nil {
		return err
	}
	id, key := columns.idAt(k), columns.key.Value(k)
	if c.writer.Seen(source, key) {
		c.skip(id, key)
	} else {
		// Only now is the image looked at.
		crop, err := f.crop(int(at.Row))
		if err != nil {
			return err
		}
		crop.Source = source
		if err := validCrop(&crop); err != nil {
			return damaged(f.path, "crop %q: %w", key, err)
		}
		if err := c.take(&crop); err != nil {
			return err
		}
	}
	if !c.writer.known.stored(id) {
		c.lost.insert(key128(id))
		c.lostAt = append(c.lostAt, at)
	}
	return nil
}

// duplicate takes over an input that had the pixels of a crop. If that one is not
// stored, because its key was taken, this one takes its place.
func (c *cropMerge) duplicate(path string, dup duplicate) (err error) {
	c.summary.Seen++
	c.bar.Add(1)
	crop := Crop{ID: dup.Of}
	if !c.writer.known.stored(dup.Of) {
		n, ok := c.lost.find(key128(dup.Of))
		if !ok {
			return damaged(path, "duplicate %q is of crop %v, which is not stored", dup.Key, dup.Of)
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
	if err := errors.Join(ValidKey(dup.Key), validIdentity(dup.Identity)); err != nil {
		return damaged(path, "duplicate %q: %w", dup.Key, err)
	}
	if c.writer.Seen(crop.Source, crop.Key) {
		c.skip(crop.ID, crop.Key)
		return nil
	}
	return c.take(&crop)
}

// read is a copy of one crop of the input.
func (c *cropMerge) read(at Location) (crop Crop, err error) {
	f, err := c.input.openCrops(int(at.Shard))
	if err != nil {
		return Crop{}, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	crop, err = f.crop(int(at.Row))
	crop.Image = slices.Clone(crop.Image)
	return crop, err
}

// source is the number in the merged dataset of a source of the input.
func (c *cropMerge) source(path string, number int) (int, error) {
	if number < 0 || number >= len(c.sources) {
		return 0, damaged(path, "names source %d of %d", number, len(c.sources))
	}
	return c.sources[number], nil
}

// skip counts a crop that was met before.
func (c *cropMerge) skip(id ID, key string) {
	c.summary.Skipped++
	if !c.writer.known.leads(key, id) {
		c.summary.RejectedBefore++
	}
}

// take appends a crop that was not met before.
func (c *cropMerge) take(crop *Crop) error {
	outcome, err := c.writer.take(crop)
	if err != nil {
		return err
	}
	switch outcome {
	case Stored:
		c.summary.Written++
	case Duplicate:
		c.summary.Duplicates++
	case Conflict:
		c.summary.Rejected++
	default:
		c.summary.Skipped++
	}
	return nil
}
