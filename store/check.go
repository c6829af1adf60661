package store

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"facepipe/internal/durable"
)

// CheckOptions adjust [Check].
type CheckOptions struct {
	// ReadData reads every byte: all digests are computed again, crops are decoded and
	// their ids compared, embeddings looked at one by one, the index is compared with
	// what it indexes. Without it only manifests and file sizes are compared.
	ReadData bool
	// Subset limits ReadData to some of the shards, their embeddings included. What
	// compares shards with each other (keys stored twice, totals, the index's entries)
	// is then left out.
	Subset Subset
}

// Problem is damage: something on disk is not what was written.
type Problem struct {
	// File is relative to the dataset's folder.
	File string `json:"file"`
	What string `json:"what"`
}

// CheckReport is what [Check] found.
type CheckReport struct {
	// OK says that there are no problems.
	OK       bool      `json:"ok"`
	Problems []Problem `json:"problems"`
	// Notes are worth knowing and no damage: an interrupted run's remains, a missing
	// index, shards no teacher has seen.
	Notes []string `json:"notes,omitempty"`
	// ShardsRead of the Shards of crops were read whole, with their embeddings.
	Shards     int `json:"shards"`
	ShardsRead int `json:"shards_read"`
}

// Check looks for damage in a dataset, goes on after it finds some, and changes
// nothing. An error means that it could not look: there is no dataset
// ([ErrNotFound], [ErrUnfinished], [ErrVersion]), a file cannot be read, ctx is done.
func Check(ctx context.Context, dir string, o CheckOptions) (CheckReport, error) {
	c := &checker{ctx: ctx, dir: dir, readData: o.ReadData, subset: o.Subset}
	err := c.run()
	c.report.OK = err == nil && len(c.report.Problems) == 0
	if c.report.Problems == nil {
		c.report.Problems = []Problem{} // a list in JSON, not null
	}
	return c.report, err
}

type checker struct {
	ctx      context.Context
	dir      string
	readData bool
	subset   Subset
	chosen   []bool // the shards whose data are read
	dataset  *Dataset
	cropsBad bool // some crop shard has a problem
	report   CheckReport
}

func (c *checker) run() error {
	doc, err := readDatasetDoc(c.dir)
	if err != nil {
		return c.file(err)
	}
	c.dataset = newDataset(c.dir, doc)
	c.choose()
	for _, step := range []func() error{
		c.checkCrops, c.checkCounts, c.checkRejects, c.checkTeachers, c.checkIndex, c.noteRemains,
	} {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

// choose decides which shards are read.
func (c *checker) choose() {
	c.report.Shards = c.dataset.Shards()
	c.chosen = make([]bool, c.report.Shards)
	if !c.readData {
		return
	}
	c.chosen = c.subset.choose(c.report.Shards)
	for _, yes := range c.chosen {
		if yes {
			c.report.ShardsRead++
		}
	}
	if !c.subset.all() {
		c.note("subset %v: the data of %d of %d shards are read", c.subset, c.report.ShardsRead, c.report.Shards)
	}
}

// file takes damage down as a problem; other errors it returns.
func (c *checker) file(err error) error {
	if !errors.Is(err, ErrDamaged) {
		return err
	}
	var d *damageError
	if !errors.As(err, &d) {
		return err
	}
	name := d.file
	if rel, err := filepath.Rel(c.dir, d.file); err == nil {
		name = filepath.ToSlash(rel)
	}
	// A teacher's shard can only be checked against its crops, whose damage is known.
	if p := (Problem{File: name, What: d.what.Error()}); !slices.Contains(c.report.Problems, p) {
		c.report.Problems = append(c.report.Problems, p)
	}
	return nil
}

func (c *checker) note(format string, args ...any) {
	c.report.Notes = append(c.report.Notes, fmt.Sprintf(format, args...))
}

// checkCrops checks every crop shard by itself.
func (c *checker) checkCrops() error {
	idsSkipped := 0
	for i := range c.dataset.doc.Shards {
		if err := c.ctx.Err(); err != nil {
			return err
		}
		info, err := c.dataset.loadShard(i)
		c.dataset.shards = append(c.dataset.shards, info)
		if err == nil && c.chosen[i] && info.file != nil {
			var skipped int
			skipped, err = checkCropData(c.ctx, c.dataset, i)
			idsSkipped += skipped
		}
		if err != nil {
			c.cropsBad = true
		}
		if err := c.file(err); err != nil {
			return err
		}
	}
	if idsSkipped > 0 {
		c.note("the ids of %d JPEG crops were not verified: they depend on the decoder %q", idsSkipped, c.dataset.Contract().Decoder)
	}
	return nil
}

// checkCounts checks the shards against each other and the totals of dataset.json. It
// reads the keys of all crops, so that it is for ReadData of all shards; after damage it would only
// repeat it.
func (c *checker) checkCounts() error {
	if !c.readsAll() || c.cropsBad {
		return nil
	}
	var n known
	var duplicates, rejects int
	crops := filepath.Join(c.dir, cropsFolder)
	for i := range c.dataset.shards {
		m, err := c.dataset.readManifest(i)
		if err == nil {
			err = n.loadShard(crops, m)
		}
		if err != nil {
			c.cropsBad = true
			return c.file(err)
		}
		duplicates += len(m.Duplicates)
		rejects += len(m.Rejects)
	}
	doc := c.dataset.doc
	if n.crops.len() != doc.Rows || n.identities.len() != doc.Identities || duplicates != doc.Duplicates || rejects != doc.Rejects {
		return c.file(damaged(filepath.Join(c.dir, datasetFile),
			"counts %d rows, %d identities, %d duplicates, %d rejects; its shards have %d, %d, %d, %d",
			doc.Rows, doc.Identities, doc.Duplicates, doc.Rejects, n.crops.len(), n.identities.len(), duplicates, rejects))
	}
	return nil
}

// readsAll says that the data of all shards are read.
func (c *checker) readsAll() bool { return c.readData && c.subset.all() }

// checkTeachers checks every teacher cache.
func (c *checker) checkTeachers() error {
	names, err := c.dataset.Teachers()
	if err != nil {
		return err
	}
	if err := c.checkNameless(names); err != nil {
		return err
	}
	for _, name := range names {
		t, err := c.dataset.newTeacher(name)
		if err == nil {
			err = c.checkTeacher(t)
		}
		if err := c.file(err); err != nil {
			return err
		}
	}
	return nil
}

// checkNameless looks for caches, besides those of the names, that have lost what says
// whose they are: it is written before any shard.
func (c *checker) checkNameless(names []string) error {
	folder := filepath.Join(c.dir, teachersFolder)
	entries, err := os.ReadDir(folder)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	for _, e := range entries {
		if !e.IsDir() || slices.Contains(names, e.Name()) || !teacherName.MatchString(e.Name()) {
			continue // what is called otherwise is not ours
		}
		for _, suffix := range []string{manifestSuffix, arrowSuffix} {
			shards, err := listShards(filepath.Join(folder, e.Name()), suffix)
			if err != nil {
				return err
			}
			if len(shards) > 0 {
				err = c.file(damaged(filepath.Join(folder, e.Name(), teacherFile), "missing, though there are shards of the teacher"))
			}
			if err != nil {
				return err
			}
		}
	}
	return nil
}

func (c *checker) checkTeacher(t *Teacher) error {
	missing := 0
	for i := range c.dataset.shards {
		if err := c.ctx.Err(); err != nil {
			return err
		}
		if c.dataset.shards[i].digest == (digest{}) {
			continue // the crop shard's manifest is a problem already
		}
		info, err := t.loadShard(i)
		t.shards[i] = info
		if errors.Is(err, os.ErrNotExist) {
			missing++
			continue
		}
		if err == nil && info != nil && c.chosen[i] {
			err = checkEmbeddingData(t, i, info.file)
		}
		if err := c.file(err); err != nil {
			return err
		}
	}
	if missing > 0 {
		c.note("teacher %s: %d shards are not embedded yet", t.info.Name, missing)
	}
	if err := t.checkRuns(c.file); err != nil {
		return err
	}
	return c.checkSides(t)
}

// checkSides checks what lies beside a teacher's shards, unless the cache is a problem
// itself.
func (c *checker) checkSides(t *Teacher) error {
	if c.cropsBad {
		return nil
	}
	note, err := t.checkCentres(c.readsAll())
	if note != "" {
		c.note("%s", note)
	}
	if err := c.file(err); err != nil {
		return err
	}
	return c.file(t.checkClassifier(c.readsAll()))
}

// checkIndex checks the index, if there is one and it is of this dataset.
func (c *checker) checkIndex() error {
	if c.cropsBad {
		return nil
	}
	ix, err := openBadgerIndex(c.dataset)
	if errors.Is(err, os.ErrNotExist) || errors.Is(err, ErrDamaged) {
		// A run that ended just now may have put another in its place: look again.
		ix, err = openBadgerIndex(c.dataset)
	}
	folder := filepath.Join(c.dir, indexFolder)
	switch _, statErr := os.Stat(folder); {
	case errors.Is(err, ErrDamaged):
		return c.file(err)
	case errors.Is(err, os.ErrNotExist) && statErr == nil:
		// The folder is moved into place whole.
		return c.file(damaged(filepath.Join(folder, builtName), "missing"))
	case err != nil:
		c.note("the index is rebuilt when it is needed: %v", err)
		return nil
	}
	if c.readsAll() {
		err = compareIndex(c.ctx, c.dataset, ix)
		if c.ctx.Err() == nil {
			err = c.file(asDamage(folder, err))
		}
	}
	return errors.Join(err, ix.close())
}

// noteRemains mentions what interrupted runs left, which the next run takes up or
// removes.
func (c *checker) noteRemains() error {
	crops := filepath.Join(c.dir, cropsFolder)
	manifests, err := listShards(crops, manifestSuffix)
	if err != nil {
		return err
	}
	if n := len(manifests) - c.dataset.Shards(); n > 0 {
		c.note("%d shards are committed and not part of the dataset yet: run the interrupted ingest again", n)
	}
	folders := []string{c.dir, crops}
	names, err := c.dataset.Teachers()
	if err != nil {
		return err
	}
	if teachers := filepath.Join(c.dir, teachersFolder); isFolder(teachers) {
		folders = append(folders, teachers)
	}
	for _, name := range names {
		folder := c.dataset.teacherFolder(name)
		folders = append(folders, folder)
		for _, side := range append(sideFolders(), runsFolder) {
			if side = filepath.Join(folder, side); isFolder(side) {
				folders = append(folders, side)
			}
		}
		if err := c.noteOrphans(folder); err != nil {
			return err
		}
	}
	for _, folder := range folders {
		if err := c.noteTemps(folder); err != nil {
			return err
		}
	}
	return nil
}

func isFolder(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}

// noteOrphans mentions a teacher's shards without a manifest: of an interrupted run, as
// a rule, but a manifest that was lost looks the same.
func (c *checker) noteOrphans(folder string) error {
	shards, err := listShards(folder, arrowSuffix)
	if err != nil {
		return err
	}
	for _, shard := range shards {
		if _, err := os.Stat(filepath.Join(folder, manifestName(shard))); errors.Is(err, os.ErrNotExist) {
			c.note("%s has no manifest: a run was interrupted, or the manifest is lost; the shard is embedded anew", filepath.Join(folder, arrowName(shard)))
		}
	}
	return nil
}

// noteTemps mentions the unfinished files in a folder.
func (c *checker) noteTemps(folder string) error {
	entries, err := os.ReadDir(folder)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), durable.TempPrefix) || strings.HasPrefix(e.Name(), indexTempPrefix) {
			c.note("%s is unfinished: a run is at work, or was interrupted", filepath.Join(folder, e.Name()))
		}
	}
	return nil
}
