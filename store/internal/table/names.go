package table

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
)

// Names of files.
const (
	// LockFile is held by whoever writes in its folder.
	LockFile = ".lock"
	// ArrowSuffix ends the names of tables, ManifestSuffix those of what describes them.
	ArrowSuffix    = ".arrow"
	ManifestSuffix = ".json"
	// TableDigits is how many digits of a digest a name has that tells tables of one kind
	// apart.
	TableDigits = 16
)

// ShardStem is the file name of a shard without its suffix.
func ShardStem(shard int) string { return fmt.Sprintf("%06d", shard) }

// ArrowName is the file name of a shard's table.
func ArrowName(shard int) string { return ShardStem(shard) + ArrowSuffix }

// ManifestName is the file name of a shard's manifest.
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
