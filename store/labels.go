package store

import (
	"context"

	"facepipe/store/internal/table"
)

// Labels are the labels of all rows, [NoLabel] for crops without an identity: 4 bytes a
// crop. It reads the columns of all shards, no images.
func (d *Dataset) Labels(ctx context.Context) ([]int32, error) {
	labels := make([]int32, 0, d.Rows())
	for i := range d.shards {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		err := d.EachLabel(i, func(label int32, _ string) { labels = append(labels, label) })
		if err != nil {
			return nil, err
		}
	}
	return labels, nil
}

// EachLabel visits the rows of shard i with their labels and identities; an identity
// points into the mapping. A label out of range is damage.
func (d *Dataset) EachLabel(i int, visit func(label int32, identity string)) error {
	f, err := d.openCrops(i)
	if err != nil {
		return err
	}
	return f.eachColumns(func(c *cropColumns) error {
		for k := range c.rows() {
			label := c.label.Value(k)
			if label < NoLabel || int(label) >= d.Identities() {
				return table.Damaged(d.cropPath(i), "crop %q has label %d of %d", c.key.Value(k), label, d.Identities())
			}
			visit(label, c.identity.Value(k))
		}
		return nil
	})
}
