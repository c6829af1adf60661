package store

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"facepipe/internal/durable"
)

// claimFolder makes sure that dir is a place for a dataset: new, empty, or one.
func claimFolder(disk durable.Disk, dir string) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, os.ErrNotExist) {
		return disk.MkdirAll(dir, folderMode)
	}
	if err != nil {
		return err
	}
	ours := len(entries) == 0
	for _, e := range entries {
		switch e.Name() {
		case datasetFile, cropsFolder, lockFile:
			ours = true
		}
	}
	if !ours {
		return errors.New("the folder holds something else; name a new or empty one")
	}
	return nil
}

// resume cleans up after an interrupted run and takes up what was committed.
func (w *Writer) resume() error {
	crops := filepath.Join(w.dir, cropsFolder)
	if err := w.disk.MkdirAll(crops, folderMode); err != nil {
		return err
	}
	for _, folder := range []string{w.dir, crops} {
		if err := w.disk.RemoveTemps(folder); err != nil {
			return fmt.Errorf("clean up dataset: %w", err)
		}
	}
	doc, err := readDatasetDoc(w.dir)
	if errors.Is(err, ErrUnfinished) {
		doc, err = &datasetDoc{Contract: w.contract}, nil
	}
	if err != nil {
		return err
	}
	if err := w.matchContract(doc.Contract); err != nil {
		return err
	}
	if err := w.loadCommitted(crops, doc.Shards); err != nil {
		return err
	}
	return removeOrphans(w.disk, crops, func(shard int) bool { return shard < len(w.shards) })
}

func (w *Writer) matchContract(have Contract) error {
	if have != w.contract {
		return fmt.Errorf("append to dataset %s: %w: it has %+v, this run %+v", w.dir, ErrContract, have, w.contract)
	}
	return nil
}

// loadCommitted takes up all committed shards, those that dataset.json listed
// (sealed) and those of a later, interrupted run.
func (w *Writer) loadCommitted(crops string, sealed []shardRef) error {
	n, err := countManifests(crops)
	if err != nil {
		return err
	}
	if n < len(sealed) {
		return damaged(filepath.Join(crops, manifestName(n)), "missing, though %s lists it", datasetFile)
	}
	for shard := range n {
		m, err := readCropManifest(crops, shard)
		if err != nil {
			return err
		}
		if err := w.matchContract(m.Contract); err != nil {
			return err
		}
		ref := shardRef{Rows: m.Rows, Digest: m.Digest}
		if shard < len(sealed) && ref != sealed[shard] {
			return damaged(filepath.Join(crops, manifestName(shard)), "is not the shard that %s lists", datasetFile)
		}
		if err := w.known.loadShard(crops, m); err != nil {
			return err
		}
		w.shards = append(w.shards, ref)
		w.version = max(w.version, m.Version)
		w.sources = append(w.sources, m.Sources...)
		w.duplicates += len(m.Duplicates)
		w.rejects += len(m.Rejects)
	}
	return nil
}

// loadShard takes up a committed shard and checks it against those before it.
// Images are not read.
func (n *known) loadShard(crops string, m *cropManifest) error {
	path := filepath.Join(crops, manifestName(m.Shard))
	if m.FirstRow != n.crops.len() {
		return damaged(path, "begins at row %d, earlier shards end at %d", m.FirstRow, n.crops.len())
	}
	arrowPath := filepath.Join(crops, arrowName(m.Shard))
	f, err := openCropFile(arrowPath, m.File, m.Contract, m.Version)
	if err != nil {
		return err
	}
	if err := f.eachColumns(func(c *cropColumns) error { return asDamage(arrowPath, n.loadRows(c)) }); err != nil {
		return err
	}
	if err := n.loadEvents(m); err != nil {
		return asDamage(path, err)
	}
	if m.Identities != n.identities.len() {
		return damaged(path, "counts %d identities, there are %d", m.Identities, n.identities.len())
	}
	return nil
}

// removeOrphans deletes Arrow files whose manifest was never written: the shard they
// were to be will be written anew.
func removeOrphans(disk durable.Disk, folder string, committed func(shard int) bool) error {
	shards, err := listShards(folder, arrowSuffix)
	if err != nil {
		return err
	}
	for _, shard := range shards {
		if committed(shard) {
			continue
		}
		if err := disk.FS.Remove(filepath.Join(folder, arrowName(shard))); err != nil {
			return fmt.Errorf("remove uncommitted shard: %w", err)
		}
	}
	return nil
}
