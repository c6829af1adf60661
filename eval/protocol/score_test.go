package protocol

import (
	"errors"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"facepipe/eval/internal/facestest"
	"facepipe/eval/verification"
)

// randomEmbeddings have little to do with the crops.
func randomEmbeddings(s *pairs, seed uint64) [][]float32 {
	return facestest.Embeddings(s.names, seed, 0)
}

func evaluate(t *testing.T, p Protocol, embeddings [][]float32) verification.Result {
	t.Helper()
	result, err := p.Evaluate(t.Context(), Rows(embeddings), Settings{FAR: []float64{0.1, 0.01}})
	if err != nil {
		t.Fatal(err)
	}
	return *result.Verification
}

func TestScoreIgnoresNorms(t *testing.T) {
	s := lfw(t)
	embeddings := facestest.Embeddings(s.names, 3, 0.8)
	want := evaluate(t, s, embeddings)
	if want.Accuracy < 0.6 || want.Accuracy > 0.99 {
		t.Fatalf("accuracy %v: the test tells nothing", want.Accuracy)
	}
	before := slices.Clone(embeddings[0])
	scaled := make([][]float32, len(embeddings))
	rng := rand.New(rand.NewPCG(1, 1))
	for i, e := range embeddings {
		factor := float32(math.Exp2(float64(rng.IntN(20) - 10))) // exact
		for _, v := range e {
			scaled[i] = append(scaled[i], factor*v)
		}
	}
	got := evaluate(t, s, scaled)
	if got.Accuracy != want.Accuracy || got.AUC != want.AUC || got.EER != want.EER || got.Threshold != want.Threshold ||
		!slices.Equal(got.OperatingPoints, want.OperatingPoints) {
		t.Errorf("scaled embeddings: %+v, want %+v", got, want)
	}
	if !slices.Equal(before, embeddings[0]) {
		t.Error("Score changed the embeddings")
	}
}

func TestSignalRaisesFigures(t *testing.T) {
	s := lfw(t)
	last := 0.0
	for _, signal := range []float64{0, 0.7, 5} {
		r := evaluate(t, s, facestest.Embeddings(s.names, 3, signal))
		if r.AUC <= last {
			t.Errorf("AUC %v with signal %v, %v with less", r.AUC, signal, last)
		}
		last = r.AUC
	}
	if last != 1 {
		t.Errorf("AUC %v of separated people", last)
	}
}

func TestUnusableEmbeddingsAreNamed(t *testing.T) {
	s := lfw(t)
	embeddings := randomEmbeddings(s, 1)
	bad := slices.Index(s.names, "P03/P03_0001")
	embeddings[bad][7] = float32(math.NaN())
	zero := slices.Index(s.names, "P03/P03_0004")
	clear(embeddings[zero])
	_, err := score(s, embeddings, nil)
	var unusable *UnusableError
	if !errors.As(err, &unusable) {
		t.Fatalf("error %v, want an UnusableError", err)
	}
	// P03/1 is in three same pairs, in one as the first of a different pair and in
	// one as the second; P03/4 only in a same pair, counted already.
	if unusable.Pairs != 5 || unusable.Listed != 60 || unusable.Named != 40 || !slices.Equal(unusable.Crops, []string{"P03/P03_0001", "P03/P03_0004"}) {
		t.Errorf("%+v", unusable)
	}
	for _, part := range []string{"2 of 40 embeddings", "5 of 60 pairs", "P03/P03_0001, P03/P03_0004"} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("error %q lacks %q", err, part)
		}
	}
}

func TestScoreWrongShapes(t *testing.T) {
	s := lfw(t)
	embeddings := randomEmbeddings(s, 1)
	if _, err := score(s, embeddings[1:], nil); err == nil || !strings.Contains(err.Error(), "39 embeddings for 40 crops") {
		t.Errorf("error %v for too few", err)
	}
	embeddings[3] = embeddings[3][1:]
	if _, err := score(s, embeddings, nil); err == nil || !strings.Contains(err.Error(), "embedding 3 has 31 values") {
		t.Errorf("error %v for two dimensions", err)
	}
}
