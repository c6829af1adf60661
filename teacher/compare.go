package teacher

import (
	"context"
	"fmt"
	"io"

	"facepipe/internal/progress"
	"facepipe/store"
	"facepipe/store/cache"
)

// DefaultPairs is the number of pairs that [Compare] draws if it is not told: the rank
// correlation of that many is known to about 0.01.
const DefaultPairs = 10000

// CompareOptions are the settings of [Compare].
type CompareOptions struct {
	Dataset string
	// A and B are the names of the caches.
	A, B string
	// Pairs of crops are drawn by Seed; 0 takes [DefaultPairs].
	Pairs int
	Seed  uint64
	// Progress receives the bar; nil is silent.
	Progress io.Writer
}

// Comparison says how far two teachers agree on which crops are alike, and how well
// each tells people apart. Correlations and means are absent (nil) where there are too
// few pairs, or none that differ.
type Comparison struct {
	Dataset string `json:"dataset"`
	Seed    uint64 `json:"seed"`
	// Pairs that were compared: Same of one identity, Different of two; all others, of
	// a dataset without identities, are neither. Skipped pairs have a crop of which
	// one of the teachers gave no usable embedding.
	Pairs     int `json:"pairs"`
	Same      int `json:"same"`
	Different int `json:"different"`
	Skipped   int `json:"skipped"`
	// Spearman is the rank correlation, -1 to 1, of the two teachers' cosine
	// similarities over all pairs; the others are over those of one kind. (Over all
	// pairs, two teachers correlate already for telling people apart.)
	Spearman          *float64 `json:"spearman"`
	SpearmanSame      *float64 `json:"spearman_same"`
	SpearmanDifferent *float64 `json:"spearman_different"`
	// Teachers are A and B.
	Teachers [2]Separation `json:"teachers"`
}

// Separation is how well a teacher tells pairs of one identity from others.
type Separation struct {
	Teacher     string `json:"teacher"`
	ModelFile   string `json:"model_file"`
	Fingerprint string `json:"fingerprint"`
	// AUC is the area under the ROC curve: the probability that a pair of one identity
	// is more alike than a pair of two.
	AUC *float64 `json:"auc"`
	// MeanSame and MeanDifferent are mean cosine similarities.
	MeanSame      *float64 `json:"mean_same"`
	MeanDifferent *float64 `json:"mean_different"`
}

// Compare draws random pairs of crops, half of one identity and half of two as far as
// the dataset has both, and compares what two caches hold of them. The same seed draws
// the same pairs. Memory grows with the pairs, and by 8 bytes a crop. Errors:
// store.ErrNotFound, store.ErrDamaged; a cache that lacks shards is one.
func Compare(ctx context.Context, o CompareOptions) (Comparison, error) {
	if o.Pairs == 0 {
		o.Pairs = DefaultPairs
	}
	ds, err := store.Open(o.Dataset)
	if err != nil {
		return Comparison{}, err
	}
	defer ds.Close()
	var caches [2]*cache.Cache
	for i, name := range []string{o.A, o.B} {
		if caches[i], err = openComplete(ds, name); err != nil {
			return Comparison{}, err
		}
	}
	labels, err := ds.Labels(ctx)
	if err != nil {
		return Comparison{}, err
	}
	pairs := newPairDeck(labels).draw(o.Pairs, o.Seed)
	c := Comparison{Dataset: o.Dataset, Seed: o.Seed}
	if len(pairs) == 0 {
		return c, fmt.Errorf("compare teachers of %s: it has no two crops", o.Dataset)
	}
	s, err := measure(ctx, ds, caches, pairs, progress.New(o.Progress, "compare", int64(2*len(pairs))))
	if err != nil {
		return c, err
	}
	c.conclude(s)
	for i, kept := range caches {
		info := kept.Info()
		c.Teachers[i].Teacher, c.Teachers[i].ModelFile, c.Teachers[i].Fingerprint = info.Name, info.ModelFile, info.Fingerprint
	}
	c.Skipped = len(pairs) - c.Pairs
	return c, nil
}

// openComplete opens a cache that must lack no shard.
func openComplete(ds *store.Dataset, name string) (*cache.Cache, error) {
	t, err := cache.Open(ds, name)
	if err != nil {
		return nil, err
	}
	if missing := t.MissingShards(); len(missing) > 0 {
		return nil, fmt.Errorf("teacher %s of %s lacks %d of %d shards: run precompute-teacher again", name, ds.Dir(), len(missing), ds.Shards())
	}
	return t, nil
}

// similarities are the cosines of the pairs that both teachers see.
type similarities struct {
	kinds   []pairKind
	cosines [2][]float64
}

// measure takes the cosines of pairs from both caches.
func measure(ctx context.Context, ds *store.Dataset, caches [2]*cache.Cache, pairs []pair, bar *progress.Bar) (*similarities, error) {
	defer bar.Finish()
	var cosines [2][]float64
	valid := make([]bool, len(pairs))
	for i := range valid {
		valid[i] = true
	}
	for i, kept := range caches {
		var err error
		if cosines[i], err = cosinesOf(ctx, ds, kept, pairs, valid, bar); err != nil {
			return nil, err
		}
	}
	s := &similarities{}
	for n, p := range pairs {
		if !valid[n] {
			continue
		}
		s.kinds = append(s.kinds, p.kind)
		for i := range cosines {
			s.cosines[i] = append(s.cosines[i], cosines[i][n])
		}
	}
	return s, nil
}

// cosinesOf are a cache's cosine similarities of pairs; it marks those that it has none
// of as not valid.
func cosinesOf(ctx context.Context, ds *store.Dataset, kept *cache.Cache, pairs []pair, valid []bool, bar *progress.Bar) ([]float64, error) {
	var rows []int
	for _, p := range pairs {
		rows = append(rows, p.a, p.b)
	}
	shards, err := openShards(ds, kept, rows)
	defer closeShards(shards)
	if err != nil {
		return nil, err
	}
	dim := kept.Info().Dim
	a, b := make([]float32, dim), make([]float32, dim)
	read := func(row int, dst []float32) (bool, error) {
		at := ds.Locate(row)
		_, usable, err := shards[at.Shard].Row(int(at.Row), false, dst)
		return usable, err
	}
	cosines := make([]float64, len(pairs))
	for n, p := range pairs {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		hasA, err := read(p.a, a)
		if err != nil {
			return nil, err
		}
		hasB, err := read(p.b, b)
		if err != nil {
			return nil, err
		}
		if hasA && hasB {
			cosines[n] = cosine(a, b)
		} else {
			valid[n] = false
		}
		bar.Add(1)
	}
	return cosines, nil
}

// conclude makes figures of the cosines.
func (c *Comparison) conclude(s *similarities) {
	c.Pairs = len(s.kinds)
	c.Spearman = spearman(s.cosines[0], s.cosines[1])
	same, different := s.of(samePerson), s.of(twoPeople)
	c.Same, c.Different = len(same.kinds), len(different.kinds)
	c.SpearmanSame = spearman(same.cosines[0], same.cosines[1])
	c.SpearmanDifferent = spearman(different.cosines[0], different.cosines[1])
	for i := range c.Teachers {
		c.Teachers[i] = Separation{
			AUC:           auc(same.cosines[i], different.cosines[i]),
			MeanSame:      mean(same.cosines[i]),
			MeanDifferent: mean(different.cosines[i]),
		}
	}
}

// of are the similarities of one kind of pairs.
func (s *similarities) of(kind pairKind) *similarities {
	part := &similarities{}
	for n, k := range s.kinds {
		if k != kind {
			continue
		}
		part.kinds = append(part.kinds, k)
		for i := range s.cosines {
			part.cosines[i] = append(part.cosines[i], s.cosines[i][n])
		}
	}
	return part
}
