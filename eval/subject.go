package eval

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"facepipe/eval/embeddings"
	"facepipe/eval/faces"
	"facepipe/eval/protocol"
	"facepipe/eval/report"
	"facepipe/internal/embed"
	"facepipe/internal/nearest"
	"facepipe/internal/ort"
	"facepipe/internal/plain"
	"facepipe/internal/progress"
	"facepipe/internal/selfcheck"
)

// subject is what is measured: a model, a teacher's cache, or embeddings.
type subject interface {
	// name is the subject's in reports.
	name() string
	// covers says whether the subject may have embeddings of a test's faces.
	covers(t *test) bool
	// embed gives embeddings of a test's faces, and what a report says of the subject without
	// its figures. What is the subject's own fault is a *modelError. The embeddings may be used
	// until the next call.
	embed(ctx context.Context, t *test) (protocol.Embeddings, report.Model, error)
	// remedy says what to do about embeddings that have no use, "" if nobody knows.
	remedy() string
	close()
}

// subjects are all that are measured, in the order of the report.
func (o *Options) subjects(s *tests) []subject {
	var all []subject
	for _, path := range o.Models {
		run := &model{o: o, path: path}
		if name := o.Cached[path]; name != "" {
			all = append(all, &halfCached{model: run, cached: &cachedModel{o: o, cache: name, path: path}})
			continue
		}
		all = append(all, run)
	}
	for _, name := range o.Teachers {
		all = append(all, &cachedModel{o: o, cache: name})
	}
	for _, table := range s.tables {
		all = append(all, &rows{table: table})
	}
	return all
}

// model is an ONNX file that is run.
type model struct {
	o        *Options
	path     string
	m        *embed.Model // nil before it is opened
	crop     int          // the side that it is opened for
	notes    []string
	selfTest *selfcheck.Result
}

func (s *model) name() string      { return s.path }
func (s *model) covers(*test) bool { return true }

func (s *model) remedy() string { return s.m.BatchRemedy() }

func (s *model) close() {
	if s.m != nil {
		s.m.Close()
		s.m = nil
	}
}

// embed runs the model over all faces.
func (s *model) embed(ctx context.Context, t *test) (protocol.Embeddings, report.Model, error) {
	err := s.open(ctx, t.set.CropSize(), func() selfcheck.Faces {
		return facesOf(len(t.Faces()), t.Persons(selfcheck.People), t.decode)
	})
	if err != nil {
		return nil, report.Model{}, err
	}
	begun := time.Now()
	rows, err := s.rows(ctx, t)
	if err != nil {
		return nil, report.Model{}, fmt.Errorf("evaluate model %s: %w", s.path, err)
	}
	seconds := time.Since(begun).Seconds()
	m := s.m
	return rows, report.Model{
		Model: s.path, Digest: m.Digest(), Dim: m.Dim(), Preprocess: m.Preprocess(), PreprocessReason: m.Reason(), Output: m.Outputs().Embedding,
		NormOutput: m.Outputs().Norm, Notes: s.notes, SelfTest: s.selfTest,
		Seconds: seconds, ImagesPerSecond: float64(len(rows)) / seconds,
	}, nil
}

// open opens the model for crops of a size, and settles its preprocessing by some faces, unless
// it is open for such crops already.
func (s *model) open(ctx context.Context, crop int, faces func() selfcheck.Faces) error {
	if s.m != nil && crop == s.crop {
		return nil
	}
	s.close()
	o := s.o
	opened := progress.Phase(o.Progress, "open "+s.path)
	m, err := embed.Open(ctx, s.path, embed.Options{Preprocess: o.Preprocess, Output: o.Output, Crop: crop, Batch: o.Batch, Runtime: o.Runtime})
	opened()
	if errors.Is(err, ort.ErrRuntime) || err != nil && ctx.Err() != nil {
		return err
	}
	if err != nil {
		return &modelError{s.path, err}
	}
	s.m, s.crop = m, crop
	test, doubts, err := settle(ctx, *o, m, faces())
	if errors.Is(err, selfcheck.ErrContradiction) {
		return &modelError{s.path, err}
	}
	if err != nil {
		return fmt.Errorf("evaluate model %s: %w", s.path, err)
	}
	s.selfTest, s.notes = test, slices.Concat(m.Notes(), doubts)
	if o.Progress != nil {
		for _, note := range s.notes {
			plain.Fprintf(o.Progress, "note: %s: %s\n", s.path, note)
		}
	}
	return nil
}

// rows is the embedding of every face, the mirrored crop's added if they are wanted.
func (s *model) rows(ctx context.Context, t *test) (protocol.Rows, error) {
	n := len(t.Faces())
	embeddings := make(protocol.Rows, n)
	bar := progress.New(s.o.Progress, "eval "+s.path, int64(n)).Of("crops")
	defer bar.Finish()
	_, err := s.m.Stream(ctx, n, t.decode, func(i int, rows [][]float32) error {
		embeddings[i] = Sum(rows)
		bar.Add(1)
		return nil
	}, embed.StreamOptions{Flips: Flips(s.o.Flip)})
	return embeddings, err
}

// Flips are the mirrorings to embed.
func Flips(mirror bool) []bool {
	if mirror {
		return []bool{false, true}
	}
	return []bool{false}
}

// Sum adds rows up in a new slice: a crop's embedding and its mirror image's.
func Sum(rows [][]float32) []float32 {
	total := make([]float32, len(rows[0]))
	for _, row := range rows {
		for k, v := range row {
			total[k] += v
		}
	}
	return total
}

// cachedModel is a teacher's cache of the dataset.
type cachedModel struct {
	o     *Options
	cache string
	path  string // of the model, if that is what is measured
	open  *cached
}

func (s *cachedModel) name() string {
	if s.path != "" {
		return s.path
	}
	return s.cache
}

// covers says that the test is of the dataset.
func (s *cachedModel) covers(t *test) bool { _, ok := t.set.(*faces.Dataset); return ok }

func (s *cachedModel) remedy() string { return "" }

func (s *cachedModel) close() {
	if s.open != nil {
		s.open.close()
		s.open = nil
	}
}

// embed opens the cache.
func (s *cachedModel) embed(_ context.Context, t *test) (protocol.Embeddings, report.Model, error) {
	s.close()
	c, err := openCache(t.set.(*faces.Dataset), s.cache, t.Faces(), s.o.Flip)
	if err != nil {
		return nil, report.Model{}, &modelError{s.name(), err}
	}
	s.open = c
	info := c.cache.Info()
	m := report.Model{
		Model: s.name(), Digest: info.ModelDigest, Kind: report.KindTeacher, Dim: info.Dim, PreprocessReason: info.PreprocessReason,
		Output: info.Output, NormOutput: info.NormOutput, Notes: c.notes(s.o.Flip),
	}
	if len(info.Preprocess) > 0 {
		if err := json.Unmarshal(info.Preprocess, &m.Preprocess); err != nil {
			return nil, report.Model{}, &modelError{s.name(), fmt.Errorf("its preprocessing: %w", err)}
		}
	}
	return c, m, nil
}

// halfCached is a model whose embeddings of the dataset lie in a cache; of other sets it is run.
type halfCached struct {
	*model
	cached *cachedModel
}

func (s *halfCached) remedy() string { return "" }

func (s *halfCached) close() {
	s.model.close()
	s.cached.close()
}

func (s *halfCached) embed(ctx context.Context, t *test) (protocol.Embeddings, report.Model, error) {
	if s.cached.covers(t) {
		return s.cached.embed(ctx, t)
	}
	return s.model.embed(ctx, t)
}

// rows are embeddings out of a file.
type rows struct{ table *embeddings.Table }

func (s *rows) name() string      { return s.table.Path }
func (s *rows) covers(*test) bool { return true }
func (s *rows) remedy() string    { return "" }
func (s *rows) close()            {}

// embed finds the rows of the faces.
func (s *rows) embed(ctx context.Context, t *test) (protocol.Embeddings, report.Model, error) {
	m := report.Model{Model: s.name(), Digest: s.table.Digest, Kind: report.KindEmbeddings, Dim: s.table.Dim(), Notes: slices.Clone(s.table.Notes)}
	places, notes, err := s.find(ctx, t)
	if err != nil {
		return nil, m, err
	}
	m.Notes = append(append(m.Notes, notes...), "its embeddings are as the file has them, with mirror images or without")
	return nearest.Part[int]{Vectors: s.table, Places: places}, m, nil
}

// find is the row of every face of a test.
func (s *rows) find(ctx context.Context, t *test) (places []int, notes []string, err error) {
	if set, ok := t.set.(*faces.Table); ok && set.Embeddings() == s.table {
		return t.Faces(), nil, nil
	}
	if s.table.Keys == nil {
		places, err = s.inOrder(t)
		return places, nil, err
	}
	keys := make([]string, len(t.Faces()))
	for i, place := range t.Faces() {
		head, err := t.set.Head(place)
		if err != nil {
			return nil, nil, err
		}
		keys[i] = head.Key
	}
	set, err := faces.OfTable(s.table)
	if err != nil {
		return nil, nil, &modelError{s.name(), err}
	}
	places, guesses, err := protocol.Resolve(ctx, set, keys)
	if err != nil {
		return nil, nil, err
	}
	for _, guess := range guesses {
		notes = append(notes, guess.Text)
	}
	var lacking []string
	for i, place := range places {
		if place < 0 {
			lacking = append(lacking, keys[i])
		}
	}
	if len(lacking) > 0 {
		return nil, nil, &modelError{s.name(), fmt.Errorf("it lacks the embeddings of %d of %d faces: %s", len(lacking), len(keys), protocol.FirstFew(lacking))}
	}
	return places, notes, nil
}

// inOrder is the row of every face of a test, of a table without keys: its rows are the faces of
// the set in their order; of a .bin file its images.
func (s *rows) inOrder(t *test) ([]int, error) {
	rows, places := t.set.Len(), t.Faces()
	if bin, ok := t.set.(*faces.Bin); ok {
		rows, places = bin.Images(), make([]int, len(places))
		for i, place := range t.Faces() {
			places[i] = bin.Number(place)
		}
	}
	if s.table.Len() != rows {
		return nil, &modelError{s.name(), fmt.Errorf("it has no keys, and %d rows for the %d faces of %s: write the keys to %s, one a line",
			s.table.Len(), rows, t.set.Describe().Path, embeddings.KeysFile(s.table.Path))}
	}
	return places, nil
}

// modelError is a fault of one subject.
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
