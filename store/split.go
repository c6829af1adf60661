package store

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// SplitRows are the global rows of the crops in a split, ascending. It reads the columns
// of all shards, no images. A split without crops is [ErrNotFound]; the error names
// those there are.
func (d *Dataset) SplitRows(split string) ([]int, error) {
	var rows []int
	known := map[string]bool{}
	for i := range d.shards {
		if err := d.eachSplit(i, func(row int, name string) {
			switch {
			case name == split:
				rows = append(rows, row)
			case name != "" && !known[name] && len(known) < maxNamedSplits:
				known[strings.Clone(name)] = true
			}
		}); err != nil {
			return nil, err
		}
	}
	if len(rows) > 0 {
		return rows, nil
	}
	names := slices.Sorted(maps.Keys(known))
	if len(names) == 0 {
		return nil, fmt.Errorf("split %q of dataset %s: %w: its crops are in no split", split, d.dir, ErrNotFound)
	}
	return nil, fmt.Errorf("split %q of dataset %s: %w: it has %s", split, d.dir, ErrNotFound, strings.Join(names, ", "))
}

// maxNamedSplits keeps an error short.
const maxNamedSplits = 16

// eachSplit visits the rows of shard i with the split that each is in.
func (d *Dataset) eachSplit(i int, visit func(row int, split string)) error {
	f, err := d.openCrops(i)
	if err != nil {
		return err
	}
	row := d.starts[i]
	return f.eachColumns(func(c *cropColumns) error {
		for k := range c.rows() {
			visit(row, c.splitAt(k))
			row++
		}
		return nil
	})
}
