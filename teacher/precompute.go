package teacher

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"facepipe/internal/embed"
	"facepipe/internal/imgcodec"
	"facepipe/internal/ort"
	"facepipe/internal/plain"
	"facepipe/internal/progress"
	"facepipe/internal/verdict"
	"facepipe/store"
	"facepipe/store/cache"
)

// Precompute caches the embeddings of every crop that has none yet. With an error the summary
// says how far the run got.
//
// Errors: those of embed.Open; [selfcheck.ErrContradiction], [selfcheck.ErrWeak]; store.ErrNotFound, store.ErrDamaged, store.ErrLocked;
// store.ErrFingerprint when the name is taken by another model, preprocessing, flip or dtype;
// [ErrEmbeddings], [*RejectRateError]; the context's. Finished shards are always kept, and the
// same call goes on.
func Precompute(ctx context.Context, o Options) (Summary, error) {
	clock := startClock()
	o = o.withDefaults()
	ds, err := store.Open(o.Dataset, store.WithContext(ctx))
	if err != nil {
		return Summary{}, err
	}
	defer ds.Close()
	opened := progress.Phase(o.Progress, "open "+o.Model)
	models, err := openModels(ctx, o, ds)
	opened()
	defer closeModels(models)
	if err != nil {
		return Summary{}, err
	}
	r := &run{o: o, ds: ds, models: models, model: models[0], clock: clock}
	err = r.fill(ctx)
	r.account()
	return r.summary, stopping(err, keepsShards)
}

// openModels opens the model once for each device. The caller closes what it returns, even
// with an error.
func openModels(ctx context.Context, o Options, ds *store.Dataset) ([]*embed.Model, error) {
	var models []*embed.Model
	for _, runtime := range o.runtimes() {
		m, err := embed.Open(ctx, o.Model, embed.Options{Preprocess: o.Preprocess, Contract: o.contract, Output: o.Output, Norm: o.norm, Crop: ds.Contract().CropSize, Batch: o.Batch, Runtime: runtime})
		if err != nil {
			return models, err
		}
		models = append(models, m)
		if m.Digest() != models[0].Digest() {
			return models, fmt.Errorf("open model %s for device %d: %w", o.Model, runtime.Device, embed.ErrReplaced)
		}
		o.Batch = m.Batch() // if it is measured, then on one device for all
	}
	return models, nil
}

func closeModels(models []*embed.Model) {
	for _, m := range models {
		m.Close()
	}
}

// run is one call of Precompute.
type run struct {
	o       Options
	ds      *store.Dataset
	models  []*embed.Model // one for each device
	model   *embed.Model   // the first of them
	bar     *progress.Bar
	donors  *cache.Donors // nil without Options.Reuse
	clock   clock
	stages  cache.Stages
	shards  int // committed
	summary Summary
}

// fill embeds the missing shards.
func (r *run) fill(ctx context.Context) error {
	r.describe(r.inBatches())
	if err := r.fits(); err != nil {
		return err
	}
	r.stages.Open = r.clock.seconds()
	if err := r.settle(ctx); err != nil {
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
	defer writer.Close() // after Close below it does nothing
	missing := writer.MissingShards()
	todo := 0
	for _, i := range missing {
		todo += r.ds.ShardRows(i)
	}
	r.summary.Reused = r.summary.Rows - todo
	err = r.embed(ctx, func(shard int) (shardWriter, error) { return writer.Shard(shard) }, missing, todo)
	if err := r.recorded(writer.RecordRun, err); err != nil {
		return err
	}
	if err := writer.Close(); err != nil {
		return err
	}
	return r.conclude()
}

// inBatches says how the model is run.
func (r *run) inBatches() string { return fmt.Sprintf("batch %d", r.model.Batch()) }

// describe says in the summary what will be done. The user is told, too, with how.
func (r *run) describe(how string) {
	m, o := r.model, r.o
	r.summary = Summary{Teacher: o.Name, Rows: r.ds.Rows(), Dim: m.Dim(), DType: o.DType, Flip: o.Flip,
		ModelDigest: m.Digest(), Batch: m.Batch(), Runtime: ort.Version(), Decoder: imgcodec.DecoderName()}
	r.summarizeContract()
	if o.Progress != nil {
		plain.Fprintf(o.Progress, "teacher %s: %v (%s), %s\n", o.Name, m.Preprocess(), m.Reason(), how)
	}
	if file := stem(o.Model); o.Name == cmp.Or(cache.SafeName(file), "teacher") && o.Name != file {
		r.note(fmt.Sprintf("the teacher of file %q is called %s, as other characters cannot stand in a name; --name gives another", file, o.Name))
	}
	r.note(m.Notes()...)
	if made := r.ds.Contract().Decoder; made != r.summary.Decoder {
		r.note(fmt.Sprintf("the dataset was made with %s, here JPEG is decoded by %s: the pixels of crops kept as JPEG differ by a level or two",
			made, r.summary.Decoder))
	}
}

// note tells the user something, now and in the summary.
func (r *run) note(notes ...string) {
	r.summary.Notes = append(r.summary.Notes, notes...)
	if r.o.Progress == nil {
		return
	}
	for _, note := range notes {
		plain.Fprintf(r.o.Progress, "note: %s\n", note)
	}
}

// fits refuses a model that gives nothing of use for the first crops. It comes before the cache
// is claimed, so that a mistake does not take the cache's name.
func (r *run) fits() error {
	if !r.isNew() || r.ds.Rows() == 0 {
		return nil // to claim it will tell what is wrong with it, if anything
	}
	return r.yields(min(r.ds.Rows(), minVerdict))
}

// yields is [ErrEmbeddings] if the model gives nothing of use for any of the first n crops.
func (r *run) yields(n int) error {
	area := r.model.CropBytes()
	batch, dim := min(n, r.model.Batch()), r.model.Dim()
	pixels, embeddings := make([]byte, batch*area), make([]float32, batch*dim)
	crops := r.ds.CropReader()
	defer crops.Close()
	j := r.judge()
	for j.embeddings < n {
		k := min(batch, n-j.embeddings)
		for i := range k {
			if err := crops.DecodeRGB(r.ds.Locate(j.embeddings+i), pixels[i*area:(i+1)*area]); err != nil {
				return err
			}
		}
		if err := r.model.Embed(k, pixels[:k*area], false, embeddings[:k*dim]); err != nil {
			return err
		}
		j.embeddings += k
		for i := range k {
			j.count(verdict.Of(embeddings[i*dim:(i+1)*dim], r.o.DType == cache.FP16).Fault)
		}
		if j.invalid < j.embeddings {
			return nil
		}
	}
	return j.condemn()
}

// judge is one of the model's embeddings.
func (r *run) judge() judge {
	return judge{model: r.o.Model, batchRemedy: r.model.BatchRemedy()}
}

// isNew says that there is no cache of that name yet.
func (r *run) isNew() bool {
	_, err := cache.Open(r.ds, r.o.Name)
	return errors.Is(err, store.ErrNotFound)
}

// info describes the cache.
func (r *run) info() (cache.Info, error) {
	contract, err := json.Marshal(r.model.Preprocess())
	return cache.Info{
		Name: r.o.Name, ModelFile: filepath.Base(r.o.Model), ModelDigest: r.model.Digest(),
		Fingerprint: r.summary.Fingerprint, Preprocess: contract, PreprocessReason: r.model.Reason(),
		Dim: r.model.Dim(), DType: r.o.DType, Flip: r.o.Flip, Output: r.model.Outputs().Embedding, NormOutput: r.model.Outputs().Norm, Half: r.o.Runtime.Half, TF32: r.o.Runtime.TF32,
	}, err
}

// claim opens the cache for writing under the model's fingerprint.
func (r *run) claim(info cache.Info) (*cache.Writer, error) {
	w, err := cache.Create(r.ds, info)
	if errors.Is(err, store.ErrFingerprint) {
		return nil, fmt.Errorf("%w (--name)", err)
	}
	return w, err
}

// embed embeds and commits shards, with todo crops in all, as one stream. The model goes on
// with the next shard while one is being committed.
func (r *run) embed(ctx context.Context, open func(shard int) (shardWriter, error), shards []int, todo int) error {
	begun := time.Now()
	r.bar = progress.New(r.o.Progress, "precompute", int64(r.summary.Reused+todo)).Of("crops")
	r.bar.Skip(int64(r.summary.Reused))
	defer r.bar.Finish()
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	crops := r.ds.CropReader()
	defer crops.Close()
	work, err := r.newWork(ctx, shards)
	if err != nil {
		return err
	}
	drift := newDrift(r.o.DType, driftEvery)
	out := newCommitter(work, r.judge(), hooks{stop: stop, open: func(shard int) (shardWriter, error) {
		if r.o.begin != nil {
			r.o.begin(shard)
		}
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		return open(shard)
	}, copy: func(to shardWriter, at store.Location) error {
		r.bar.Add(1)
		return r.copy(ctx, to, crops, at)
	}, release: crops.Release})
	read := &reader{crops: crops}
	times, err := embed.Stream(ctx, r.models, work.todo, func(i int, rgb []byte) error {
		return read.decode(work.at(i), rgb)
	}, func(i int, embeddings [][]float32) error {
		r.bar.Add(1)
		plain, mirrored, err := out.take(work.at(i), embeddings)
		if f := cmp.Or(plain, mirrored); f != verdict.None {
			r.bar.Reject(1, string(f))
		}
		if err != nil {
			return err
		}
		drift.see(i, embeddings[0], plain)
		return nil
	}, embed.StreamOptions{Flips: flips(r.o.Flip), Workers: r.o.Workers, Watch: func(so embed.Times) {
		r.streamed(so, read.spent(), out.spent())
	}})
	if err == nil {
		err = out.finish()
	}
	commitErr := out.close()
	r.summary.Computed, r.summary.Copied, r.summary.Drift = out.computed, out.copied, drift.result()
	r.summary.ImagesPerSecond = float64(out.computed) / time.Since(begun).Seconds()
	r.shards = out.shards
	r.streamed(times, read.spent(), out.spent())
	if commitErr != nil {
		return commitErr
	}
	return err
}

// conclude reads what only the finished cache can tell.
func (r *run) conclude() error {
	t, err := cache.Open(r.ds, r.o.Name)
	if err != nil {
		return err
	}
	if r.summary.Digest, err = t.Digest(); err != nil {
		return err
	}
	r.summary.Invalid = t.Invalid()
	if err := r.noteGrowth(); err != nil {
		return err
	}
	return tooManyInvalid(t, r.o.MaxRejectRate)
}

// noteGrowth tells the user if crops were appended to the dataset during the run.
func (r *run) noteGrowth() (err error) {
	if r.summary.Appended, err = r.ds.Grown(); err != nil || r.summary.Appended == 0 || r.o.Progress == nil {
		return err
	}
	fmt.Fprintf(r.o.Progress, "note: %d crops were appended to %s since the run began: the same command embeds them\n", r.summary.Appended, r.o.Dataset)
	return nil
}
