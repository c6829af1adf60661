package table

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
)

const LockFile = ".lock"

const ArrowSuffix = ".arrow"

const ManifestSuffix = ".json"

// ShardStem is the file name of a shard without its suffix.
func ShardStem(shard int) string { return fmt.Sprintf("%06d", shard) }

func ArrowName(shard int) string { return ShardStem(shard) + ArrowSuffix }

func ManifestName(shard int) string { return ShardStem(shard) + ManifestSuffix }

// ParseShardName is the inverse of ArrowName and ManifestName.
func ParseShardName(name, suffix string) (shard int, ok bool) {
	stem, ok := strings.CutSuffix(name, suffix)
	if !ok {
		return 0, false
	}
	n, err := strconv.ParseUint(stem, 10, 31)
	if err != nil || ShardStem(int(n)) != stem {
		return 0, false
	}
	return int(n), true
}

// ListShards are the numbers of the files in folder that are named like shards with
// that suffix, ascending. A missing folder has none.
func ListShards(folder, suffix string) ([]int, error) {
	entries, err := os.ReadDir(folder)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var shards []int
	for _, e := range entries {
		if n, ok := ParseShardName(e.Name(), suffix); ok {
			shards = append(shards, n)
		}
	}
	slices.Sort(shards)
	return shards, nil
}

// IsFolder is whether a folder is at path.
func IsFolder(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}

// TableDigits tell tables that follow each other apart.
const TableDigits = 16
