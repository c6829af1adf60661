package teacher

import (
	"context"
	"fmt"

	"facepipe/store"
)

// openDonors opens the caches of other datasets that embeddings are copied from.
func (r *run) openDonors(info store.TeacherInfo) (err error) {
	if len(r.o.Reuse) == 0 {
		return nil
	}
	if r.donors, err = r.ds.OpenDonors(info, r.o.Reuse); err != nil {
		return err
	}
	r.summary.Notes = r.donors.Notes()
	if r.o.Progress == nil {
		return nil
	}
	for _, note := range r.summary.Notes {
		fmt.Fprintln(r.o.Progress, "note:", note)
	}
	return nil
}

// closeDonors takes down what was copied from whom.
func (r *run) closeDonors() {
	if r.donors == nil {
		return
	}
	r.summary.CopiedFrom = r.donors.Report()
	_ = r.donors.Close() // they were only read
}

// shardPlan says which rows of a shard are copied and which are computed.
type shardPlan struct {
	copies  []donated // ascending, those that are done taken off
	compute []int     // ascending
}

// donated is a row whose embedding another dataset has.
type donated struct {
	row  int
	from store.DonorRow
}

// lookUp asks the donors for every crop of a shard.
func (r *run) lookUp(ctx context.Context, shard int) (*shardPlan, error) {
	rows := r.ds.ShardRows(shard)
	p := &shardPlan{}
	if r.donors == nil {
		for row := range rows {
			p.compute = append(p.compute, row)
		}
		return p, nil
	}
	crops, err := r.ds.CropShard(shard)
	if err != nil {
		return nil, err
	}
	defer crops.Close()
	for row := range rows {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		crop, err := crops.Head(row)
		if err != nil {
			return nil, err
		}
		from, found, err := r.donors.Find(crop.ID)
		if err != nil {
			return nil, err
		}
		if found {
			p.copies = append(p.copies, donated{row, from})
		} else {
			p.compute = append(p.compute, row)
		}
	}
	return p, nil
}

// copyUpTo copies the embeddings that come before a row of the shard.
func (r *run) copyUpTo(ctx context.Context, out *store.EmbeddingWriter, p *shardPlan, row int) error {
	for len(p.copies) > 0 && p.copies[0].row < row {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := out.Copy(r.donors, p.copies[0].from); err != nil {
			return err
		}
		p.copies = p.copies[1:]
		r.bar.Add(1)
	}
	return nil
}
