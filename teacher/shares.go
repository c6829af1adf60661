package teacher

import (
	"facepipe/store"
	"facepipe/store/cache"
	"facepipe/store/plan"
)

// shares are what the workers of a plan have done: parts, and once these are merged, shards
// of the cache.
type shares struct {
	ds    *store.Dataset
	info  cache.Info
	cache *cache.Cache // as it was when it was last looked at; nil without one
	parts *cache.Parts
}

// openShares opens the cache and the parts of the plan in a folder.
func openShares(ds *store.Dataset, info cache.Info, job string) (*shares, error) {
	s := &shares{ds: ds, info: info}
	if err := s.refresh(); err != nil {
		return nil, err
	}
	var err error
	s.parts, err = cache.OpenParts(ds, info, plan.PartsFolder(job))
	return s, err
}

// refresh looks at the cache as it is now.
func (s *shares) refresh() (err error) {
	s.cache, err = plannedCache(s.ds, s.info)
	return err
}

// cached says whether a shard is in the cache.
func (s *shares) cached(shard int) bool { return s.cache != nil && s.cache.Has(shard) }

// done says whether a shard is in the cache, or its part committed.
func (s *shares) done(shard int) (bool, error) {
	if s.cached(shard) {
		return true, nil
	}
	return s.parts.Has(shard)
}

// invalid is the number of embeddings without use in shards that are done.
func (s *shares) invalid(shards []int) (int, error) {
	n := 0
	for _, shard := range shards {
		// A merge may have put the part into the cache, and deleted it.
		if there, err := s.done(shard); err == nil && !there {
			if err := s.refresh(); err != nil {
				return n, err
			}
		}
		if s.cached(shard) {
			n += s.cache.ShardInvalid(shard)
			continue
		}
		more, err := s.parts.Invalid(shard)
		if err != nil {
			return n, err
		}
		n += more
	}
	return n, nil
}

// open begins the part of a shard.
func (s *shares) open(shard int) (shardWriter, error) {
	w, err := s.parts.Shard(shard)
	return &share{ShardWriter: w, shares: s, shard: shard}, err
}

// share is the part of a shard on its way.
type share struct {
	*cache.ShardWriter
	shares *shares
	shard  int
}

// Commit commits the part. It is no error that this fails where the shard is done by now:
// while this worker stood still, its twin may have done it, and a merge removed what was
// unfinished.
func (w *share) Commit() error {
	failed := w.ShardWriter.Commit()
	if failed == nil {
		return nil
	}
	look := shares{ds: w.shares.ds, info: w.shares.info, parts: w.shares.parts}
	if err := look.refresh(); err != nil {
		return failed
	}
	if done, err := look.done(w.shard); err != nil || !done {
		return failed
	}
	return nil
}
