package teacher

import (
	"context"
	"fmt"

	"facepipe/store"
	"facepipe/store/cache"
)

// openDonors opens the caches of other datasets that embeddings are copied from.
func (r *run) openDonors(info cache.Info) (err error) {
	if len(r.o.Reuse) == 0 {
		return nil
	}
	if r.donors, err = cache.OpenDonors(r.ds, info, r.o.Reuse); err != nil {
		return err
	}
	r.note(r.donors.Notes()...)
	return nil
}

// closeDonors notes in the summary what was copied from which cache.
func (r *run) closeDonors() {
	if r.donors == nil {
		return
	}
	r.summary.CopiedFrom = r.donors.Report()
	_ = r.donors.Close() // they were only read
}

// copy copies the embedding of a crop that another cache has.
func (r *run) copy(ctx context.Context, out shardWriter, crops *store.CropReader, at store.Location) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	id, err := crops.ID(at)
	if err != nil {
		return err
	}
	from, found, err := r.donors.Find(id)
	if err != nil {
		return err
	}
	if !found {
		return fmt.Errorf("copy the embedding of crop %v: it was there before", id)
	}
	return out.Copy(r.donors, from)
}
