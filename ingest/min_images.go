package ingest

import (
	"context"

	"facepipe/ingest/source"
	"facepipe/internal/progress"
)

// countPhotographs walks all sources once, without reading an image. It counts the photographs
// of each identity under the name that the identity has in the dataset.
func (r *run) countPhotographs(ctx context.Context) error {
	r.photographs, r.total = map[string]int{}, 0
	bar := progress.New(r.options.Progress, "count", -1).Of("photographs")
	defer bar.Finish()
	return r.walk(ctx, bar, true, func(i int, item source.Item) error {
		r.total++
		if item.Identity != "" {
			r.photographs[r.person(i, item.Identity)]++
		}
		bar.Add(1)
		return nil
	})
}

// tooFew says whether an identity has fewer photographs than are wanted. A photograph without
// an identity is never left out.
func (r *run) tooFew(identity string) bool {
	return r.options.MinImages > 0 && identity != "" && r.photographs[identity] < r.options.MinImages
}
