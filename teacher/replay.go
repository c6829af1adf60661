package teacher

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"strings"

	"facepipe/internal/embed"
	"facepipe/internal/ort"
	"facepipe/internal/progress"
	"facepipe/internal/vec"
	"facepipe/internal/verdict"
	"facepipe/store"
	"facepipe/store/cache"
)

// ReplayOptions are the settings of [Replay].
type ReplayOptions struct {
	Dataset string
	// Teacher is the cache's name, "" for the dataset's only one. Model is the ONNX file that
	// it was made with.
	Teacher string
	Model   string
	// N crops are drawn by Seed, all of them if there are no more.
	N    int
	Seed uint64
	// MinCosine is the lowest agreement that passes; 0 takes 0.9999 for fp32 caches
	// and 0.999 for fp16 ones.
	MinCosine float64
	// Batch is that of embed.Options.
	Batch int
	// Runtime says what runs the model.
	Runtime ort.Options
	// Progress receives the bar; nil is silent.
	Progress io.Writer
}

// ReplayReport is how far the cache agrees with the model today.
type ReplayReport struct {
	Teacher string `json:"teacher"`
	// Rows is the number of crops that were embedded again. Compared is the number of their
	// embeddings, with those of mirror images, that both the cache and the model have.
	Rows     int `json:"rows"`
	Compared int `json:"compared"`
	// Changed is the number of embeddings that only one of the two has.
	Changed int `json:"changed"`
	// MinCosine and MeanCosine are between cached and new embeddings; 0 if there is
	// nothing to compare.
	MinCosine  float64 `json:"min_cosine"`
	MeanCosine float64 `json:"mean_cosine"`
	// MaxNormError is the largest relative difference of a norm.
	MaxNormError float64 `json:"max_norm_error"`
	// Drift is what half precision alone does to the new embeddings; nil for fp32.
	Drift *cache.Drift `json:"fp16_drift,omitempty"`
	// OK says that all compared embeddings agree and none changed. It is true if there was
	// nothing to compare.
	OK bool `json:"ok"`
}

// maxNormError is the relative difference of norms that passes. Another processor's arithmetic
// makes far less, another scaling far more.
const maxNormError = 0.01

// Replay embeds N random crops again, under the contract that the cache records, and
// compares the outcome with the cache. store.ErrNotFound if there is no such cache,
// [ErrSeveral], store.ErrFingerprint if the model file is not the cache's.
func Replay(ctx context.Context, o ReplayOptions) (ReplayReport, error) {
	ds, err := store.Open(o.Dataset, store.WithContext(ctx))
	if err != nil {
		return ReplayReport{}, err
	}
	defer ds.Close()
	if o.Teacher, err = named(ds, o.Teacher); err != nil {
		return ReplayReport{}, err
	}
	cache, err := OpenComplete(ds, o.Teacher)
	if err != nil {
		return ReplayReport{}, err
	}
	model, err := openAs(ctx, cache.Info(), ds.Contract().CropSize, o)
	if err != nil {
		return ReplayReport{}, err
	}
	defer model.Close()
	rows := sample(ds.Rows(), o.N, o.Seed)
	cached, err := OpenRows(ds, cache, rows)
	if err != nil {
		return ReplayReport{}, err
	}
	defer cached.Close()
	crops := ds.CropReader()
	defer crops.Close()
	c := comparison{cached: make([]float32, model.Dim()), info: cache.Info(), drift: newDrift(cache.Info().DType, 1)}
	bar := progress.New(o.Progress, "replay", int64(len(rows))).Of("crops")
	defer bar.Finish()
	_, err = model.Stream(ctx, len(rows), func(i int, rgb []byte) error {
		return crops.DecodeRGB(ds.Locate(rows[i]), rgb)
	}, func(i int, fresh [][]float32) error {
		bar.Add(1)
		return c.compare(cached, rows[i], fresh)
	}, embed.StreamOptions{Flips: flips(c.info.Flip)})
	report := c.report(o)
	report.OK = report.OK && err == nil
	return report, err
}

// ErrSeveral marks a dataset with several teacher caches, of which the caller must name one.
var ErrSeveral = errors.New("several teacher caches")

// named is the name of a cache, where "" stands for a dataset's only one.
func named(ds *store.Dataset, name string) (string, error) {
	if name != "" {
		return name, nil
	}
	names, err := cache.Names(ds)
	switch {
	case err != nil:
		return "", err
	case len(names) == 0:
		return "", fmt.Errorf("teacher cache of %s: %w", ds.Dir(), store.ErrNotFound)
	case len(names) > 1:
		return "", fmt.Errorf("%s has %w: name %s with --teacher", ds.Dir(), ErrSeveral, strings.Join(names, " or "))
	}
	return names[0], nil
}

// openAs opens the model under the cache's own contract, for crops of a side.
func openAs(ctx context.Context, info cache.Info, crop int, o ReplayOptions) (*embed.Model, error) {
	digest, err := embed.Digest(o.Model)
	if err != nil {
		return nil, err
	}
	if digest != info.ModelDigest {
		return nil, fmt.Errorf("%w: teacher %s was made with %s (%.12s…), %s is another model (%.12s…)", store.ErrFingerprint,
			info.Name, info.ModelFile, info.ModelDigest, o.Model, digest)
	}
	var contract embed.Preprocess
	if err := json.Unmarshal(info.Preprocess, &contract); err != nil {
		return nil, fmt.Errorf("%w: teacher %s: preprocessing: %w", store.ErrDamaged, info.Name, err)
	}
	outputs := embed.Outputs{Embedding: info.Output, Norm: info.NormOutput}
	// Old caches do not record whether they were made in half precision. Their fingerprints
	// tell.
	fingerprint := func(half bool) string {
		return embed.Fingerprint(digest, contract, outputs, info.Flip, info.DType, embed.Rounding{Half: half, TF32: info.TF32})
	}
	o.Runtime.Half, o.Runtime.TF32 = fingerprint(true) == info.Fingerprint, info.TF32
	foreign := fmt.Errorf("%w: teacher %s: its fingerprint is not that of its own model and preprocessing", store.ErrFingerprint, info.Name)
	if fingerprint(o.Runtime.Half) != info.Fingerprint {
		return nil, foreign
	}
	model, err := embed.Open(ctx, o.Model, embed.Options{Contract: &contract, Output: outputs.Embedding, Norm: outputs.Norm, Crop: crop, Batch: o.Batch, Runtime: o.Runtime})
	switch {
	case err != nil && o.Runtime.TF32:
		return nil, fmt.Errorf("teacher %s was computed with TF32, by a --provider that can: %w", info.Name, err)
	case err != nil && o.Runtime.Half:
		return nil, fmt.Errorf("teacher %s was computed in half precision, by the --provider that can: %w", info.Name, err)
	case err != nil:
		return nil, err
	case model.Dim() != info.Dim:
		model.Close()
		return nil, foreign
	}
	return model, nil
}

// comparison collects how cached and new embeddings agree.
type comparison struct {
	info    cache.Info
	cached  []float32 // one row
	rows    int
	changed int
	cosines []float64
	worst   float64 // relative difference of norms
	drift   *driftMeter
}

// compare takes one crop's new embeddings: plain, then of the mirror image.
func (c *comparison) compare(cached *Rows, row int, fresh [][]float32) error {
	for k, flip := range flips(c.info.Flip) {
		judged := verdict.Of(fresh[k], c.info.DType == cache.FP16)
		if !flip {
			c.drift.see(c.rows, fresh[k], judged.Fault)
		}
		norm, valid, err := cached.Row(row, flip, c.cached)
		switch {
		case err != nil:
			return err
		case valid != (judged.Fault == verdict.None):
			c.changed++
		case valid:
			c.cosines = append(c.cosines, vec.Cosine(fresh[k], c.cached))
			c.worst = max(c.worst, math.Abs(vec.Norm(fresh[k])/float64(norm)-1))
		}
	}
	c.rows++
	return nil
}

func (c *comparison) report(o ReplayOptions) ReplayReport {
	r := ReplayReport{Teacher: o.Teacher, Rows: c.rows, Compared: len(c.cosines), Changed: c.changed, MaxNormError: c.worst,
		Drift: c.drift.result()}
	for i, v := range c.cosines {
		if i == 0 || v < r.MinCosine {
			r.MinCosine = v
		}
		r.MeanCosine += v / float64(len(c.cosines))
	}
	r.OK = r.Changed == 0 && (r.Compared == 0 || r.MinCosine >= o.limit(c.info.DType) && r.MaxNormError <= maxNormError)
	return r
}

func (o ReplayOptions) limit(dtype string) float64 {
	switch {
	case o.MinCosine > 0:
		return o.MinCosine
	case dtype == cache.FP32:
		return 0.9999
	}
	return 0.999
}
