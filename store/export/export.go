package export

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"time"

	"facepipe/internal/progress"
	"facepipe/store"
	"facepipe/store/cache"
)

// DefaultShardCrops is the number of crops in a tar file.
const DefaultShardCrops = 10_000

// Options say what [Run] exports, and how.
type Options struct {
	// Dataset is the folder of the dataset.
	Dataset string
	// To is one of [Kinds].
	To string
	// Out is the folder to make. It must be new or empty.
	Out string
	// Teacher names the cache that npy exports; the others take none.
	Teacher string
	// ShardCrops is the number of crops in a tar file of webdataset; 0 is
	// [DefaultShardCrops].
	ShardCrops int
	// Progress gets a progress display; nil is none.
	Progress io.Writer
	// Logger gets notices; nil is [slog.Default].
	Logger *slog.Logger
}

// Summary is what a run wrote.
type Summary struct {
	Dataset string `json:"dataset"`
	// Digest is the dataset's.
	Digest string `json:"digest"`
	To     string `json:"to"`
	Out    string `json:"out"`
	// Rows is the number of crops or embeddings.
	Rows int `json:"rows"`
	// LeftOut crops have no identity, which recordio has no place for.
	LeftOut int `json:"left_out"`
	// Files and Bytes count what lies in Out.
	Files int   `json:"files"`
	Bytes int64 `json:"bytes"`
	// Reused says that Out held this very export already, and nothing was done.
	Reused  bool    `json:"reused"`
	Seconds float64 `json:"seconds"`
}

// target writes crops into a staging folder.
type target interface {
	// add takes the crop at a location; they come in the order of the kind. Its Image is empty if the
	// target wants none, else valid during the call.
	add(at store.Location, c *store.Crop) error
	// close completes the files.
	close() error
	// abort lets go of what is open. After close it does nothing.
	abort()
}

// kind is a form of export.
type kind struct {
	open func(*run) (target, error)
	// grouped says whether crops come by identity, in the order of labels and those
	// without one left out; otherwise they come in the order of the dataset.
	grouped bool
	// images says whether the crops' images are wanted.
	images bool
	// teacher says whether a teacher cache is wanted.
	teacher bool
}

func kinds() map[string]kind {
	return map[string]kind{
		"folder":     {open: newFolder, images: true},
		"recordio":   {open: newRecords, images: true, grouped: true},
		"webdataset": {open: newWebDataset, images: true},
		"npy":        {open: newArrays, teacher: true},
	}
}

// Kinds are the forms of export, sorted.
func Kinds() []string { return slices.Sorted(maps.Keys(kinds())) }

// Validate reports what is wrong with the options in themselves.
func (o Options) Validate() error {
	k, known := kinds()[o.To]
	switch {
	case o.Dataset == "":
		return errors.New("no dataset is named")
	case o.Out == "":
		return errors.New("no folder for the export is named")
	case !known:
		return fmt.Errorf("export to %q: want one of %s", o.To, strings.Join(Kinds(), ", "))
	case k.teacher && o.Teacher == "":
		return fmt.Errorf("export to %s: name the teacher whose embeddings are wanted", o.To)
	case !k.teacher && o.Teacher != "":
		return fmt.Errorf("export to %s: takes no teacher", o.To)
	case o.ShardCrops < 0:
		return fmt.Errorf("%d crops a shard", o.ShardCrops)
	}
	return nil
}

// run is one call of [Run].
type run struct {
	options Options
	kind    kind
	dataset *store.Dataset
	teacher *cache.Cache // nil unless one is wanted
	groups  *groups      // nil unless crops come by identity
	stage   *staging
}

// Run exports a dataset. What is read is verified: [store.ErrDamaged]. Out appears
// complete or not at all; one that holds this very export already is left as it is, and
// one that holds anything else is refused. Memory grows by about 100 bytes a crop for
// folder, by 4 for recordio, by nothing for the others.
func Run(ctx context.Context, o Options) (Summary, error) {
	begun := time.Now()
	s, err := runOptions(ctx, o)
	s.Seconds = time.Since(begun).Seconds()
	if err != nil {
		return s, fmt.Errorf("export: %w", err)
	}
	return s, nil
}

func runOptions(ctx context.Context, o Options) (s Summary, err error) {
	if err := o.Validate(); err != nil {
		return s, err
	}
	if o.ShardCrops == 0 {
		o.ShardCrops = DefaultShardCrops
	}
	r := &run{options: o, kind: kinds()[o.To]}
	if err := r.openDataset(); err != nil {
		return s, err
	}
	defer func() { err = errors.Join(err, r.dataset.Close()) }()
	m := marker{Format: markerFormat, To: o.To, Dataset: r.dataset.Digest(), Rows: r.dataset.Rows()}
	if o.To == "webdataset" {
		m.ShardCrops = o.ShardCrops
	}
	if r.kind.grouped {
		if r.groups, err = groupRows(ctx, r.dataset); err != nil {
			return s, err
		}
		m.LeftOut = m.Rows - len(r.groups.rows)
		m.Rows = len(r.groups.rows)
	}
	if r.teacher != nil {
		m.Teacher = o.Teacher
		if m.TeacherDigest, err = r.teacher.Digest(); err != nil {
			return s, err
		}
	}
	r.stage, err = newStaging(o.Out, m)
	if err != nil {
		return s, err
	}
	defer func() { err = errors.Join(err, r.stage.abort()) }()
	reused := r.stage.done
	if !reused {
		if err := r.write(ctx); err != nil {
			return s, err
		}
		if err := r.stage.publish(); err != nil {
			return s, err
		}
	}
	m = r.stage.marker
	return Summary{
		Dataset: o.Dataset, Digest: m.Dataset, To: o.To, Out: o.Out,
		Rows: m.Rows, LeftOut: m.LeftOut, Files: m.Files, Bytes: m.Bytes, Reused: reused,
	}, nil
}

func (r *run) openDataset() (err error) {
	var options []store.Option
	if r.options.Logger != nil {
		options = append(options, store.WithLogger(r.options.Logger))
	}
	if r.dataset, err = store.Open(r.options.Dataset, options...); err != nil {
		return err
	}
	if r.kind.teacher {
		r.teacher, err = cache.Open(r.dataset, r.options.Teacher)
	}
	if err != nil {
		return errors.Join(err, r.dataset.Close())
	}
	return nil
}

// write fills the staging folder.
func (r *run) write(ctx context.Context) error {
	t, err := r.kind.open(r)
	if err != nil {
		return err
	}
	defer t.abort()
	bar := progress.New(r.options.Progress, "export", int64(r.stage.marker.Rows)).Of("crops")
	defer bar.Finish()
	if r.groups != nil {
		err = r.writeGroups(ctx, t, bar)
	} else {
		err = r.writeShards(ctx, t, bar)
	}
	if err != nil {
		return err
	}
	return t.close()
}

func (r *run) writeShards(ctx context.Context, t target, bar *progress.Bar) error {
	for shard := range r.dataset.Shards() {
		if err := r.writeShard(ctx, shard, t, bar); err != nil {
			return err
		}
	}
	return nil
}

func (r *run) writeShard(ctx context.Context, shard int, t target, bar *progress.Bar) (err error) {
	s, err := r.dataset.CropShard(shard)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	read := s.Crop
	if !r.kind.images {
		read = s.Head
	}
	for row := range s.Rows() {
		if err := ctx.Err(); err != nil {
			return err
		}
		crop, err := read(row)
		if err != nil {
			return err
		}
		if err := t.add(store.Location{Shard: uint32(shard), Row: uint32(row)}, &crop); err != nil {
			return err
		}
		bar.Add(1)
	}
	return nil
}
