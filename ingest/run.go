package ingest

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"facepipe/ingest/detect"
	"facepipe/ingest/source"
	"facepipe/internal/imgcodec"
	"facepipe/internal/progress"
	"facepipe/store"
)

// run is one call of [Run].
type run struct {
	options Options
	parsed  parsed
	cropper *cropper
	sources []source.Source
	writer  *store.Writer
	numbers []int // of the sources, in the dataset
	// photographs of each identity; nil unless identities with few are left out.
	photographs map[string]int
	filtered    int // photographs left out; only produce writes it
	changed     changes
	bar         *progress.Bar
	total       int   // items that the bar counts to; -1 if the walk is to find out
	heap        int64 // the garbage collector's limit of before, in bytes
	summary     Summary
}

// Run ingests all sources into the dataset. What was ingested before is skipped without being
// read. So the same call after an interruption finishes the job, with the bytes of a run that
// was not interrupted, and a call with more sources appends.
//
// The error is a [*RejectRateError] if more than MaxRejectRate of the inputs were refused, by
// this run or by the one that it finishes. The dataset is complete then, and the summary
// valid. When ctx is done the error wraps ctx's; committed shards stay. Faults of the dataset
// wrap the errors of package store.
func Run(ctx context.Context, o Options) (Summary, error) {
	r := &run{options: o, total: o.known(), summary: Summary{Dataset: o.Out, RejectReasons: map[string]int{}}}
	begun := time.Now()
	err := r.run(ctx)
	r.summary.time(begun)
	if err != nil {
		return r.summary, fmt.Errorf("ingest: %w", err)
	}
	return r.summary, r.summary.judge(o.MaxRejectRate)
}

func (r *run) run(ctx context.Context) (err error) {
	defer func() { err = errors.Join(err, r.close()) }()
	// Find out all that can be wrong before the dataset is touched.
	if r.parsed, err = r.options.parse(); err != nil {
		return err
	}
	if err := imgcodec.Use(r.options.Decoder); err != nil {
		return err
	}
	r.summary.Memory = r.parsed.memory
	r.heap = debug.SetMemoryLimit(-1)
	defer debug.SetMemoryLimit(r.heap)
	if err := r.openSources(ctx); err != nil {
		return err
	}
	if err := r.requirePairs(); err != nil {
		return err
	}
	if err := r.openCropper(); err != nil {
		return err
	}
	// A part's names are those of its plan, which was looked at as a whole.
	if r.options.items == 0 {
		if err := r.keepApart(ctx); err != nil {
			return err
		}
	}
	if r.options.MinImages > 0 {
		if err := r.countPhotographs(ctx); err != nil {
			return err
		}
	}
	if err := r.openWriter(ctx); err != nil {
		return err
	}
	finish := r.openBar()
	r.cropper.budget.keepHeap(r.heap)
	err = pipeline(ctx, r.parsed.workers, r.cropper.budget, r.produce, r.consume)
	finish()
	r.summary.Filtered, r.summary.Changed = r.filtered, r.changed.count
	r.changed.warn(ctx, r.logger(), r.options.Out)
	if err != nil {
		return err
	}
	// A part of a plan may lie outside of what the file names.
	if r.options.items == 0 {
		if err := r.cropper.requireNamed(r.options.Landmarks); err != nil {
			return err
		}
	}
	if err := r.closeWriter(); err != nil {
		return err
	}
	if err := r.writePairs(ctx); err != nil {
		return err
	}
	return r.describeDataset()
}

// close releases all that is still open. A dataset that was not closed keeps its committed
// shards.
func (r *run) close() error {
	var err error
	if r.writer != nil {
		err = r.writer.Abort()
	}
	if r.cropper != nil {
		err = errors.Join(err, r.cropper.close())
	}
	for _, s := range r.sources {
		err = errors.Join(err, s.Close())
	}
	return err
}

func (r *run) openSources(ctx context.Context) error {
	for _, spec := range r.parsed.sources {
		opened := r.phase("open " + spec.String())
		s, err := spec.Open(ctx)
		opened()
		if err != nil {
			return err
		}
		r.sources = append(r.sources, s)
	}
	return nil
}

func (r *run) openCropper() (err error) {
	defer r.phase("open landmarks and detector")()
	o := r.options
	r.cropper = newCropper(r.parsed, o.Gate)
	r.summary.Decoder = r.cropper.contract.Decoder
	r.summary.Detector = detect.None
	if o.Landmarks != "" {
		if r.cropper.landmarks, err = source.OpenLandmarks(o.Landmarks); err != nil {
			return err
		}
		r.log(r.cropper.landmarks, "landmarks", o.Landmarks)
	}
	if r.parsed.detector.Kind == detect.None {
		return nil
	}
	r.cropper.detector, err = detect.Open(r.parsed.detector, detect.Options{
		MinScore: o.MinScore, Size: o.DetSize, Library: o.ONNXRuntime,
	})
	if err != nil {
		return err
	}
	r.summary.Detector = r.cropper.detector.Name()
	return nil
}

// closeWriter makes the dataset whole: its index, too.
func (r *run) closeWriter() error {
	defer r.phase("index " + r.options.Out)()
	return r.writer.Close()
}

func (r *run) openWriter(ctx context.Context) (err error) {
	defer r.phase("open " + r.options.Out)()
	r.writer, err = store.OpenWriter(r.options.Out, r.cropper.contract, store.WriterOptions{
		ShardRows: r.options.ShardRows, Logger: r.options.Logger, Context: ctx,
	})
	if err != nil {
		return err
	}
	for i, spec := range r.parsed.sources {
		info := store.SourceInfo{Kind: spec.Kind, Path: spec.Path, Digest: r.sources[i].Digest(), Detector: r.summary.Detector,
			Policy: r.options.policy(r.parsed.faces)}
		if r.cropper.detector != nil {
			info.DetectorDigest = r.cropper.detector.Digest()
		}
		if r.cropper.landmarks != nil {
			info.Landmarks = r.cropper.landmarks.Digest()
		}
		r.numbers = append(r.numbers, r.writer.AddSource(info))
	}
	return r.options.made.checkOutput(r.writer, r.numbers)
}

// produce walks the sources and submits their items.
func (r *run) produce(ctx context.Context, submit func(*task) error) error {
	met := 0 // items, over all sources
	err := r.walk(ctx, r.bar, r.total < 0, func(i int, item source.Item) error {
		n := met
		met++
		if o := r.options; o.items > 0 && (n < o.from || n >= o.from+o.items) {
			return nil
		}
		t := r.task(n, i, item)
		if t == nil {
			r.bar.Skip(1)
			return nil
		}
		return submit(t)
	})
	for i := range r.sources {
		r.logNotices(i)
	}
	return err
}

// logNotices logs what source i has noticed while it was walked.
func (r *run) logNotices(i int) {
	if noticer, ok := r.sources[i].(source.Noticer); ok {
		r.log(noticer, "source", r.parsed.sources[i].String())
	}
}

// log logs what was noticed in a file or source.
func (r *run) log(noticer source.Noticer, kind, name string) {
	for _, notice := range noticer.Notices() {
		r.logger().Warn(notice, kind, name)
	}
}

func (r *run) logger() *slog.Logger {
	if r.options.Logger == nil {
		return slog.Default()
	}
	return r.options.Logger
}

// key is what the dataset calls the item that source i calls name.
func (r *run) key(i int, name string) string {
	key := r.options.prefix(i) + name
	if r.parsed.faces == FacesAll {
		key = photoKey(key)
	}
	return key
}

// task is what to do with item n, of source i; nil if it is left out.
func (r *run) task(n, i int, item source.Item) *task {
	crop := store.Crop{
		Source: r.numbers[i], Key: r.key(i, item.Key), Identity: r.person(i, item.Identity), Attributes: attributesJSON(item.Attributes),
	}
	if r.tooFew(crop.Identity) {
		r.filtered++
		return nil
	}
	crop.Split = r.split(item, crop)
	var refused error
	if err := store.ValidKey(crop.Key); err != nil {
		refused = refuse(stageRead, fmt.Errorf("%w: %w", errStore, err))
		crop.Key = substitute(crop.Key)
	}
	t := &task{source: crop.Source, key: crop.Key, known: r.writer.Seen(crop.Source, crop.Key), held: item.Held}
	t.look = func(ctx context.Context) looked { return r.look(ctx, i, crop.Key, item) }
	t.make = func(ctx context.Context) ([]candidate, error) {
		if refused != nil {
			return nil, refused
		}
		faces, err := r.faces(ctx, n, i, r.stamped(i, item, &t.stamp), crop.Key, &t.stamp)
		if err == nil {
			name(faces, crop)
		}
		return faces, err
	}
	return t
}

// faces makes the crops of an item, or takes the ones that a plan's worker has made.
func (r *run) faces(ctx context.Context, n, i int, item source.Item, key string, stamp *store.Stamp) ([]candidate, error) {
	if r.options.made != nil {
		// In a part the sources have the plan's numbers, and a source that is named twice has
		// the first.
		return r.options.made.faces(n, slices.Index(r.parsed.sources, r.parsed.sources[i]), key, r.parsed.faces == FacesAll, stamp)
	}
	return r.cropper.crops(ctx, item, key)
}

// split is the split that an item goes to.
func (r *run) split(item source.Item, crop store.Crop) string {
	switch {
	case item.Split != "" || r.parsed.split == nil:
		return item.Split
	case crop.Identity != "":
		return r.parsed.split.of(crop.Identity)
	}
	return r.parsed.split.of(crop.Key)
}

// name gives the faces of an item what the item says. The main face, the last, gets all of
// it. Of further faces only the photograph is known.
func name(faces []candidate, item store.Crop) {
	for n := range faces {
		c := &faces[n].crop
		c.Source, c.Split = item.Source, item.Split
		if n == len(faces)-1 {
			c.Key, c.Identity, c.Attributes = item.Key, item.Identity, item.Attributes
		} else {
			c.Key = furtherKey(item.Key, n+1)
		}
	}
}

// substitute stands for a key that cannot be recorded because it is too long or no text. It is
// the beginning of the key, as far as that is text, and a digest of the whole.
func substitute(key string) string {
	const keep = 512
	sum := sha256.Sum256([]byte(key))
	text := strings.ReplaceAll(strings.ToValidUTF8(key[:min(keep, len(key))], ""), "\x00", "")
	return text + "..." + hex.EncodeToString(sum[:8])
}

// consume records what became of one item. It runs in one goroutine, in the order of the
// sources.
func (r *run) consume(t *task) error {
	const now = 1024 // and then
	if t.number%now == 0 {
		r.cropper.budget.keepHeap(r.heap)
	}
	if t.skip() {
		if t.found == changed {
			r.changed.add(t.key)
		}
		r.bar.Skip(1)
		r.skip(t.source, t.key)
		// Its further faces were appended before it.
		for n := 1; r.parsed.faces == FacesAll && r.writer.Seen(t.source, furtherKey(t.key, n)); n++ {
			r.skip(t.source, furtherKey(t.key, n))
		}
		return nil
	}
	defer r.bar.Add(1)
	var refused *refusal
	switch {
	case errors.As(t.err, &refused):
		t.faces = []candidate{{store.Crop{Source: t.source, Key: t.key}, t.err}}
	case t.err != nil:
		return fmt.Errorf("%s: %w", t.key, t.err)
	}
	for i := range t.faces {
		c := &t.faces[i].crop
		c.Stamp = t.stamp
		if t.found == anew && r.writer.Again(c.Source, c.Key) {
			r.summary.Retried++
		}
		if err := r.take(&t.faces[i]); err != nil {
			return err
		}
	}
	return nil
}

// skip counts an input that was dealt with before.
func (r *run) skip(source int, key string) {
	r.summary.Seen++
	r.summary.Skipped++
	if r.writer.Refused(source, key) {
		r.summary.RejectedBefore++
	}
}

// take records what became of one face.
func (r *run) take(c *candidate) error {
	if r.writer.Seen(c.crop.Source, c.crop.Key) {
		// An earlier run was interrupted between this face and its photograph's main one, or
		// the source has two items of this key.
		r.skip(c.crop.Source, c.crop.Key)
		return nil
	}
	r.summary.Seen++
	var refused *refusal
	if errors.As(c.refused, &refused) {
		return r.reject(c.crop, refused)
	}
	outcome, err := r.writer.Append(c.crop)
	if err != nil {
		// The writer is usable after a crop that it does not take, so the reject is recorded.
		// After a failure to write, recording fails with the same error.
		return r.reject(c.crop, &refusal{stageStore, fmt.Errorf("%w: %w", errStore, err)})
	}
	switch outcome {
	case store.Stored:
		r.summary.Written++
	case store.Duplicate:
		r.summary.Duplicates++
	case store.Conflict:
		r.countReject(&refusal{stageStore, errConflict})
	default:
		r.summary.Skipped++
	}
	return nil
}

func (r *run) reject(c store.Crop, why *refusal) error {
	r.countReject(why)
	return r.writer.Reject(store.Reject{Source: c.Source, Key: c.Key, Stage: why.stage, Reason: why.err.Error(), Stamp: c.Stamp})
}

func (r *run) countReject(why *refusal) {
	r.summary.Rejected++
	r.summary.RejectReasons[why.kind()]++
	r.bar.Reject(1, why.kind())
}

// describeDataset reads back what the dataset has become.
func (r *run) describeDataset() error {
	d, err := store.Open(r.options.Out)
	if err != nil {
		return err
	}
	r.summary.Digest, r.summary.Rows = d.Digest(), d.Rows()
	r.summary.Shards, r.summary.Identities = d.Shards(), d.Identities()
	return d.Close()
}
