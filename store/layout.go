package store

import (
	"path/filepath"

	"facepipe/store/internal/table"
)

// Names inside a dataset. A teacher's cache is in a folder of its name in TeachersFolder.
const (
	datasetFile    = "dataset.json"
	rejectsFile    = "rejects.jsonl"
	cropsFolder    = "crops"
	TeachersFolder = "teachers"
)

// countManifests is the number of committed shards in a crops folder: manifests are
// written in order, so a gap means that one was lost.
func countManifests(folder string) (int, error) {
	shards, err := table.ListShards(folder, table.ManifestSuffix)
	if err != nil {
		return 0, err
	}
	for want, have := range shards {
		if want != have {
			return 0, table.Damaged(filepath.Join(folder, table.ManifestName(want)), "missing, though a later shard is there")
		}
	}
	return len(shards), nil
}
