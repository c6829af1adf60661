package eval

import (
	"context"
	"errors"
	"fmt"
	"time"

	"facepipe/internal/durable"
	"facepipe/internal/embed"
	"facepipe/internal/imgcodec"
	"facepipe/internal/ort"
	"facepipe/internal/progress"
	"facepipe/store"
)

// Run measures every model of o on the pairs and writes the report.
//
// A model that cannot be loaded or gives unusable embeddings is listed in
// [Report].Failed and does not keep the others from being measured; the error then
// names it, and comes with the report. Nothing is written if no model succeeds, or
// if the run ends with any other error: [*MissingError] (whose images the report
// lists too), those of [LoadPairs], [store.ErrDamaged], [ort.ErrRuntime], the
// context's.
func Run(ctx context.Context, o Options) (Report, error) {
	if err := o.Validate(); err != nil {
		return Report{}, fmt.Errorf("evaluate: %w", err)
	}
	ds, err := store.Open(o.Dataset)
	if err != nil {
		return Report{}, err
	}
	defer ds.Close()
	r := newReport(o, ds)
	pairs, err := LoadPairs(ds, o.Pairs, o.AllowMissing)
	if missing := (*MissingError)(nil); errors.As(err, &missing) {
		r.addMissing(missing)
	}
	if err != nil {
		return r, err
	}
	r.addPairs(pairs)
	if err := o.prepare(pairs); err != nil {
		return r, err
	}
	failures, err := r.measure(ctx, o, ds, pairs)
	if err != nil {
		return r, err
	}
	if len(r.Models) == 0 {
		return r, failures
	}
	r.Runtime, r.Decoder = ort.Version(), imgcodec.DecoderName()
	if o.Out != "" {
		failures = errors.Join(failures, r.write(o.Out))
	}
	return r, failures
}

// prepare does what should not fail after hours of work, and says what was left out.
func (o Options) prepare(pairs *PairSet) error {
	if n := len(pairs.Missing()); n > 0 && o.Progress != nil {
		fmt.Fprintf(o.Progress, "%d of %d pairs are left out: %d images are not in the dataset\n",
			pairs.MissingPairs(), len(pairs.list.Pairs), n)
	}
	if o.Out == "" {
		return nil
	}
	return durable.MkdirAll(o.Out, 0o755)
}

// measure fills Models and Failed. failures joins what is wrong with single models,
// err ends the run.
func (r *Report) measure(ctx context.Context, o Options, ds *store.Dataset, pairs *PairSet) (failures, err error) {
	crops := pairCrops{ds.CropReader(), pairs.Locations(), ds.Contract().CropSize}
	defer func() { err = errors.Join(err, crops.Close()) }()
	for _, path := range o.Models {
		m, err := measureModel(ctx, o, path, crops, pairs)
		if fault := (*modelError)(nil); errors.As(err, &fault) {
			r.Failed = append(r.Failed, fault.report())
			failures = errors.Join(failures, err)
			continue
		}
		if err != nil {
			return nil, err
		}
		r.Models = append(r.Models, m)
	}
	return failures, nil
}

// pairCrops are the crops of a pair set, shared by the models.
type pairCrops struct {
	*store.CropReader
	locations []store.Location
	size      int // of a crop's side, in pixels
}

// decode decodes crop i into rgb.
func (c pairCrops) decode(i int, rgb []byte) error { return c.DecodeRGB(c.locations[i], rgb) }

// measureModel embeds all crops and computes the figures. What is the model's own
// fault is a *modelError.
func measureModel(ctx context.Context, o Options, path string, crops pairCrops, pairs *PairSet) (ModelReport, error) {
	m, err := embed.Open(path, embed.Options{Preprocess: o.Preprocess, Batch: o.Batch, Runtime: o.Runtime})
	if errors.Is(err, ort.ErrRuntime) {
		return ModelReport{}, err
	}
	if err != nil {
		return ModelReport{}, &modelError{path, err}
	}
	defer m.Close()
	if p := m.Preprocess(); p.Width != crops.size || p.Height != crops.size {
		return ModelReport{}, &modelError{path, fmt.Errorf("it takes images of %dx%d, the crops are %dx%d", p.Width, p.Height, crops.size, crops.size)}
	}
	begun := time.Now()
	embeddings, err := embedCrops(ctx, o, m, crops)
	if err != nil {
		return ModelReport{}, fmt.Errorf("evaluate model %s: %w", path, err)
	}
	seconds := time.Since(begun).Seconds()
	result, err := pairs.Verify(embeddings)
	if err != nil {
		return ModelReport{}, &modelError{path, err}
	}
	return ModelReport{
		Model: path, Digest: m.Digest(), Dim: m.Dim(), Preprocess: m.Preprocess(), PreprocessReason: m.Reason(),
		Result: result, Seconds: seconds, ImagesPerSecond: float64(len(embeddings)) / seconds,
	}, nil
}

// embedCrops is the embedding of every crop, the mirrored crop's added if o.Flip.
func embedCrops(ctx context.Context, o Options, m *embed.Model, crops pairCrops) ([][]float32, error) {
	embeddings := make([][]float32, len(crops.locations))
	flips := []bool{false}
	if o.Flip {
		flips = []bool{false, true}
	}
	bar := progress.New(o.Progress, "eval "+m.Path(), int64(len(crops.locations)))
	defer bar.Finish()
	_, err := m.Stream(ctx, len(crops.locations), crops.decode, func(i int, rows [][]float32) error {
		embeddings[i] = sum(rows)
		bar.Add(1)
		return nil
	}, embed.StreamOptions{Flips: flips})
	return embeddings, err
}

// sum adds rows up in a new slice.
func sum(rows [][]float32) []float32 {
	total := make([]float32, len(rows[0]))
	for _, row := range rows {
		for k, v := range row {
			total[k] += v
		}
	}
	return total
}

// modelError is a fault of one model.
type modelError struct {
	path string
	err  error
}

// Error names the model.
func (e *modelError) Error() string { return fmt.Sprintf("evaluate model %s: %v", e.path, e.err) }

// Unwrap is the fault itself.
func (e *modelError) Unwrap() error { return e.err }

func (e *modelError) report() FailedModel {
	f := FailedModel{Model: e.path, Error: e.err.Error()}
	if unusable := (*UnusableError)(nil); errors.As(e.err, &unusable) {
		f.UnusablePairs, f.UnusableCrops = unusable.Pairs, unusable.Crops
	}
	return f
}
