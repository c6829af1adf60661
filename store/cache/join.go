package cache

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"

	"facepipe/internal/progress"
	"facepipe/store"
	"facepipe/store/internal/table"
)

// Joint is a cache that several datasets have and that their merge is to have, too. It, [Join]
// and [Joined] are for store/merge.
type Joint struct {
	info Info
	from []*Cache // of dataset i; nil where it has no crops and hence needs none
}

// Joined is a teacher cache of the merged dataset.
type Joined struct {
	Teacher     string `json:"teacher"`
	Fingerprint string `json:"fingerprint"`
	// Copied rows were taken over by this run, Reused ones by an interrupted one.
	// Missing ones are in shards with a crop that no input has an embedding of.
	Copied  int `json:"copied"`
	Reused  int `json:"reused"`
	Missing int `json:"missing"`
}

// Join finds the caches that a merge of the datasets can have, and refuses those that
// contradict each other: [store.ErrFingerprint]. Notes say which are left out, and why.
func Join(inputs []*store.Dataset) (joints []Joint, notes []string, err error) {
	names := map[string]bool{}
	for _, d := range inputs {
		list, err := Names(d)
		if err != nil {
			return nil, nil, err
		}
		for _, name := range list {
			names[name] = true
		}
	}
	for _, name := range slices.Sorted(maps.Keys(names)) {
		j, without, err := joinNamed(inputs, name)
		if err != nil {
			return nil, nil, err
		}
		for _, d := range without {
			notes = append(notes, fmt.Sprintf("teacher %s is not merged: %s has no such cache", name, d.Dir()))
		}
		if len(without) == 0 && j.info.Name != "" {
			joints = append(joints, j)
		}
	}
	return joints, notes, nil
}

// joinNamed is the cache of one name, and the datasets that have crops and no such cache.
func joinNamed(inputs []*store.Dataset, name string) (j Joint, without []*store.Dataset, err error) {
	j.from = make([]*Cache, len(inputs))
	var first *Cache
	for i, d := range inputs {
		t, err := Open(d, name)
		switch {
		case errors.Is(err, store.ErrNotFound):
			if d.Rows() > 0 {
				without = append(without, d)
			}
			continue
		case err != nil:
			return j, nil, err
		case first == nil:
			first, j.info = t, t.info
		}
		if losses := t.Losses(); len(losses) > 0 {
			return j, nil, fmt.Errorf("%w; or merge without teachers", errors.Join(losses...))
		}
		if err := sameTeacher(first.folder, first.info, t.folder, t.info); err != nil {
			return j, nil, fmt.Errorf("%w; leave teachers out, or embed one of the two under another name", err)
		}
		j.from[i] = t
	}
	return j, without, nil
}

// sameTeacher refuses two caches whose embeddings do not go together; a and b are what
// they are called.
func sameTeacher(a string, x Info, b string, y Info) error {
	if x.Fingerprint == y.Fingerprint && x.Dim == y.Dim && x.DType == y.DType && x.Flip == y.Flip {
		return nil
	}
	return fmt.Errorf("%w: %s has %s (%s, %s, dim %d, flip %t), %s has %s (%s, %s, dim %d, flip %t)", store.ErrFingerprint,
		a, x.Fingerprint, x.ModelFile, x.DType, x.Dim, x.Flip,
		b, y.Fingerprint, y.ModelFile, y.DType, y.Dim, y.Flip)
}

// jointCopy copies embeddings of the inputs into the merged cache, a shard at a time.
type jointCopy struct {
	*Joint
	ctx     context.Context
	dataset *store.Dataset // the merged one
	writer  *Writer
	bar     *progress.Bar
	copier  copier
	// ids are the crops that have an embedding; at[i] is where that of number i lies.
	ids table.KeyTable
	at  []inputRow
}

// Into copies the embeddings into the merged dataset, bit for bit, by the ids of the crops,
// and the records of the runs that they come from. What is there already is left.
func (j *Joint) Into(ctx context.Context, merged *store.Dataset, out io.Writer) (report Joined, err error) {
	w, err := Create(merged, j.info)
	if err != nil {
		return report, err
	}
	defer func() { err = errors.Join(err, w.Close()) }()
	c := &jointCopy{Joint: j, ctx: ctx, dataset: merged, writer: w, copier: copier{from: j.from}}
	defer func() { err = errors.Join(err, c.copier.close()) }()
	report = Joined{Teacher: j.info.Name, Fingerprint: j.info.Fingerprint, Reused: merged.Rows()}
	missing := w.MissingShards()
	if len(missing) > 0 {
		if err := c.locate(); err != nil {
			return report, err
		}
	}
	for _, shard := range missing {
		report.Reused -= merged.ShardRows(shard)
	}
	c.bar = progress.New(out, "merge teacher "+j.info.Name, int64(merged.Rows()))
	defer c.bar.Finish()
	c.bar.Skip(int64(report.Reused))
	for _, shard := range missing {
		copied, err := c.shard(shard)
		if err != nil {
			return report, err
		}
		report.Copied += copied
		report.Missing += merged.ShardRows(shard) - copied
	}
	if report.Missing < merged.Rows() {
		err = c.adoptRuns()
	}
	return report, err
}

// adoptRuns takes over the records of the runs that the embeddings come from.
func (c *jointCopy) adoptRuns() error {
	for _, t := range c.from {
		if t == nil {
			continue
		}
		if _, err := c.writer.AdoptRuns(t.runs()); err != nil {
			return err
		}
	}
	return nil
}

// locate finds out which crops have embeddings, and where. Of several, the first is
// taken: they are of one fingerprint.
func (c *jointCopy) locate() error {
	for i, t := range c.from {
		if t == nil {
			continue
		}
		for shard, info := range t.shards {
			if info == nil {
				continue
			}
			if err := c.ctx.Err(); err != nil {
				return err
			}
			row := uint32(0)
			err := t.dataset.EachID(shard, func(id store.ID) {
				if _, added := c.ids.Insert(table.Key128(id)); added {
					c.at = append(c.at, inputRow{inputShard{uint32(i), uint32(shard)}, row})
				}
				row++
			})
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// shard copies the embeddings of one shard of the merged dataset and returns their
// number, 0 if one of them is missing: a shard is embedded whole or not at all.
func (c *jointCopy) shard(shard int) (copied int, err error) {
	rows, err := c.find(shard)
	if err != nil || rows == nil {
		return 0, err
	}
	w, err := c.writer.Shard(shard)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, w.Abort()) }()
	for n, at := range rows {
		if n%table.MaxBatchRows == 0 && c.ctx.Err() != nil {
			return 0, c.ctx.Err()
		}
		if err := c.copier.copy(w, at); err != nil {
			return 0, err
		}
		c.bar.Add(1)
	}
	return len(rows), w.Commit()
}

// find is where the embeddings of a shard of the merged dataset lie; nil if one is
// missing.
func (c *jointCopy) find(shard int) (rows []inputRow, err error) {
	missing := false
	err = c.dataset.EachID(shard, func(id store.ID) {
		n, ok := c.ids.Find(table.Key128(id))
		if !ok {
			missing = true
			return
		}
		rows = append(rows, c.at[n])
	})
	if missing {
		return nil, err
	}
	return rows, err
}
