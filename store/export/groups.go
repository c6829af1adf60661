package export

import (
	"context"
	"errors"
	"fmt"

	"facepipe/internal/progress"
	"facepipe/store"
)

// groups are the crops of a dataset that have an identity, by identity.
type groups struct {
	rows       []uint32 // ordered by label, then by row
	identities int
}

// groupRows sorts the rows by label, by counting.
func groupRows(ctx context.Context, d *store.Dataset) (*groups, error) {
	next := make([]uint32, d.Identities()+1)
	err := eachLabel(ctx, d, func(_ uint32, label int32) { next[label+1]++ })
	if err != nil {
		return nil, err
	}
	for i := 1; i < len(next); i++ {
		next[i] += next[i-1]
	}
	g := &groups{rows: make([]uint32, next[len(next)-1]), identities: d.Identities()}
	err = eachLabel(ctx, d, func(row uint32, label int32) {
		g.rows[next[label]] = row
		next[label]++
	})
	return g, err
}

// eachLabel visits the rows that have a label.
func eachLabel(ctx context.Context, d *store.Dataset, visit func(row uint32, label int32)) error {
	row := uint32(0)
	for shard := range d.Shards() {
		if err := ctx.Err(); err != nil {
			return err
		}
		s, err := d.CropShard(shard)
		if err != nil {
			return err
		}
		for k := range s.Rows() {
			c, err := s.Head(k)
			if err == nil && c.Label != store.NoLabel && (c.Label < 0 || int(c.Label) >= d.Identities()) {
				err = fmt.Errorf("crop %q: %w: label %d of %d", c.Key, store.ErrDamaged, c.Label, d.Identities())
			}
			if err != nil {
				return errors.Join(err, s.Close())
			}
			if c.Label != store.NoLabel {
				visit(row, c.Label)
			}
			row++
		}
		if err := s.Close(); err != nil {
			return err
		}
	}
	return nil
}

// writeGroups hands the target the crops by identity, wherever they are.
func (r *run) writeGroups(ctx context.Context, t target, bar *progress.Bar) (err error) {
	reader := r.dataset.CropReader()
	defer func() { err = errors.Join(err, reader.Close()) }()
	for _, row := range r.groups.rows {
		if err := ctx.Err(); err != nil {
			return err
		}
		at := r.dataset.Locate(int(row))
		crop, err := reader.Crop(at)
		if err != nil {
			return err
		}
		if err := t.add(at, &crop); err != nil {
			return err
		}
		bar.Add(1)
	}
	return nil
}
