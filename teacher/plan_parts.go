package teacher

import (
	"facepipe/store"
	"facepipe/store/cache"
	"facepipe/store/plan"
)

// planParts are what the workers of a plan have done: parts, and once these are merged, shards
// of the cache.
type planParts struct {
	ds    *store.Dataset
	info  cache.Info
	cache *cache.Cache // as it was when it was last looked at; nil without one
	parts *cache.Parts
}

// openPlanParts opens the cache and the parts of the plan in a folder.
func openPlanParts(ds *store.Dataset, info cache.Info, job string) (*planParts, error) {
	p := &planParts{ds: ds, info: info}
	if err := p.refresh(); err != nil {
		return nil, err
	}
	var err error
	p.parts, err = cache.OpenParts(ds, info, plan.PartsFolder(job))
	return p, err
}

// refresh looks at the cache as it is now.
func (p *planParts) refresh() (err error) {
	p.cache, err = plannedCache(p.ds, p.info)
	return err
}

// cached says whether a shard is in the cache.
func (p *planParts) cached(shard int) bool { return p.cache != nil && p.cache.Has(shard) }

// done says whether a shard is in the cache, or its part committed.
func (p *planParts) done(shard int) (bool, error) {
	if p.cached(shard) {
		return true, nil
	}
	return p.parts.Has(shard)
}

// invalid is the number of embeddings without use in shards that are done.
func (p *planParts) invalid(shards []int) (int, error) {
	n := 0
	for _, shard := range shards {
		// A merge may have copied the part into the cache and deleted it.
		if there, err := p.done(shard); err == nil && !there {
			if err := p.refresh(); err != nil {
				return n, err
			}
		}
		if p.cached(shard) {
			n += p.cache.ShardInvalid(shard)
			continue
		}
		more, err := p.parts.Invalid(shard)
		if err != nil {
			return n, err
		}
		n += more
	}
	return n, nil
}

// open begins the part of a shard.
func (p *planParts) open(shard int) (shardWriter, error) {
	w, err := p.parts.Shard(shard)
	return &partWriter{ShardWriter: w, parts: p, shard: shard}, err
}

// partWriter writes the part of a shard.
type partWriter struct {
	*cache.ShardWriter
	parts *planParts
	shard int
}

// Commit commits the part. If that fails but the shard is done by now, it is no error: while
// this worker stood still its twin may have done the shard, and a merge removed what was
// unfinished.
func (w *partWriter) Commit() error {
	failed := w.ShardWriter.Commit()
	if failed == nil {
		return nil
	}
	look := planParts{ds: w.parts.ds, info: w.parts.info, parts: w.parts.parts}
	if err := look.refresh(); err != nil {
		return failed
	}
	if done, err := look.done(w.shard); err != nil || !done {
		return failed
	}
	return nil
}
