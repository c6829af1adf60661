// Package compare says how far two teachers agree, by their caches.
//
// Two teachers' spaces have nothing to do with each other, but both order pairs of crops by
// likeness. The rank correlation of these orders is the measure.
package compare

import (
	"context"
	"fmt"
	"io"

	"facepipe/internal/progress"
	"facepipe/internal/vec"
	"facepipe/store"
	"facepipe/store/cache"
	"facepipe/teacher"
)

// DefaultPairs is the default of [Options].Pairs. It gives the rank correlation to about 0.01.
const DefaultPairs = 10000

// Options are the settings of [Run].
type Options struct {
	Dataset string
	// A and B are the names of the caches.
	A, B string
	// Pairs of crops are drawn by Seed; 0 takes [DefaultPairs].
	Pairs int
	Seed  uint64
	// Progress receives the bar; nil is silent.
	Progress io.Writer
}

// Result says how far two teachers agree on which crops are alike, and how well each tells
// people apart. Correlations and means are nil if there are too few pairs, or none that
// differ.
type Result struct {
	Dataset string `json:"dataset"`
	Seed    uint64 `json:"seed"`
	// Pairs that were compared: Same of one identity, Different of two. Pairs of a dataset
	// without identities are neither. Skipped pairs have a crop of which one of the teachers
	// gave no usable embedding.
	Pairs     int `json:"pairs"`
	Same      int `json:"same"`
	Different int `json:"different"`
	Skipped   int `json:"skipped"`
	// Agreement is of the two teachers' cosine similarities.
	vec.Agreement
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

// Run draws random pairs of crops, half of one identity and half of two as far as the
// dataset has both, and compares what two caches hold of them. The same seed draws the same
// pairs. Memory grows with the pairs, and by 8 bytes a crop. Errors: store.ErrNotFound,
// store.ErrDamaged; a cache that lacks shards is an error.
func Run(ctx context.Context, o Options) (Result, error) {
	if o.Pairs == 0 {
		o.Pairs = DefaultPairs
	}
	ds, err := store.Open(o.Dataset)
	if err != nil {
		return Result{}, err
	}
	defer ds.Close()
	var caches [2]*cache.Cache
	for i, name := range []string{o.A, o.B} {
		if caches[i], err = teacher.OpenComplete(ds, name); err != nil {
			return Result{}, err
		}
	}
	labels, err := ds.Labels(ctx)
	if err != nil {
		return Result{}, err
	}
	pairs := newPairDeck(labels).draw(o.Pairs, o.Seed)
	result := Result{Dataset: o.Dataset, Seed: o.Seed}
	if len(pairs) == 0 {
		return result, fmt.Errorf("compare teachers of %s: it has no two crops", o.Dataset)
	}
	s, err := measure(ctx, ds, caches, pairs, progress.New(o.Progress, "compare", int64(2*len(pairs))))
	if err != nil {
		return result, err
	}
	result.conclude(s)
	for i, cache := range caches {
		info := cache.Info()
		result.Teachers[i].Teacher, result.Teachers[i].ModelFile, result.Teachers[i].Fingerprint = info.Name, info.ModelFile, info.Fingerprint
	}
	result.Skipped = len(pairs) - result.Pairs
	return result, nil
}

// similarities are the cosines of the pairs of which both caches have the embeddings.
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
	for i, cache := range caches {
		var err error
		if cosines[i], err = cosinesOf(ctx, ds, cache, pairs, valid, bar); err != nil {
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

// cosinesOf are a cache's cosine similarities of pairs. It marks those that lack an embedding
// as not valid.
func cosinesOf(ctx context.Context, ds *store.Dataset, cache *cache.Cache, pairs []pair, valid []bool, bar *progress.Bar) ([]float64, error) {
	var rows []int
	for _, p := range pairs {
		rows = append(rows, p.a, p.b)
	}
	cached, err := teacher.OpenRows(ds, cache, rows)
	if err != nil {
		return nil, err
	}
	defer cached.Close()
	dim := cache.Info().Dim
	a, b := make([]float32, dim), make([]float32, dim)
	cosines := make([]float64, len(pairs))
	for n, p := range pairs {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		_, hasA, err := cached.Row(p.a, false, a)
		if err != nil {
			return nil, err
		}
		_, hasB, err := cached.Row(p.b, false, b)
		if err != nil {
			return nil, err
		}
		if hasA && hasB {
			cosines[n] = vec.Cosine(a, b)
		} else {
			valid[n] = false
		}
		bar.Add(1)
	}
	return cosines, nil
}

// conclude computes the figures of the cosines.
func (r *Result) conclude(s *similarities) {
	r.Pairs = len(s.kinds)
	kind := func(k pairKind) func(i int) bool { return func(i int) bool { return s.kinds[i] == k } }
	r.Agreement = vec.Agree(s.cosines[0], s.cosines[1], kind(samePerson), kind(twoPeople))
	same, different := s.of(samePerson), s.of(twoPeople)
	r.Same, r.Different = len(same.kinds), len(different.kinds)
	for i := range r.Teachers {
		r.Teachers[i] = Separation{
			AUC:           vec.Defined(vec.AUC(same.cosines[i], different.cosines[i])),
			MeanSame:      vec.Defined(vec.Mean(same.cosines[i])),
			MeanDifferent: vec.Defined(vec.Mean(different.cosines[i])),
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
