// Package teacher runs a teacher, a strong ONNX face embedder, once over every crop
// of a dataset and caches its embeddings, so that students can be trained at the
// price of the student alone.
//
// The cache is a shard of embeddings for each shard of crops, row for row. A shard
// is committed as a whole; a run that was killed goes on with the shards that are
// missing, and a run over a complete cache computes nothing.
package teacher

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"time"

	"facepipe/internal/embed"
	"facepipe/internal/progress"
	"facepipe/store"
)

// ErrEmbeddings marks a teacher whose embeddings cannot be used.
var ErrEmbeddings = errors.New("unusable embeddings")

// maxInvalid is the share of crops without a finite embedding above which a shard
// is refused: not the crops are at fault then but the model or its preprocessing.
const maxInvalid = 0.5

// Options are the settings of a run.
type Options struct {
	// Dataset is the folder of the dataset.
	Dataset string
	// Model is the teacher's ONNX file, Name its name in the dataset; "" takes the
	// file's name without its ending.
	Model string
	Name  string
	// Preprocess is auto (also ""), arcface, raw or a JSON file; see
	// embed.ResolvePreprocess.
	Preprocess string
	// Flip embeds the mirror image of every crop, too.
	Flip bool
	// DType is store.FP16 or store.FP32; "" is fp16.
	DType string
	// Batch, Threads, Provider and Library are those of embed.Options.
	Batch    int
	Threads  int
	Provider string
	Library  string
	// Workers decode crops; 0 takes one a core.
	Workers int
	// Progress receives the bar and notices; nil is silent.
	Progress io.Writer
}

// Summary is a run in numbers.
type Summary struct {
	Teacher string `json:"teacher"`
	// Rows of the dataset; Computed in this run, Reused from the cache.
	Rows     int `json:"rows"`
	Computed int `json:"computed"`
	Reused   int `json:"reused"`
	// Invalid is the number of crops for which the teacher gave no usable embedding.
	Invalid         int     `json:"invalid"`
	Dim             int     `json:"dim"`
	Seconds         float64 `json:"seconds"`
	ImagesPerSecond float64 `json:"images_per_second"`
	DType           string  `json:"dtype"`
	Flip            bool    `json:"flip"`
	// Preprocess and why it was chosen.
	Preprocess       embed.Preprocess `json:"preprocess"`
	PreprocessReason string           `json:"preprocess_reason"`
	Fingerprint      string           `json:"fingerprint"`
	// Digest identifies the cached embeddings.
	Digest string `json:"digest"`
	// Times are where the seconds of the run went.
	Times embed.Times `json:"-"`
}

// Precompute caches the embeddings of every crop that has none yet.
//
// Errors: those of embed.Open; store.ErrNotFound, store.ErrDamaged, store.ErrLocked;
// store.ErrFingerprint when the name is taken by another model, preprocessing, flip
// or dtype; [ErrEmbeddings]; the context's.
func Precompute(ctx context.Context, o Options) (Summary, error) {
	begun := time.Now()
	if o.DType == "" {
		o.DType = store.FP16
	}
	if o.Name == "" {
		base := filepath.Base(o.Model)
		o.Name = strings.TrimSuffix(base, filepath.Ext(base))
	}
	ds, err := store.Open(o.Dataset)
	if err != nil {
		return Summary{}, err
	}
	defer ds.Close()
	model, err := embed.Open(o.Model, embed.Options{Preprocess: o.Preprocess, Batch: o.Batch, Threads: o.Threads,
		Provider: o.Provider, Library: o.Library})
	if err != nil {
		return Summary{}, err
	}
	defer model.Close()
	if size := ds.Contract().CropSize; model.Preprocess().Height != size || model.Preprocess().Width != size {
		return Summary{}, fmt.Errorf("model %s takes crops of %dx%d, the dataset has %d", o.Model,
			model.Preprocess().Width, model.Preprocess().Height, size)
	}
	r := &run{o: o, ds: ds, model: model}
	s, err := r.fill(ctx)
	s.Seconds = time.Since(begun).Seconds()
	s.ImagesPerSecond = float64(s.Computed) / s.Seconds
	return s, err
}

// run is one process's share of a cache.
type run struct {
	o     Options
	ds    *store.Dataset
	model *embed.Model
	bar   *progress.Bar
	times embed.Times
}

// fill embeds the missing shards.
func (r *run) fill(ctx context.Context) (Summary, error) {
	writer, err := r.claim()
	if err != nil {
		return Summary{}, err
	}
	defer writer.Close()
	missing := writer.MissingShards()
	todo := 0
	for _, i := range missing {
		todo += r.ds.ShardRows(i)
	}
	s := r.summary()
	s.Reused = s.Rows - todo
	if r.o.Progress != nil {
		fmt.Fprintf(r.o.Progress, "teacher %s: %v (%s), batch %d\n", r.o.Name, r.model.Preprocess(), r.model.Reason(), r.model.Batch())
	}
	r.bar = progress.New(r.o.Progress, "precompute", int64(todo))
	for _, i := range missing {
		if err := r.shard(ctx, writer, i); err != nil {
			s.Times = r.times
			return s, r.explain(err)
		}
		s.Computed += r.ds.ShardRows(i)
	}
	r.bar.Finish()
	if err := writer.Close(); err != nil {
		return s, err
	}
	s.Times = r.times
	return s, r.conclude(&s)
}

// claim opens the cache for writing under the model's fingerprint.
func (r *run) claim() (*store.TeacherWriter, error) {
	contract, err := json.Marshal(r.model.Preprocess())
	if err != nil {
		return nil, err
	}
	w, err := r.ds.CreateTeacher(store.TeacherInfo{
		Name: r.o.Name, ModelFile: filepath.Base(r.o.Model), ModelDigest: r.model.Digest(),
		Fingerprint: r.model.Fingerprint(r.o.Flip, r.o.DType), Preprocess: contract, PreprocessReason: r.model.Reason(),
		Dim: r.model.Dim(), DType: r.o.DType, Flip: r.o.Flip,
	})
	if errors.Is(err, store.ErrFingerprint) {
		return nil, fmt.Errorf("%w; give this one its own --name", err)
	}
	return w, err
}

func (r *run) summary() Summary {
	return Summary{Teacher: r.o.Name, Rows: r.ds.Rows(), Dim: r.model.Dim(), DType: r.o.DType, Flip: r.o.Flip,
		Preprocess: r.model.Preprocess(), PreprocessReason: r.model.Reason(),
		Fingerprint: r.model.Fingerprint(r.o.Flip, r.o.DType)}
}

// conclude reads back what only the finished cache can tell.
func (r *run) conclude(s *Summary) error {
	t, err := r.ds.OpenTeacher(r.o.Name)
	if err != nil {
		return err
	}
	s.Invalid = t.Invalid()
	s.Digest, err = t.Digest()
	return err
}

func (r *run) explain(err error) error {
	if errors.Is(err, context.Canceled) {
		return fmt.Errorf("stopped; the finished shards are kept, run the same command again to go on: %w", err)
	}
	return err
}

// flips are the mirrorings to embed.
func (r *run) flips() []bool {
	if r.o.Flip {
		return []bool{false, true}
	}
	return []bool{false}
}

// shard embeds and commits one shard.
func (r *run) shard(ctx context.Context, w *store.TeacherWriter, i int) error {
	crops, err := r.ds.CropShard(i)
	if err != nil {
		return err
	}
	defer crops.Close()
	out, err := w.Shard(i)
	if err != nil {
		return err
	}
	defer out.Abort() // does nothing after Commit
	size := r.ds.Contract().CropSize
	load := func(row int, rgb []byte) error {
		crop, err := crops.Crop(row)
		if err != nil {
			return err
		}
		return crop.DecodeRGB(size, rgb)
	}
	invalid := 0
	emit := func(_ int, rows [][]float32) error {
		r.bar.Add(1)
		if !usable(rows) {
			invalid++
		}
		if r.o.Flip {
			return out.Append(rows[0], rows[1])
		}
		return out.Append(rows[0], nil)
	}
	times, err := r.model.Stream(ctx, crops.Rows(), load, emit, embed.StreamOptions{Flips: r.flips(), Workers: r.o.Workers})
	r.times.Add(times)
	if err != nil {
		return fmt.Errorf("embed shard %d: %w", i, err)
	}
	if n := crops.Rows(); float64(invalid) > maxInvalid*float64(n) {
		return fmt.Errorf("%w: model %s gives NaN, infinite or zero embeddings for %d of the %d crops of shard %d; look at its --preprocess",
			ErrEmbeddings, r.o.Model, invalid, n, i)
	}
	return out.Commit()
}

// usable reports whether every row is finite and not zero.
func usable(rows [][]float32) bool {
	for _, row := range rows {
		sum := float32(0)
		for _, v := range row {
			sum += v * v
		}
		if !(sum > 0) || sum > 3e38 { // NaN fails the first, infinity the second
			return false
		}
	}
	return true
}
