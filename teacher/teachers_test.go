package teacher_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"testing"

	"facepipe/internal/imgcodec"
	"facepipe/store"
	"facepipe/store/cache"
	"facepipe/teacher"
)

// people writes a dataset of n crops of each of some identities, in shards of 6.
func people(t *testing.T, identities, n int) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "faces.ds")
	w, err := store.OpenWriter(dir, contract, store.WriterOptions{ShardRows: 6})
	if err != nil {
		t.Fatal(err)
	}
	source := w.AddSource(store.SourceInfo{Kind: "folder", Path: "test", Detector: "none"})
	for i := range identities * n {
		pixels := crop(i)
		c := store.Crop{ID: store.CropID(contract, pixels), Source: source, Key: fmt.Sprintf("%d/%d", i%identities, i),
			Identity: fmt.Sprintf("p%d", i%identities), Encoding: imgcodec.Raw, Image: pixels}
		if _, err := w.Append(c); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return dir
}

// say writes a cache whose embeddings are those that a function gives; nil for a teacher
// without one.
func say(t *testing.T, dir, name string, dim int, embedding func(row int) []float32) {
	t.Helper()
	ds, err := store.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer ds.Close()
	w, err := cache.Create(ds, cache.Info{Name: name, ModelFile: name + ".onnx", Fingerprint: "print of " + name, Dim: dim, DType: cache.FP32})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	row := 0
	for _, i := range w.MissingShards() {
		out, err := w.Shard(i)
		if err != nil {
			t.Fatal(err)
		}
		for range ds.ShardRows(i) {
			e := embedding(row)
			if e == nil {
				e = make([]float32, dim)
			}
			if err := out.Append(e, nil); err != nil {
				t.Fatal(err)
			}
			row++
		}
		if err := out.Commit(); err != nil {
			t.Fatal(err)
		}
	}
}

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
	dir := people(t, identities, 6)
	good, scaled := noisy(identities, 0.3, 1), noisy(identities, 0.3, 1)
	say(t, dir, "good", 32, good)
	say(t, dir, "scaled", 32, func(row int) []float32 {
		e := scaled(row)
		for i := range e {
			e[i] *= float32(2 + row) // norms are no part of it
		}
		return e
	})
	say(t, dir, "random", 8, func(row int) []float32 {
		rng := rand.New(rand.NewPCG(3, uint64(row)))
		e := make([]float32, 8)
		for i := range e {
			e[i] = float32(rng.NormFloat64())
		}
		return e
	})
	say(t, dir, "blind", 32, func(row int) []float32 {
		if row < 15 {
			return nil
		}
		return good(row)
	})
	compare := func(a, b string) teacher.Comparison {
		t.Helper()
		c, err := teacher.Compare(t.Context(), teacher.CompareOptions{Dataset: dir, A: a, B: b, Pairs: 4000, Seed: 5})
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	c := compare("good", "scaled")
	if c.Pairs != 4000 || c.Same != 2000 || c.Different != 2000 || c.Skipped != 0 || *c.Spearman < 0.99999 || *c.SpearmanSame < 0.9999 {
		t.Errorf("one teacher under two names: %+v, %v", c, *c.Spearman)
	}
	if good := c.Teachers[0]; good.Teacher != "good" || good.ModelFile != "good.onnx" || *good.AUC != 1 || *good.MeanSame < 0.8 || math.Abs(*good.MeanDifferent) > 0.3 {
		t.Errorf("good: %+v, area %v", good, *good.AUC)
	}
	c = compare("good", "random")
	if math.Abs(*c.SpearmanSame) > 0.4 || math.Abs(*c.SpearmanDifferent) > 0.2 || math.Abs(*c.Teachers[1].AUC-0.5) > 0.2 {
		t.Errorf("a teacher that guesses: %v, %v, area %v", *c.SpearmanSame, *c.SpearmanDifferent, *c.Teachers[1].AUC)
	}
	if again := compare("good", "random"); *again.Spearman != *c.Spearman {
		t.Error("one seed gave two results")
	}
	if c = compare("good", "blind"); c.Skipped == 0 || c.Pairs+c.Skipped != 4000 || *c.Spearman < 0.99999 {
		t.Errorf("a teacher that is blind to half: %+v", c)
	}
}

// Without identities there is agreement, but nothing to separate.
func TestCompareWithoutIdentities(t *testing.T) {
	dir := dataset(t, upTo(12)...)
	say(t, dir, "a", 32, noisy(12, 0.1, 1))
	say(t, dir, "b", 32, noisy(12, 0.1, 2))
	c, err := teacher.Compare(t.Context(), teacher.CompareOptions{Dataset: dir, A: "a", B: "b"})
	if err != nil || c.Pairs != teacher.DefaultPairs || c.Same+c.Different != 0 || *c.Spearman < 0.8 || c.SpearmanSame != nil || c.Teachers[0].AUC != nil || c.Teachers[1].MeanSame != nil {
		t.Errorf("%+v, %v", c, err)
	}
}

func TestCompareRefuses(t *testing.T) {
	dir, half, one := dataset(t, upTo(14)...), dataset(t, upTo(14)...), dataset(t, 1)
	say(t, dir, "a", 4, func(int) []float32 { return []float32{1, 2, 3, 4} })
	say(t, one, "a", 4, func(int) []float32 { return []float32{1, 2, 3, 4} })
	interruptAt(t, teacher.Options{Dataset: half, Model: tiny(t, nil)}, 1)
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	for name, c := range map[string]struct {
		ctx  context.Context
		o    teacher.CompareOptions
		want error
		say  string
	}{
		"no dataset":  {t.Context(), teacher.CompareOptions{Dataset: t.TempDir(), A: "a", B: "a"}, store.ErrNotFound, ""},
		"no cache":    {t.Context(), teacher.CompareOptions{Dataset: dir, A: "a", B: "none"}, store.ErrNotFound, "none"},
		"half of one": {t.Context(), teacher.CompareOptions{Dataset: half, A: "tiny", B: "tiny"}, nil, "lacks 2 of 3 shards"},
		"one crop":    {t.Context(), teacher.CompareOptions{Dataset: one, A: "a", B: "a"}, nil, "no two crops"},
		"cancelled":   {cancelled, teacher.CompareOptions{Dataset: dir, A: "a", B: "a"}, context.Canceled, ""},
	} {
		if _, err := teacher.Compare(c.ctx, c.o); err == nil || c.want != nil && !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.say) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
