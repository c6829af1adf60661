package eval

import (
	"context"
	"fmt"
	"time"

	"facepipe/eval/embeddings"
	"facepipe/eval/faces"
	"facepipe/internal/embed"
	"facepipe/internal/progress"
	"facepipe/internal/selfcheck"
	"facepipe/internal/vec"
	"facepipe/store"
)

// Embedded is a file of embeddings in numbers.
type Embedded struct {
	// File has Rows embeddings of Dim numbers of 32 bits, as the model gives them; Keys is the
	// file of their keys, "" where the file has them itself.
	File string `json:"file"`
	Keys string `json:"keys,omitempty"`
	Rows int    `json:"rows"`
	Dim  int    `json:"dim"`
	// Faces is the set that was embedded.
	Faces faces.Description `json:"faces"`
	// Model is the path as given, Digest the SHA-256 of the model.
	Model            string           `json:"model"`
	Digest           string           `json:"digest"`
	Preprocess       embed.Preprocess `json:"preprocess"`
	PreprocessReason string           `json:"preprocess_reason"`
	// Flip says whether the mirror image's embedding was added to each.
	Flip bool `json:"flip"`
	// Unusable are the keys of embeddings that are zero or not finite. They are written as they
	// are.
	Unusable []string          `json:"unusable"`
	Notes    []string          `json:"notes,omitempty"`
	SelfTest *selfcheck.Result `json:"self_test,omitempty"`
	// Seconds is the time that embedding took, reading and writing included.
	Seconds         float64 `json:"seconds"`
	ImagesPerSecond float64 `json:"images_per_second"`
}

// Embed embeds all faces of a set with the only model of o into a file, whose ending is one of
// [embeddings.Endings]. Of o only what tells how a model is run counts. Memory does not grow with
// the set. The file has its name when it is complete; a run that was stopped leaves none.
func Embed(ctx context.Context, o Options, set faces.Set, out string) (Embedded, error) {
	m := &model{o: &o, path: o.Models[0]}
	defer m.close()
	labels, err := set.Labels(ctx)
	if err != nil {
		return Embedded{}, err
	}
	err = m.open(ctx, set.CropSize(), func() selfcheck.Faces {
		return facesOf(set.Len(), personsOf(labels, set.Identities(), selfcheck.People), set.Decode)
	})
	if err != nil {
		return Embedded{}, err
	}
	w, err := embeddings.Create(out, set.Len(), m.m.Dim())
	if err != nil {
		return Embedded{}, err
	}
	defer w.Abort()
	s := Embedded{
		File: out, Keys: w.Keys(), Rows: set.Len(), Dim: m.m.Dim(), Faces: set.Describe(), Model: m.path, Digest: m.m.Digest(),
		Preprocess: m.m.Preprocess(), PreprocessReason: m.m.Reason(), Flip: o.Flip, Unusable: []string{}, Notes: m.notes, SelfTest: m.selfTest,
	}
	begun := time.Now()
	bar := progress.New(o.Progress, "embed with "+m.path, int64(set.Len())).Of("crops")
	defer bar.Finish()
	_, err = m.m.Stream(ctx, set.Len(), set.Decode, func(i int, rows [][]float32) error {
		bar.Add(1)
		head, err := set.Head(i)
		if err != nil {
			return err
		}
		e := rows[0]
		if o.Flip {
			e = Sum(rows)
		}
		if !vec.HasDirection(vec.Norm(e)) {
			s.Unusable = append(s.Unusable, head.Key)
		}
		return w.Add(head.Key, head.Identity, e)
	}, embed.StreamOptions{Flips: Flips(o.Flip)})
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		return Embedded{}, fmt.Errorf("embed with model %s: %w", m.path, err)
	}
	s.Seconds = time.Since(begun).Seconds()
	s.ImagesPerSecond = float64(s.Rows) / s.Seconds
	return s, nil
}

// personsOf are up to n pairs of places that show one person each, spread over the people.
func personsOf(labels []int32, people, n int) [][2]int {
	first := make([]int, people)
	for i := range first {
		first[i] = -1
	}
	var all [][2]int
	for place, label := range labels {
		switch {
		case label == store.NoLabel || first[label] == -2:
		case first[label] == -1:
			first[label] = place
		default:
			all = append(all, [2]int{first[label], place})
			first[label] = -2 // has its pair
		}
	}
	if len(all) <= n {
		return all
	}
	some := make([][2]int, n)
	for i := range some {
		some[i] = all[i*len(all)/n]
	}
	return some
}
