package ingest

import (
	"context"
	"fmt"

	"facepipe/ingest/source"
)

// countPhotographs walks all sources once, without reading an image. It counts the photographs
// of each identity under the name that the identity has in the dataset.
func (r *run) countPhotographs(ctx context.Context) error {
	r.photographs = map[string]int{}
	for i, s := range r.sources {
		err := s.Walk(ctx, func(item source.Item) error {
			if item.Identity != "" {
				r.photographs[r.options.prefix(i)+item.Identity]++
			}
			return nil
		})
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			return fmt.Errorf("count photographs in source %s: %w", r.parsed.sources[i], err)
		}
	}
	return nil
}

// tooFew says whether an identity has fewer photographs than are wanted. A photograph without
// an identity is never left out.
func (r *run) tooFew(identity string) bool {
	return r.options.MinImages > 0 && identity != "" && r.photographs[identity] < r.options.MinImages
}
