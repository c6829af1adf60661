package store

import (
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"

	"facepipe/store/internal/table"
)

// PlanOutput is the state of a dataset that a plan's crops are appended to: its digest and
// the number of its shards, "" and 0 if there was none.
type PlanOutput struct {
	Digest string `json:"digest"`
	Shards int    `json:"shards"`
}

// FindOutput is the state of the dataset in dir that a plan is to append to; there may be
// none. One with an interrupted ingest is [ErrUnfinished].
func FindOutput(dir string) (PlanOutput, error) {
	doc, err := readDatasetDoc(dir)
	if errors.Is(err, ErrNotFound) {
		return PlanOutput{}, nil
	}
	if err != nil {
		return PlanOutput{}, err
	}
	committed, err := countManifests(filepath.Join(dir, cropsFolder))
	if err == nil && committed > len(doc.Shards) {
		err = fmt.Errorf("append to dataset %s: %w: run the same ingest again to finish it", dir, ErrUnfinished)
	}
	return PlanOutput{Digest: doc.Digest, Shards: len(doc.Shards)}, err
}

// Beyond is what the dataset holds besides the state that a plan found it in: how many
// shards were committed since, and the numbers of the sources that they are of. A dataset
// that does not begin with that state is [ErrPlan].
func (w *Writer) Beyond(was PlanOutput) (shards int, sources []int, err error) {
	if was.Digest != "" {
		begin := datasetDoc{Contract: w.contract, Shards: w.shards[:min(was.Shards, len(w.shards))]}
		if err := begin.setDigest(); err != nil {
			return 0, nil, err
		}
		if begin.Digest != was.Digest {
			return 0, nil, fmt.Errorf("%w: dataset %s does not begin with what it held when the plan was made", ErrPlan, w.dir)
		}
	}
	met := map[int]bool{}
	for shard := was.Shards; shard < len(w.shards); shard++ {
		if err := sourcesOf(filepath.Join(w.dir, cropsFolder), shard, met); err != nil {
			return 0, nil, err
		}
	}
	return len(w.shards) - was.Shards, slices.Sorted(maps.Keys(met)), nil
}

// sourcesOf adds the sources of all that a committed shard holds.
func sourcesOf(crops string, shard int, met map[int]bool) error {
	m, err := readCropManifest(crops, shard)
	if err != nil {
		return err
	}
	for _, d := range m.Duplicates {
		met[d.Source] = true
	}
	for _, r := range m.Rejects {
		met[r.Source] = true
	}
	f, err := openCropFile(filepath.Join(crops, table.ArrowName(shard)), m.File, m.Contract, m.Version)
	if err != nil {
		return err
	}
	return f.eachColumns(func(c *cropColumns) error {
		for k := range c.rows() {
			met[int(c.source.Value(k))] = true
		}
		return nil
	})
}
