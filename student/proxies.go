package student

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"facepipe/store"
	"facepipe/store/cache"
	"facepipe/store/derived"
	"facepipe/student/loss"
)

// Sources of vectors of identities, as losses name them.
const (
	fromClassifier = "classifier"
	fromCentres    = "centres"
)

// supply gives losses what they ask for of a teacher, vectors that stand for identities in its
// space and neighbours, and notes which.
type supply struct {
	ctx    context.Context
	run    *run
	failed error // reading them, which is not the loss's fault
}

// vectors is [loss.Env.Proxies] of the teacher at a place.
func (v *supply) vectors(i int) func(source string) (loss.Proxies, error) {
	return func(source string) (loss.Proxies, error) {
		p, err := v.run.give(v.ctx, i, source)
		if err != nil {
			v.failed = err
		}
		return p, err
	}
}

// vectorsKey is the name under which a run records vectors of a teacher: of one of several
// with the teacher's name.
func (r *run) vectorsKey(i int, source string) string {
	if len(r.teachers.names) == 1 {
		return source
	}
	return source + "@" + r.teachers.names[i]
}

// give reads the vectors of the teacher at a place from a source, and notes what they are.
func (r *run) give(ctx context.Context, i int, source string) (loss.Proxies, error) {
	t := r.teachers.caches[i]
	if source == "auto" {
		var err error
		if source, err = r.autoVectors(i); err != nil {
			return loss.Proxies{}, err
		}
	}
	read := r.centreVectors
	if source == fromClassifier {
		read = r.classifierVectors
	}
	p, what, digest, err := read(ctx, t)
	if err != nil {
		return p, err
	}
	if r.manifest.IdentityVectors == nil {
		r.manifest.IdentityVectors = map[string]string{}
	}
	key := r.vectorsKey(i, source)
	if _, said := r.manifest.IdentityVectors[key]; !said {
		r.notes = append(r.notes, aboutVectors(what, r.loader.Labels(), p.Missing))
	}
	r.manifest.IdentityVectors[key] = digest
	return p, nil
}

// aboutVectors says for people what the vectors are.
func aboutVectors(what string, identities, missing int) string {
	text := fmt.Sprintf("vectors of identities are %s: %d of %d have one", what, identities-missing, identities)
	if missing > 0 {
		text = fmt.Sprintf("warning: %s; the crops of the other %d (%.1f%% of the identities) are left out of what is compared with them",
			text, missing, 100*float64(missing)/float64(identities))
	}
	return text
}

// autoVectors is the source that a run takes by itself: the one that it was begun with, or the
// classifier if there is one.
func (r *run) autoVectors(i int) (string, error) {
	if r.found != nil {
		if _, was := r.found.IdentityVectors[r.vectorsKey(i, fromClassifier)]; !was {
			return fromCentres, nil
		}
		return fromClassifier, nil
	}
	info, err := derived.FindClassifier(r.teachers.caches[i])
	if err != nil || info == nil {
		return fromCentres, err
	}
	return fromClassifier, nil
}

// classifierVectors are rows of the teacher's classifier, with what they are and their digest.
func (r *run) classifierVectors(ctx context.Context, t *cache.Cache) (p loss.Proxies, what, digest string, err error) {
	name := t.Info().Name
	c, err := derived.OpenClassifier(t)
	if errors.Is(err, store.ErrNotFound) {
		return p, "", "", usage(fmt.Errorf("teacher %s has no classifier: import it with pipe teachers classifier, or take its class centres (proxies: centres)", name))
	}
	if err != nil {
		return p, "", "", err
	}
	defer func() { err = errors.Join(err, c.Close()) }()
	rows, err := c.RowsOfLabels(ctx, r.ds)
	if err != nil {
		return p, "", "", err
	}
	p, err = r.vectors(ctx, t, fromClassifier, func(label int32, dst []float32) (bool, error) {
		if rows[label] < 0 {
			return false, nil
		}
		_, err := c.Row(int(rows[label]), dst)
		return true, err
	})
	info := c.Info()
	return p, fmt.Sprintf("the classifier of teacher %s (%s, %d rows)", name, info.Origin, info.Rows), info.Digest(), err
}

// centreVectors are the teacher's class centres, derived first where there are none of the
// cache as it is. Their digest is the teacher's: the crops are compared anyway.
func (r *run) centreVectors(ctx context.Context, t *cache.Cache) (p loss.Proxies, what, digest string, err error) {
	c, err := derived.OpenCentres(ctx, t, r.o.Progress)
	if err != nil {
		return p, "", "", err
	}
	defer func() { err = errors.Join(err, c.Close()) }()
	own, err := r.centresWithout(ctx, t)
	if err != nil {
		return p, "", "", err
	}
	p, err = r.vectors(ctx, t, fromCentres, func(label int32, dst []float32) (bool, error) {
		if r.excluded != nil && r.excluded.Labels[label] {
			copy(dst, own[label])
			return own[label] != nil, nil
		}
		_, valid, err := c.Centre(label, dst)
		return valid, err
	})
	info := t.Info()
	return p, "the class centres of teacher " + info.Name, info.Fingerprint, err
}

// centresWithout are the class centres of the identities of which some crops are excluded, made
// of the others.
func (r *run) centresWithout(ctx context.Context, t *cache.Cache) (map[int32][]float32, error) {
	if r.excluded == nil || len(r.excluded.Labels) == 0 {
		return nil, nil
	}
	return derived.CentresOf(ctx, t, r.excluded.Labels, func(row int) bool {
		_, out := slices.BinarySearch(r.excluded.Rows, row)
		return !out
	})
}

// vectors reads those of the identities that are trained on: one table of float32, whatever the
// number of classes that the source knows. read reports whether there is one of a label of the
// dataset's.
func (r *run) vectors(ctx context.Context, t *cache.Cache, source string, read func(label int32, dst []float32) (bool, error)) (loss.Proxies, error) {
	labels, dim := r.loader.DatasetLabels(), t.Info().Dim
	p := loss.Proxies{Source: source, Dim: dim, Vectors: make([]float32, len(labels)*dim)}
	for n, label := range labels {
		if n%(1<<12) == 0 && ctx.Err() != nil {
			return p, ctx.Err()
		}
		known, err := read(label, p.Vectors[n*dim:][:dim])
		if err != nil {
			return p, err
		}
		if !known {
			p.Missing++
		}
	}
	return p, nil
}

// sameSupply refuses to go on with other vectors or neighbours than the run was begun with.
func (r *run) sameSupply() error {
	if r.found != nil && !maps.Equal(r.found.Neighbours, r.manifest.Neighbours) {
		return fmt.Errorf("%w: the run in %s was begun with other neighbours: they were %v, now they are %v; find them as they were (pipe teachers neighbours --rebuild with its --k and --exact-up-to), or choose another --out",
			ErrUsage, r.o.Out, r.found.Neighbours, r.manifest.Neighbours)
	}
	if r.found == nil || maps.Equal(r.found.IdentityVectors, r.manifest.IdentityVectors) {
		return nil
	}
	return fmt.Errorf("%w: the run in %s was begun with other vectors of identities: they were %v, now they are %v; put the teacher's classifier back, or choose another --out",
		ErrUsage, r.o.Out, r.found.IdentityVectors, r.manifest.IdentityVectors)
}
