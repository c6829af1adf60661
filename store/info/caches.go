package info

import (
	"errors"

	"facepipe/store"
	"facepipe/store/cache"
	"facepipe/store/derived"
)

// Cache is a teacher cache and how far it is.
type Cache struct {
	cache.Info
	// Rows of the dataset's are embedded, Invalid embeddings among them without use.
	Rows    int `json:"rows"`
	Invalid int `json:"invalid"`
	// Missing rows, in MissingShards, are still to be embedded.
	Missing       int `json:"missing"`
	MissingShards int `json:"missing_shards"`
	// Bytes is the size of the shards, without manifests.
	Bytes int64 `json:"bytes"`
	// Digest is [cache.Cache.Digest], "" while shards are missing.
	Digest string `json:"digest,omitempty"`
	// Centres, the derived class centres and crop qualities, are current, outdated,
	// missing or damaged. Their tables are not read.
	Centres      string `json:"centres"`
	CentresBytes int64  `json:"centres_bytes"`
	// Neighbours, the derived nearest crops of every crop, are in the same states.
	Neighbours      string `json:"neighbours"`
	NeighboursBytes int64  `json:"neighbours_bytes"`
	// Alignment, the derived rotation to another teacher's space, is in the same states, as far
	// as this cache decides; that of the other teacher is compared when the rotation is used.
	Alignment      string `json:"alignment"`
	AlignmentBytes int64  `json:"alignment_bytes"`
	// Runs sums up the records of the runs that filled the cache.
	Runs cache.RunTotals `json:"runs"`
	// Classifier says where an imported classifier matrix is from, nil without one.
	Classifier *derived.ClassifierInfo `json:"classifier,omitempty"`
}

// Caches looks at all manifests of the teacher caches of the dataset in dir, sorted by name;
// at no embedding. The errors are those of [store.Open] and [cache.Open]. What is wrong with one
// cache keeps nothing from being said of the others: the list is nil only if there is nothing to
// say.
func Caches(dir string, options ...store.Option) (states []Cache, err error) {
	d, err := store.Open(dir, options...)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, d.Close()) }()
	return caches(d)
}

func caches(d *store.Dataset) ([]Cache, error) {
	names, err := cache.Names(d)
	if err != nil {
		return nil, err
	}
	states := []Cache{}
	for _, name := range names {
		t, openErr := cache.Open(d, name)
		if openErr != nil {
			err = errors.Join(err, openErr)
			continue
		}
		s, stateErr := stateOf(t)
		states, err = append(states, s), errors.Join(err, stateErr, errors.Join(t.Losses()...))
	}
	return states, err
}

func stateOf(t *cache.Cache) (s Cache, err error) {
	s = Cache{Info: t.Info(), Rows: t.Rows(), Invalid: t.Invalid(), MissingShards: len(t.MissingShards()), Bytes: t.Bytes()}
	s.Missing = t.Dataset().Rows() - s.Rows
	s.Centres, s.CentresBytes = derived.CentresState(t)
	s.Neighbours, s.NeighboursBytes = derived.NeighboursState(t)
	s.Alignment, s.AlignmentBytes = derived.AlignmentState(t)
	s.Classifier, err = derived.FindClassifier(t)
	runs, runsErr := t.Runs()
	s.Runs = cache.SumRuns(runs)
	if s.MissingShards == 0 {
		var digestErr error
		s.Digest, digestErr = t.Digest()
		err = errors.Join(err, digestErr)
	}
	return s, errors.Join(err, runsErr)
}
