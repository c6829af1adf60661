package eval

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"facepipe/eval/protocol"
	"facepipe/eval/report"
	"facepipe/eval/verification"
	"facepipe/internal/durable"
	"facepipe/internal/embed"
	"facepipe/internal/imgcodec"
	"facepipe/internal/ort"
	"facepipe/internal/progress"
	"facepipe/internal/selfcheck"
	"facepipe/store"
)

// Run measures every model of o by the protocol and writes the report.
//
// A model that cannot be loaded or gives unusable embeddings is listed in the report's
// Failed and does not keep the others from being measured; the error then names it, and
// comes with the report. Nothing is written if no model succeeds, or if the run ends with
// any other error: [*protocol.MissingError] (whose images the report lists too), those of
// loading the protocol, [store.ErrDamaged], [ort.ErrRuntime], the context's.
func Run(ctx context.Context, o Options) (report.Report, error) {
	if err := o.Validate(); err != nil {
		return report.Report{}, fmt.Errorf("evaluate: %w", err)
	}
	ds, err := store.Open(o.Dataset)
	if err != nil {
		return report.Report{}, err
	}
	defer ds.Close()
	r := newReport(o, ds)
	p, err := o.Protocol.Load(ds, o.List, protocol.Options{AllowMissing: o.AllowMissing, Rule: o.Rule})
	if missing := (*protocol.MissingError)(nil); errors.As(err, &missing) {
		r.Pairs = missing.Describe()
	}
	if err != nil {
		return r, err
	}
	r.Pairs, r.FoldRule, r.Folds = p.Describe(), p.Folds().Rule, p.Folds().Count
	if err := o.prepare(r.Pairs); err != nil {
		return r, err
	}
	failures, err := measure(ctx, o, ds, p, &r)
	if err != nil {
		return r, err
	}
	if len(r.Models) == 0 {
		return r, failures
	}
	r.Runtime, r.Decoder = ort.Version(), imgcodec.DecoderName()
	if o.Out != "" {
		failures = errors.Join(failures, r.Write(o.Out))
	}
	return r, failures
}

// newReport is the report of a run without its models.
func newReport(o Options, ds *store.Dataset) report.Report {
	r := report.Report{
		Flip: o.Flip, Norm: "unit", Distance: "squared-euclidean", FARPick: string(cmp.Or(o.Rule.Pick, verification.Le)),
		Provider: cmp.Or(o.Runtime.Provider, ort.CPU), Detector: []string{}, Models: []report.Model{},
		Dataset: report.Dataset{Path: o.Dataset, Digest: ds.Digest(), Rows: ds.Rows(), Contract: ds.Contract(), Sources: ds.Sources()},
	}
	for _, s := range r.Dataset.Sources {
		if !slices.Contains(r.Detector, s.Detector) {
			r.Detector = append(r.Detector, s.Detector)
		}
	}
	return r
}

// prepare does what should not fail after hours of work, and says what was left out.
func (o Options) prepare(d protocol.Description) error {
	if n := len(d.Missing); n > 0 && o.Progress != nil {
		fmt.Fprintf(o.Progress, "%d of %d pairs are left out: %d images are not in the dataset\n", d.MissingPairs, d.Listed, n)
	}
	d.PrintNotes(o.Progress)
	if o.Out == "" {
		return nil
	}
	return durable.MkdirAll(o.Out, 0o755)
}

// measure fills the report's Models and Failed. failures joins what is wrong with single
// models, err ends the run.
func measure(ctx context.Context, o Options, ds *store.Dataset, p protocol.Protocol, r *report.Report) (failures, err error) {
	crops := cropsOf{ds.CropReader(), p.Crops()}
	defer func() { err = errors.Join(err, crops.Close()) }()
	for _, path := range o.Models {
		m, err := measureModel(ctx, o, path, crops, p)
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

// cropsOf are the crops of a protocol, shared by the models.
type cropsOf struct {
	*store.CropReader
	locations []store.Location
}

// decode decodes crop i into rgb.
func (c cropsOf) decode(i int, rgb []byte) error { return c.DecodeRGB(c.locations[i], rgb) }

// measureModel embeds all crops and computes the figures. What is the model's own
// fault is a *modelError.
func measureModel(ctx context.Context, o Options, path string, crops cropsOf, p protocol.Protocol) (report.Model, error) {
	opened := progress.Phase(o.Progress, "open "+path)
	m, err := embed.Open(path, embed.Options{Preprocess: o.Preprocess, Output: o.Output, Crop: crops.CropSize(), Batch: o.Batch, Runtime: o.Runtime})
	opened()
	if errors.Is(err, ort.ErrRuntime) {
		return report.Model{}, err
	}
	if err != nil {
		return report.Model{}, &modelError{path, err}
	}
	defer m.Close()
	test, doubts, err := settle(ctx, o, m, crops, p)
	if errors.Is(err, selfcheck.ErrContradiction) {
		return report.Model{}, &modelError{path, err}
	}
	if err != nil {
		return report.Model{}, fmt.Errorf("evaluate model %s: %w", path, err)
	}
	notes := slices.Concat(m.Notes(), doubts)
	if o.Progress != nil {
		for _, note := range notes {
			fmt.Fprintf(o.Progress, "note: %s: %s\n", path, note)
		}
	}
	begun := time.Now()
	embeddings, err := embedCrops(ctx, o, m, crops)
	if err != nil {
		return report.Model{}, fmt.Errorf("evaluate model %s: %w", path, err)
	}
	seconds := time.Since(begun).Seconds()
	result, err := protocol.EvaluateBy(p, embeddings, o.targets(), o.Rule)
	if remedy := m.BatchRemedy(); err != nil && remedy != "" {
		err = fmt.Errorf("%w; %s", err, remedy)
	}
	if err != nil {
		return report.Model{}, &modelError{path, err}
	}
	return report.Model{
		Model: path, Digest: m.Digest(), Dim: m.Dim(), Preprocess: m.Preprocess(), PreprocessReason: m.Reason(), Output: m.Outputs().Embedding,
		NormOutput: m.Outputs().Norm, Notes: notes, SelfTest: test,
		Result: result, Seconds: seconds, ImagesPerSecond: float64(len(embeddings)) / seconds,
	}, nil
}

// embedCrops is the embedding of every crop, the mirrored crop's added if o.Flip.
func embedCrops(ctx context.Context, o Options, m *embed.Model, crops cropsOf) ([][]float32, error) {
	embeddings := make([][]float32, len(crops.locations))
	flips := []bool{false}
	if o.Flip {
		flips = []bool{false, true}
	}
	bar := progress.New(o.Progress, "eval "+m.Path(), int64(len(crops.locations))).Of("crops")
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

func (e *modelError) report() report.Failed {
	f := report.Failed{Model: e.path, Error: e.err.Error()}
	if unusable := (*protocol.UnusableError)(nil); errors.As(e.err, &unusable) {
		f.UnusablePairs, f.UnusableCrops = unusable.Pairs, unusable.Crops
	}
	return f
}
