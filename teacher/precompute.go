package teacher

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"facepipe/internal/embed"
	"facepipe/internal/imgcodec"
	"facepipe/internal/ort"
	"facepipe/internal/progress"
	"facepipe/store"
)

// Precompute caches the embeddings of every crop that has none yet. The summary comes
// with an error, too, as far as the run got.
//
// Errors: those of embed.Open; store.ErrNotFound, store.ErrDamaged, store.ErrLocked;
// store.ErrFingerprint when the name is taken by another model, preprocessing, flip
// or dtype; store.ErrContract when model and crops differ in size; [ErrEmbeddings],
// [*RejectRateError]; the context's, when the shards that were finished are kept and
// the same call goes on.
func Precompute(ctx context.Context, o Options) (Summary, error) {
	begun := time.Now()
	o = o.withDefaults()
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
	r := &run{o: o, ds: ds, model: model}
	err = r.fill(ctx)
	r.summary.close(begun, r.times)
	return r.summary, err
}

// run is one call of Precompute.
type run struct {
	o       Options
	ds      *store.Dataset
	model   *embed.Model
	bar     *progress.Bar
	donors  *store.Donors // nil without Options.Reuse
	times   embed.Times
	summary Summary
}

// fill embeds the missing shards.
func (r *run) fill(ctx context.Context) error {
	r.describe()
	if err := r.fits(); err != nil {
		return err
	}
	info, err := r.info()
	if err != nil {
		return err
	}
	if err := r.openDonors(info); err != nil {
		return err
	}
	defer r.closeDonors()
	writer, err := r.claim(info)
	if err != nil {
		return err
	}
	defer writer.Close() // again; for the ways out through errors
	missing := writer.MissingShards()
	todo := 0
	for _, i := range missing {
		todo += r.ds.ShardRows(i)
	}
	r.summary.Reused = r.summary.Rows - todo
	if err := r.embed(ctx, writer, missing, todo); err != nil {
		return err
	}
	if err := writer.Close(); err != nil {
		return err
	}
	return r.conclude()
}

// describe tells what will be done before it is, in the summary and to the user.
func (r *run) describe() {
	m, o := r.model, r.o
	r.summary = Summary{Teacher: o.Name, Rows: r.ds.Rows(), Dim: m.Dim(), DType: o.DType, Flip: o.Flip,
		Preprocess: m.Preprocess(), PreprocessReason: m.Reason(),
		Fingerprint: m.Fingerprint(o.Flip, o.DType), ModelDigest: m.Digest(),
		Batch: m.Batch(), Runtime: ort.Version(), Decoder: imgcodec.DecoderName()}
	if o.Progress == nil {
		return
	}
	fmt.Fprintf(o.Progress, "teacher %s: %v (%s), batch %d\n", o.Name, m.Preprocess(), m.Reason(), m.Batch())
	if made := r.ds.Contract().Decoder; made != r.summary.Decoder {
		fmt.Fprintf(o.Progress, "note: the dataset was made with %s, here JPEG is decoded by %s: the pixels of crops kept as JPEG differ by a level or two\n",
			made, r.summary.Decoder)
	}
}

// fits reports a model that the dataset's crops are no input for, or that gives
// nothing of use for the first of them. This is found out before the cache is
// claimed, so that a mistake does not take its name.
func (r *run) fits() error {
	p, size := r.model.Preprocess(), r.ds.Contract().CropSize
	if p.Height != size || p.Width != size {
		return fmt.Errorf("%w: model %s takes crops of %dx%d, those of %s are %dx%d", store.ErrContract, r.o.Model,
			p.Width, p.Height, r.o.Dataset, size, size)
	}
	_, err := r.ds.OpenTeacher(r.o.Name)
	if !errors.Is(err, store.ErrNotFound) || r.ds.Rows() == 0 {
		return nil // claimed already, or damaged: claiming it will tell
	}
	n := min(r.ds.Rows(), r.model.Batch())
	area := size * size * 3
	pixels := make([]byte, n*area)
	crops := r.ds.CropReader()
	defer crops.Close()
	for i := range n {
		if err := crops.DecodeRGB(r.ds.Locate(i), pixels[i*area:(i+1)*area]); err != nil {
			return err
		}
	}
	dim := r.model.Dim()
	embeddings := make([]float32, n*dim)
	if err := r.model.Embed(n, pixels, false, embeddings); err != nil {
		return err
	}
	j := judge{model: r.o.Model, dtype: r.o.DType, embeddings: n}
	for i := range n {
		if err := j.see([][]float32{embeddings[i*dim : (i+1)*dim]}); err != nil && j.invalid == n {
			return err
		}
	}
	return nil
}

// info describes the cache.
func (r *run) info() (store.TeacherInfo, error) {
	contract, err := json.Marshal(r.model.Preprocess())
	return store.TeacherInfo{
		Name: r.o.Name, ModelFile: filepath.Base(r.o.Model), ModelDigest: r.model.Digest(),
		Fingerprint: r.summary.Fingerprint, Preprocess: contract, PreprocessReason: r.model.Reason(),
		Dim: r.model.Dim(), DType: r.o.DType, Flip: r.o.Flip,
	}, err
}

// claim opens the cache for writing under the model's fingerprint.
func (r *run) claim(info store.TeacherInfo) (*store.TeacherWriter, error) {
	w, err := r.ds.CreateTeacher(info)
	if errors.Is(err, store.ErrFingerprint) {
		return nil, fmt.Errorf("%w (--name)", err)
	}
	return w, err
}

// embed embeds and commits shards, in which there are todo crops.
func (r *run) embed(ctx context.Context, w *store.TeacherWriter, shards []int, todo int) error {
	r.bar = progress.New(r.o.Progress, "precompute", int64(todo))
	defer r.bar.Finish()
	for _, i := range shards {
		err := r.shard(ctx, w, i)
		if errors.Is(err, context.Canceled) {
			return fmt.Errorf("stopped; the finished shards are kept, run the same command again to go on: %w", err)
		}
		if err != nil {
			return fmt.Errorf("embed shard %d: %w", i, err)
		}
	}
	return nil
}

// shard embeds and commits one shard.
func (r *run) shard(ctx context.Context, w *store.TeacherWriter, i int) error {
	crops, rows := r.ds.CropReader(), r.ds.ShardRows(i)
	defer crops.Close()
	plan, err := r.lookUp(ctx, i)
	if err != nil {
		return err
	}
	out, err := w.Shard(i)
	if err != nil {
		return err
	}
	defer out.Abort() // does nothing after Commit
	mirrorings := flips(r.o.Flip)
	// The few rows that no donor has are not held to be the whole shard.
	j := judge{model: r.o.Model, dtype: r.o.DType, embeddings: rows * len(mirrorings)}
	load := func(n int, rgb []byte) error {
		return crops.DecodeRGB(store.Location{Shard: uint32(i), Row: uint32(plan.compute[n])}, rgb)
	}
	emit := func(n int, rows [][]float32) error {
		if err := r.copyUpTo(ctx, out, plan, plan.compute[n]); err != nil {
			return err
		}
		if err := j.see(rows); err != nil {
			return err
		}
		r.bar.Add(1)
		var mirror []float32
		if r.o.Flip {
			mirror = rows[1]
		}
		return out.Append(rows[0], mirror)
	}
	times, err := r.model.Stream(ctx, len(plan.compute), load, emit, embed.StreamOptions{Flips: mirrorings, Workers: r.o.Workers})
	r.times.Add(times)
	if err != nil {
		return err
	}
	if err := r.copyUpTo(ctx, out, plan, rows); err != nil {
		return err
	}
	if err := out.Commit(); err != nil {
		return err
	}
	r.summary.Computed += len(plan.compute)
	r.summary.Copied += rows - len(plan.compute)
	return nil
}

// conclude reads back what only the finished cache can tell.
func (r *run) conclude() error {
	t, err := r.ds.OpenTeacher(r.o.Name)
	if err != nil {
		return err
	}
	if r.summary.Digest, err = t.Digest(); err != nil {
		return err
	}
	r.summary.Invalid = t.Invalid()
	all := r.summary.Rows * len(flips(r.o.Flip))
	if float64(r.summary.Invalid) > r.o.MaxRejectRate*float64(all) {
		return &RejectRateError{Teacher: r.o.Name, Invalid: r.summary.Invalid, Embeddings: all, Max: r.o.MaxRejectRate}
	}
	return nil
}
