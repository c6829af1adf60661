package compare_test

import (
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"facepipe/store"
	"facepipe/teacher/compare"
	"facepipe/teacher/teachertest"
)

// noisy are embeddings near one direction for each of some identities.
func noisy(identities int, noise float64, seed uint64) func(row int) []float32 {
	return func(row int) []float32 {
		person, own := rand.New(rand.NewPCG(9, uint64(row%identities))), rand.New(rand.NewPCG(seed, uint64(row)))
		e := make([]float32, 32)
		for i := range e {
			e[i] = float32(person.NormFloat64() + noise*own.NormFloat64())
		}
		return e
	}
}

func TestCompare(t *testing.T) {
	const identities = 5
	dir := teachertest.People(t, identities, 6)
	good, scaled := noisy(identities, 0.3, 1), noisy(identities, 0.3, 1)
	teachertest.Cache(t, dir, "good", 32, good)
	teachertest.Cache(t, dir, "scaled", 32, func(row int) []float32 {
		e := scaled(row)
		for i := range e {
			e[i] *= float32(2 + row) // norms are no part of it
		}
		return e
	})
	teachertest.Cache(t, dir, "random", 8, func(row int) []float32 {
		rng := rand.New(rand.NewPCG(3, uint64(row)))
		e := make([]float32, 8)
		for i := range e {
			e[i] = float32(rng.NormFloat64())
		}
		return e
	})
	teachertest.Cache(t, dir, "blind", 32, func(row int) []float32 {
		if row < 15 {
			return nil
		}
		return good(row)
	})
	agree := func(a, b string) compare.Result {
		t.Helper()
		c, err := compare.Run(t.Context(), compare.Options{Dataset: dir, A: a, B: b, Pairs: 4000, Seed: 5})
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	c := agree("good", "scaled")
	if c.Pairs != 4000 || c.Same != 2000 || c.Different != 2000 || c.Skipped != 0 || *c.Spearman < 0.99999 || *c.SpearmanSame < 0.9999 {
		t.Errorf("one teacher under two names: %+v, %v", c, *c.Spearman)
	}
	if good := c.Teachers[0]; good.Teacher != "good" || good.ModelFile != "good.onnx" || *good.AUC != 1 || *good.MeanSame < 0.8 || math.Abs(*good.MeanDifferent) > 0.3 {
		t.Errorf("good: %+v, area %v", good, *good.AUC)
	}
	c = agree("good", "random")
	if math.Abs(*c.SpearmanSame) > 0.4 || math.Abs(*c.SpearmanDifferent) > 0.2 || math.Abs(*c.Teachers[1].AUC-0.5) > 0.2 {
		t.Errorf("a teacher that guesses: %v, %v, area %v", *c.SpearmanSame, *c.SpearmanDifferent, *c.Teachers[1].AUC)
	}
	if again := agree("good", "random"); *again.Spearman != *c.Spearman {
		t.Error("one seed gave two results")
	}
	if c = agree("good", "blind"); c.Skipped == 0 || c.Pairs+c.Skipped != 4000 || *c.Spearman < 0.99999 {
		t.Errorf("a teacher that is blind to half: %+v", c)
	}
}

// Without identities there is agreement, but nothing to separate.
func TestCompareWithoutIdentities(t *testing.T) {
	dir := teachertest.People(t, 0, 12)
	teachertest.Cache(t, dir, "a", 32, noisy(12, 0.1, 1))
	teachertest.Cache(t, dir, "b", 32, noisy(12, 0.1, 2))
	c, err := compare.Run(t.Context(), compare.Options{Dataset: dir, A: "a", B: "b"})
	if err != nil || c.Pairs != compare.DefaultPairs || c.Same+c.Different != 0 || *c.Spearman < 0.8 || c.SpearmanSame != nil || c.Teachers[0].AUC != nil || c.Teachers[1].MeanSame != nil {
		t.Errorf("%+v, %v", c, err)
	}
}

func TestCompareRefuses(t *testing.T) {
	dir, grown, one := teachertest.People(t, 0, 14), teachertest.People(t, 0, 6), teachertest.People(t, 0, 1)
	teachertest.Cache(t, dir, "a", 4, func(int) []float32 { return []float32{1, 2, 3, 4} })
	teachertest.Cache(t, one, "a", 4, func(int) []float32 { return []float32{1, 2, 3, 4} })
	teachertest.Cache(t, grown, "a", 4, func(int) []float32 { return []float32{1, 2, 3, 4} })
	teachertest.Append(t, grown, 0, 6, 14)
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	for name, c := range map[string]struct {
		ctx  context.Context
		o    compare.Options
		want error
		say  string
	}{
		"no dataset":  {t.Context(), compare.Options{Dataset: t.TempDir(), A: "a", B: "a"}, store.ErrNotFound, ""},
		"no cache":    {t.Context(), compare.Options{Dataset: dir, A: "a", B: "none"}, store.ErrNotFound, "none"},
		"half of one": {t.Context(), compare.Options{Dataset: grown, A: "a", B: "a"}, nil, "lacks 2 of 3 shards"},
		"one crop":    {t.Context(), compare.Options{Dataset: one, A: "a", B: "a"}, nil, "no two crops"},
		"cancelled":   {cancelled, compare.Options{Dataset: dir, A: "a", B: "a"}, context.Canceled, ""},
	} {
		if _, err := compare.Run(c.ctx, c.o); err == nil || c.want != nil && !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.say) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
