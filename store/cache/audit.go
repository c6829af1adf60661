package cache

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"

	"facepipe/internal/durable"
	"facepipe/internal/vec"
	"facepipe/internal/verdict"
	"facepipe/store"
	"facepipe/store/internal/table"
)

// Audit looks at all of a cache. It returns the cache, nil if nothing can be told of it. It
// is for store/check.
func Audit(a *table.Audit, d *store.Dataset, name string) (*Cache, error) {
	t, err := unloaded(d, name)
	if err != nil {
		return nil, a.Fault(err)
	}
	missing := 0
	for i := range d.Shards() {
		if err := a.Context.Err(); err != nil {
			return nil, err
		}
		if d.ShardDigest(i) == "" {
			continue // the crop shard's manifest is a problem already
		}
		info, err := t.loadShard(i)
		t.shards[i] = info
		if errors.Is(err, os.ErrNotExist) {
			missing++
			continue
		}
		if err == nil && info != nil && a.Reads(i) {
			err = checkShard(t, i)
			a.Bar.Add(int64(d.ShardRows(i)))
		}
		if err := a.Fault(err); err != nil {
			return nil, err
		}
	}
	if missing > 0 {
		a.Note("teacher %s: %d shards are not embedded yet", t.info.Name, missing)
	}
	for _, loss := range t.Losses() {
		if err := a.Fault(loss); err != nil {
			return nil, err
		}
	}
	return t, t.checkRuns(a.Fault)
}

// Losses are damage that [Open] lets pass, since running precompute-teacher again mends it: shards
// whose manifest is gone, and those of crops that the dataset does not have. It is for
// store/check, store/info and merging.
func (t *Cache) Losses() (losses []error) {
	lose := func(shard int, format string, args ...any) {
		losses = append(losses, table.Damaged(filepath.Join(t.folder, table.ManifestName(shard)), format, args...))
	}
	manifests, err := table.ListShards(t.folder, table.ManifestSuffix)
	if err != nil {
		return []error{err}
	}
	orphans, err := orphansIn(t.folder, manifests)
	if err != nil {
		return []error{err}
	}
	if !table.Interrupted(t.folder) {
		for _, shard := range orphans {
			lose(shard, "missing, though %s is there: run the same precompute-teacher again, which embeds the shard anew", table.ArrowName(shard))
		}
	}
	for _, shard := range manifests {
		if shard < t.dataset.Shards() && t.dataset.ShardRows(shard) > 0 {
			continue
		}
		if grown, err := t.dataset.Grown(); err == nil && grown > 0 {
			break // since the dataset was opened
		}
		lose(shard, "is of crops that the dataset does not have: put back the dataset.json that knows them, or delete it and %s", table.ArrowName(shard))
	}
	return losses
}

// orphansIn are the tables of shards in a folder that none of the manifests, ascending, describes.
func orphansIn(folder string, manifests []int) (orphans []int, err error) {
	shards, err := table.ListShards(folder, table.ArrowSuffix)
	for _, shard := range shards {
		if _, described := slices.BinarySearch(manifests, shard); !described {
			orphans = append(orphans, shard)
		}
	}
	return orphans, err
}

// AuditRemains mentions what interrupted runs left of the caches. It is for store/check.
func AuditRemains(a *table.Audit, d *store.Dataset) error {
	teachers := filepath.Join(d.Dir(), store.TeachersFolder)
	names, err := Names(d)
	if err != nil || !table.IsFolder(teachers) {
		return err
	}
	for _, name := range names {
		if err := noteOrphans(a, folderOf(d, name)); err != nil {
			return err
		}
	}
	if err := a.NoteTemps(teachers, durable.TempPrefix); err != nil {
		return err
	}
	for _, name := range names {
		folder := folderOf(d, name)
		inside, err := subfolders(folder)
		if err != nil {
			return err
		}
		for _, f := range append([]string{folder}, inside...) {
			if err := a.NoteTemps(f, durable.TempPrefix); err != nil {
				return err
			}
		}
	}
	return nil
}

// noteOrphans mentions a teacher's shards without a manifest where a run was interrupted: elsewhere
// they are [Cache.Losses].
func noteOrphans(a *table.Audit, folder string) error {
	if !table.Interrupted(folder) {
		return nil
	}
	manifests, err := table.ListShards(folder, table.ManifestSuffix)
	if err != nil {
		return err
	}
	orphans, err := orphansIn(folder, manifests)
	for _, shard := range orphans {
		a.Note("%s has no manifest: a run was interrupted, or the manifest is lost; the shard is embedded anew", filepath.Join(folder, table.ArrowName(shard)))
	}
	return err
}

// checkShard reads all of a teacher's shard i and compares it with the crops.
func checkShard(t *Cache, i int) (err error) {
	f, err := t.openFile(i)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if err := f.Audit(); err != nil {
		return err
	}
	crops, err := t.dataset.IDs(i)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, crops.Close()) }()
	zeros := 0
	scratch := make([]float32, t.info.Dim)
	for b := range f.Columns {
		c, err := f.Columns[b]()
		if err != nil {
			return err
		}
		for k := range c.ID.Len() {
			n, err := checkRow(c, k, crops, f.Starts[b]+k, scratch)
			if err != nil {
				return table.AsDamage(f.Path, fmt.Errorf("row %d: %w", f.Starts[b]+k, err))
			}
			zeros += n
		}
	}
	if zeros != t.shards[i].invalid {
		return table.Damaged(f.Path, "%d embeddings are invalid, its manifest lists %d", zeros, t.shards[i].invalid)
	}
	return nil
}

// checkRow checks row k of a batch against the crop in a row of its shard. It
// returns the number of invalid embeddings, 0 to 2. scratch has the teacher's dimension.
func checkRow(c *Columns, k int, crops *store.IDs, row int, scratch []float32) (zeros int, err error) {
	id, err := crops.At(row)
	if err != nil {
		return 0, err
	}
	if !bytes.Equal(c.ID.Value(k), id[:]) {
		return 0, fmt.Errorf("is the embedding of crop %x, the crop is %x", c.ID.Value(k), id[:])
	}
	for _, v := range []*table.Vectors{&c.Plain, c.Mirror} {
		if v == nil {
			continue
		}
		if err := checkVector(v, k, scratch); err != nil {
			return 0, err
		}
		if v.Norms[k] == 0 {
			zeros++
		}
	}
	return zeros, nil
}

// checkVector compares an embedding with its norm: both finite, equal up to the rounding of
// the elements, and both zero if one is. x has length dim and is overwritten.
func checkVector(v *table.Vectors, k int, x []float32) error {
	v.CopyRow(k, x)
	if i := vec.NotFinite(x); i >= 0 {
		return fmt.Errorf("element %d is %g", i, x[i])
	}
	norm, have := float64(v.Norms[k]), vec.Norm(x)
	if !(norm >= 0 && math.Abs(have-norm) <= 1.01*verdict.MaxNormDrift*norm) {
		return fmt.Errorf("norm is %g, the elements give %g", norm, have)
	}
	return nil
}
