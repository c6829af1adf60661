package store

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"

	"facepipe/internal/durable"
)

// auditNames are the names of the teacher caches. It looks for caches that have lost what
// says whose they are, which is written before any shard.
func auditNames(a *Audit, d *Dataset) ([]string, error) {
	names, err := d.Teachers()
	if err != nil {
		return nil, err
	}
	folder := filepath.Join(d.Dir(), teachersFolder)
	entries, err := os.ReadDir(folder)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	for _, e := range entries {
		if !e.IsDir() || slices.Contains(names, e.Name()) || !teacherName.MatchString(e.Name()) {
			continue // what is called otherwise is not ours
		}
		for _, suffix := range []string{manifestSuffix, arrowSuffix} {
			shards, err := listShards(filepath.Join(folder, e.Name()), suffix)
			if err == nil && len(shards) > 0 {
				err = a.Fault(damaged(filepath.Join(folder, e.Name(), teacherFile), "missing, though there are shards of the teacher"))
			}
			if err != nil {
				return nil, err
			}
		}
	}
	return names, nil
}

// auditCache looks at all of a cache. It returns the cache, nil if nothing can be told of it.
func auditCache(a *Audit, d *Dataset, name string) (*Teacher, error) {
	t, err := d.newTeacher(name)
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
			err = checkEmbeddingData(t, i)
		}
		if err := a.Fault(err); err != nil {
			return nil, err
		}
	}
	if missing > 0 {
		a.Note("teacher %s: %d shards are not embedded yet", t.info.Name, missing)
	}
	return t, t.checkRuns(a.Fault)
}

// auditCacheRemains mentions what interrupted runs left of the caches.
func auditCacheRemains(a *Audit, d *Dataset) error {
	teachers := filepath.Join(d.Dir(), teachersFolder)
	names, err := d.Teachers()
	if err != nil || !isFolder(teachers) {
		return err
	}
	for _, name := range names {
		if err := noteOrphans(a, d.teacherFolder(name)); err != nil {
			return err
		}
	}
	if err := a.NoteTemps(teachers, durable.TempPrefix); err != nil {
		return err
	}
	for _, name := range names {
		folder := d.teacherFolder(name)
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

// noteOrphans mentions a teacher's shards without a manifest: of an interrupted run, as
// a rule, but a manifest that was lost looks the same.
func noteOrphans(a *Audit, folder string) error {
	shards, err := listShards(folder, arrowSuffix)
	if err != nil {
		return err
	}
	for _, shard := range shards {
		if _, err := os.Stat(filepath.Join(folder, manifestName(shard))); errors.Is(err, os.ErrNotExist) {
			a.Note("%s has no manifest: a run was interrupted, or the manifest is lost; the shard is embedded anew", filepath.Join(folder, arrowName(shard)))
		}
	}
	return nil
}

// checkEmbeddingData reads all of a teacher's shard i and compares it with the crops.
func checkEmbeddingData(t *Teacher, i int) (err error) {
	f, err := t.openFile(i)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if err := f.audit(); err != nil {
		return err
	}
	crops, err := t.dataset.IDs(i)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, crops.Close()) }()
	zeros := 0
	scratch := make([]float32, t.info.Dim)
	for b := range f.columns {
		c, err := f.columns[b]()
		if err != nil {
			return err
		}
		for k := range c.id.Len() {
			n, err := checkEmbeddingRow(c, k, crops, f.starts[b]+k, scratch)
			if err != nil {
				return asDamage(f.path, fmt.Errorf("row %d: %w", f.starts[b]+k, err))
			}
			zeros += n
		}
	}
	if zeros != t.shards[i].invalid {
		return damaged(f.path, "%d embeddings are invalid, its manifest lists %d", zeros, t.shards[i].invalid)
	}
	return nil
}

// checkEmbeddingRow checks row k of a batch against the crop in a row of its shard. It
// returns the number of invalid embeddings, 0 to 2. scratch has the teacher's dimension.
func checkEmbeddingRow(c *embeddingColumns, k int, crops *IDs, row int, scratch []float32) (zeros int, err error) {
	id, err := crops.At(row)
	if err != nil {
		return 0, err
	}
	if !bytes.Equal(c.id.Value(k), id[:]) {
		return 0, fmt.Errorf("is the embedding of crop %x, the crop is %x", c.id.Value(k), id[:])
	}
	for _, v := range []*vectors{&c.plain, c.mirror} {
		if v == nil {
			continue
		}
		if err := v.check(k, scratch); err != nil {
			return 0, err
		}
		if v.norms[k] == 0 {
			zeros++
		}
	}
	return zeros, nil
}

// check compares an embedding with its norm: both finite, equal up to the rounding of
// the elements, and both zero if one is. x has length dim and is overwritten.
func (v *vectors) check(k int, x []float32) error {
	v.copyRow(k, x)
	sum := 0.0
	for i, e := range x {
		if e != e || math.IsInf(float64(e), 0) {
			return fmt.Errorf("element %d is %g", i, e)
		}
		sum += float64(e) * float64(e)
	}
	norm, have := float64(v.norms[k]), math.Sqrt(sum)
	if !(norm >= 0 && math.Abs(have-norm) <= 1.01*maxNormDrift*norm) {
		return fmt.Errorf("norm is %g, the elements give %g", norm, have)
	}
	return nil
}
