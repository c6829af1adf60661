package store

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"facepipe/internal/durable"
	"facepipe/store/internal/index"
	"facepipe/store/internal/table"
)

// claimFolder makes sure that dir is a place for a dataset: new, empty, or one. Its name
// is durable then, whoever made it.
func claimFolder(disk durable.Disk, dir string) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, os.ErrNotExist) {
		return disk.MkdirAll(dir, table.FolderMode)
	}
	if err != nil {
		return err
	}
	if !slices.ContainsFunc(entries, func(e os.DirEntry) bool { return e.Name() == datasetFile }) {
		// One that was begun, perhaps, or that lost its dataset.json.
		for _, e := range entries {
			if name := e.Name(); !oursByName(name) {
				return fmt.Errorf("the folder holds something else (%s) and no %s; name a new or empty one", name, datasetFile)
			}
		}
	}
	return table.SyncAbove(disk, dir)
}

// oursByName says whether a dataset's folder may hold something of that name.
func oursByName(name string) bool {
	switch name {
	case datasetFile, rejectsFile, cropsFolder, TeachersFolder, index.Folder, table.LockFile, index.LockFile:
		return true
	}
	return strings.HasPrefix(name, durable.TempPrefix) || strings.HasPrefix(name, index.TempPrefix)
}

// resume cleans up after an interrupted run and takes up what was committed.
func (w *Writer) resume() error {
	crops := filepath.Join(w.dir, cropsFolder)
	if err := w.disk.MkdirBelow(w.dir, cropsFolder, table.FolderMode); err != nil {
		return err
	}
	for _, folder := range []string{w.dir, crops} {
		if err := w.disk.RemoveTemps(folder); err != nil {
			return fmt.Errorf("clean up dataset: %w", err)
		}
		// The names that are found here may be of a run that was killed before it made
		// them durable, and what this run writes refers to them.
		if err := w.disk.FS.SyncDir(folder); err != nil {
			return err
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
	return removeOrphan(w.disk, crops, len(w.shards))
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
		return table.Damaged(filepath.Join(crops, table.ManifestName(n)), "missing, though %s lists it", datasetFile)
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
			return table.Damaged(filepath.Join(crops, table.ManifestName(shard)), "is not the shard that %s lists", datasetFile)
		}
		if err := w.known.loadShard(crops, m); err != nil {
			return err
		}
		w.shards = append(w.shards, ref)
		w.version = max(w.version, m.Version)
		w.sources = append(w.sources, m.Sources...)
		w.duplicates += len(m.Duplicates)
		w.rejects += len(m.Rejects) - len(m.Superseded)
		w.superseded.add(m)
	}
	return nil
}

// loadShard takes up a committed shard and checks it against those before it.
// Images are not read.
func (n *known) loadShard(crops string, m *cropManifest) error {
	path := filepath.Join(crops, table.ManifestName(m.Shard))
	if m.FirstRow != n.crops.Len() {
		return table.Damaged(path, "begins at row %d, earlier shards end at %d", m.FirstRow, n.crops.Len())
	}
	arrowPath := filepath.Join(crops, table.ArrowName(m.Shard))
	f, err := openCropFile(arrowPath, m.File, m.Contract, m.Version)
	if err != nil {
		return err
	}
	if err := f.eachColumns(func(c *cropColumns) error { return table.AsDamage(arrowPath, n.loadRows(c)) }); err != nil {
		return err
	}
	if err := n.loadEvents(m); err != nil {
		return table.AsDamage(path, err)
	}
	n.loadStamps(m)
	if m.Identities != n.identities.Len() {
		return table.Damaged(path, "counts %d identities, there are %d", m.Identities, n.identities.Len())
	}
	return nil
}

// removeOrphan deletes the Arrow file of a dataset's next shard if its manifest was never
// written: the shard will be written anew. More than one such file is damage, and not
// what a run leaves that was killed.
func removeOrphan(disk durable.Disk, crops string, next int) error {
	shards, err := table.ListShards(crops, table.ArrowSuffix)
	if err != nil {
		return err
	}
	for _, shard := range shards {
		switch path := filepath.Join(crops, table.ArrowName(shard)); {
		case shard > next:
			return table.Damaged(path, "has no manifest, and shard %d is missing: are manifests lost?", next)
		case shard == next:
			if err := table.RemoveShard(disk, path); err != nil {
				return err
			}
		}
	}
	return nil
}
