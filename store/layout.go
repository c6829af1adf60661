package store

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// Names inside a dataset.
const (
	datasetFile    = "dataset.json"
	rejectsFile    = "rejects.jsonl"
	cropsFolder    = "crops"
	teachersFolder = "teachers"
	teacherFile    = "teacher.json"
	lockFile       = ".lock"

	indexFolder     = "index"
	indexTempPrefix = "index.tmp-"
	indexLockFile   = ".lock-index"
	builtName       = "BUILT.json"

	arrowSuffix    = ".arrow"
	manifestSuffix = ".json"
)

// shardStem is the file name of a shard without its suffix.
func shardStem(shard int) string { return fmt.Sprintf("%06d", shard) }

func arrowName(shard int) string    { return shardStem(shard) + arrowSuffix }
func manifestName(shard int) string { return shardStem(shard) + manifestSuffix }

// parseShardName is the inverse of arrowName and manifestName.
func parseShardName(name, suffix string) (shard int, ok bool) {
	stem, ok := strings.CutSuffix(name, suffix)
	if !ok {
		return 0, false
	}
	n, err := strconv.ParseUint(stem, 10, 31)
	if err != nil || shardStem(int(n)) != stem {
		return 0, false
	}
	return int(n), true
}

// listShards are the numbers of the files in folder that are named like shards with
// that suffix, ascending. A missing folder has none.
func listShards(folder, suffix string) ([]int, error) {
	entries, err := os.ReadDir(folder)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var shards []int
	for _, e := range entries {
		if n, ok := parseShardName(e.Name(), suffix); ok {
			shards = append(shards, n)
		}
	}
	slices.Sort(shards)
	return shards, nil
}

// isFolder is whether a folder is at path.
func isFolder(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}

// countManifests is the number of committed shards in a crops folder: manifests are
// written in order, so a gap means that one was lost.
func countManifests(folder string) (int, error) {
	shards, err := listShards(folder, manifestSuffix)
	if err != nil {
		return 0, err
	}
	for want, have := range shards {
		if want != have {
			return 0, damaged(filepath.Join(folder, manifestName(want)), "missing, though a later shard is there")
		}
	}
	return len(shards), nil
}
