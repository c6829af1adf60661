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
	"facepipe/store"
	"facepipe/store/cache"
)

// ReplayOptions are the settings of [Replay].
type ReplayOptions struct {
	Dataset string
	// Teacher is the cache's name, "" the only one there is; Model the ONNX file it was
	// made with.
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
	// Rows is the number of crops that were embedded again, Compared that of their
	// embeddings, mirror images' too, which the cache and the model both have.
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
	// OK says that all that were compared agree and none changed, also if there was nothing
	// to compare.
	OK bool `json:"ok"`
}

// maxNormError is the relative difference of norms that passes: far above what another
// processor's arithmetic does, far below what another scaling does.
const maxNormError = 0.01

// Replay embeds N random crops again, under the contract that the cache records, and
// compares the outcome with the cache. store.ErrNotFound if there is no such cache,
// [ErrSeveral], store.ErrFingerprint if the model file is not the cache's.
func Replay(ctx context.Context, o ReplayOptions) (ReplayReport, error) {
	ds, err := store.Open(o.Dataset)
	if err != nil {
		return ReplayReport{}, err
	}
	defer ds.Close()
	if o.Teacher, err = named(ds, o.Teacher); err != nil {
		return ReplayReport{}, err
	}
	kept, err := openComplete(ds, o.Teacher)
	if err != nil {
		return ReplayReport{}, err
	}
	model, err := openAs(kept.Info(), o)
	if err != nil {
		return ReplayReport{}, err
	}
	defer model.Close()
	rows := sample(ds.Rows(), o.N, o.Seed)
	shards, err := openShards(ds, kept, rows)
	defer closeShards(shards)
	if err != nil {
		return ReplayReport{}, err
	}
	crops := ds.CropReader()
	defer crops.Close()
	c := comparison{cached: make([]float32, model.Dim()), info: kept.Info(), drift: newDrift(kept.Info().DType, 1)}
	bar := progress.New(o.Progress, "replay", int64(len(rows))).Of("crops")
	defer bar.Finish()
	_, err = model.Stream(ctx, len(rows), func(i int, rgb []byte) error {
		return crops.DecodeRGB(ds.Locate(rows[i]), rgb)
	}, func(i int, fresh [][]float32) error {
		bar.Add(1)
		at := ds.Locate(rows[i])
		return c.compare(shards[at.Shard], int(at.Row), fresh)
	}, embed.StreamOptions{Flips: flips(c.info.Flip)})
	report := c.report(o)
	report.OK = report.OK && err == nil
	return report, err
}

// ErrSeveral marks a dataset with several teacher caches, of which one was to be named.
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

// openAs opens the model under the cache's own contract.
func openAs(info cache.Info, o ReplayOptions) (*embed.Model, error) {
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
	// Caches do not all record whether they were made in half precision; their fingerprints
	// tell.
	fingerprint := func(half bool) string { return embed.Fingerprint(digest, contract, info.Flip, info.DType, half) }
	o.Runtime.Half = fingerprint(true) == info.Fingerprint
	foreign := fmt.Errorf("%w: teacher %s: its fingerprint is not that of its own model and preprocessing", store.ErrFingerprint, info.Name)
	if fingerprint(o.Runtime.Half) != info.Fingerprint {
		return nil, foreign
	}
	model, err := embed.Open(o.Model, embed.Options{Contract: &contract, Batch: o.Batch, Runtime: o.Runtime})
	switch {
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

// openShards opens the shards of a cache that hold rows. They stay open for the whole
// replay, as an opened shard verifies its checksums anew. What it opened is to be closed
// even when there is an error.
func openShards(ds *store.Dataset, kept *cache.Cache, rows []int) (map[uint32]*cache.Shard, error) {
	open := map[uint32]*cache.Shard{}
	for _, row := range rows {
		number := ds.Locate(row).Shard
		if _, done := open[number]; done {
			continue
		}
		shard, err := kept.Shard(int(number))
		if err != nil {
			return open, err
		}
		open[number] = shard
	}
	return open, nil
}

func closeShards(open map[uint32]*cache.Shard) {
	for _, s := range open {
		s.Close()
	}
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
func (c *comparison) compare(kept *cache.Shard, row int, fresh [][]float32) error {
	c.drift.see(c.rows, fresh[0])
	c.rows++
	for k, flip := range flips(c.info.Flip) {
		norm, valid, err := kept.Row(row, flip, c.cached)
		switch {
		case err != nil:
			return err
		case valid != (faultOf(fresh[k], c.info.DType) == none):
			c.changed++
		case valid:
			c.cosines = append(c.cosines, cosine(fresh[k], c.cached))
			c.worst = max(c.worst, math.Abs(length(fresh[k])/float64(norm)-1))
		}
	}
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

func length(v []float32) float64 {
	sum := 0.0
	for _, x := range v {
		sum += float64(x) * float64(x)
	}
	return math.Sqrt(sum)
}

// cosine is of two vectors that are usable.
func cosine(a, b []float32) float64 {
	sum := 0.0
	for i := range a {
		sum += float64(a[i]) * float64(b[i])
	}
	return sum / (length(a) * length(b))
}
