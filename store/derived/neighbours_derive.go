package derived

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/apache/arrow-go/v18/arrow/array"

	"facepipe/internal/nearest"
	"facepipe/internal/progress"
	"facepipe/store"
	"facepipe/store/cache"
	"facepipe/store/internal/table"
)

// What [NeighboursOptions] are unless they say otherwise.
const (
	DefaultNeighbours = 64
	// DefaultExactUpTo crops are compared with each other in a few minutes on two processors.
	DefaultExactUpTo = 200_000
)

// NeighboursOptions adjust [DeriveNeighbours].
type NeighboursOptions struct {
	// K is how many neighbours each list of a crop has; 0 takes [DefaultNeighbours].
	K int
	// ExactUpTo is the number of crops up to which each is compared with all; 0 takes
	// [DefaultExactUpTo].
	ExactUpTo int
	// Rebuild derives again what looks good.
	Rebuild bool
	// Progress receives bars; nil is silent.
	Progress io.Writer
	// partRows are those of a table; 0 takes neighbourPartRows. workers is 0 for one a processor.
	partRows, workers int
}

// neighbourPartRows are found between two commits: some minutes' work in a large dataset.
const neighbourPartRows = 1 << 16

// NeighboursSummary is what [DeriveNeighbours] did.
type NeighboursSummary struct {
	Dataset string `json:"dataset"`
	Teacher string `json:"teacher"`
	K       int    `json:"k"`
	Rows    int    `json:"rows"`
	// Unusable crops have no embedding and no neighbours. To the Unlabelled, which have no
	// identity, all crops are others'.
	Unusable   int `json:"unusable"`
	Unlabelled int `json:"unlabelled"`
	// Exact says that each crop was compared with all; if not, Method says with which.
	Exact bool `json:"exact"`
	nearest.Method
	// Cache is the digest of the teacher cache.
	Cache string `json:"cache"`
	// Reused says that all was there already, and Resumed how many rows an interrupted call had
	// left.
	Reused  bool    `json:"reused"`
	Resumed int     `json:"resumed"`
	Bytes   int64   `json:"bytes"`
	Seconds float64 `json:"seconds"`
}

// settle fills in what is left open.
func (o NeighboursOptions) settle() (NeighboursOptions, error) {
	o.K = cmp.Or(o.K, DefaultNeighbours)
	o.ExactUpTo = cmp.Or(o.ExactUpTo, DefaultExactUpTo)
	o.partRows = cmp.Or(o.partRows, neighbourPartRows)
	if o.K < 1 || o.K > MaxNeighbours {
		return o, fmt.Errorf("%d neighbours were asked for, want 1 to %d", o.K, MaxNeighbours)
	}
	if o.ExactUpTo < 0 {
		return o, fmt.Errorf("exact up to %d crops is no number of crops", o.ExactUpTo)
	}
	return o, nil
}

// willDo says whether tables serve who asks for these.
func (o NeighboursOptions) willDo(m *neighboursManifest) bool {
	return !o.Rebuild && m.K >= o.K && (m.Exact() || m.Rows > o.ExactUpTo)
}

// DeriveNeighbours finds the nearest crops of every crop by a teacher of the dataset in dir, unless
// they are there: as many as are asked for or more, and by comparing all if that is asked for. The
// cache must be complete. Memory grows by some 20 bytes a crop beyond what is found of 65,536
// crops. An interrupted call goes on after the last 65,536 that were committed; the bytes do not
// depend on how often it was, or on the number of processors. Errors: [store.ErrNotFound],
// [store.ErrDamaged].
func DeriveNeighbours(ctx context.Context, dir, teacher string, o NeighboursOptions) (s NeighboursSummary, err error) {
	begun := time.Now()
	s = NeighboursSummary{Dataset: dir, Teacher: teacher}
	err = inDataset(dir, teacher, func(t *cache.Cache) error {
		m, resumed, reused, err := ensureNeighbours(ctx, t, o)
		if err != nil {
			return err
		}
		s.K, s.Rows, s.Unusable, s.Unlabelled = m.K, m.Rows, m.Unusable, m.Unlabelled
		s.Exact, s.Method, s.Cache, s.Reused, s.Resumed = m.Exact(), m.Method, m.Cache, reused, resumed
		_, s.Bytes = NeighboursState(t)
		return nil
	})
	s.Seconds = time.Since(begun).Seconds()
	return s, err
}

// OpenNeighbours opens the nearest crops of every crop, at most k (0 takes [DefaultNeighbours]) of
// each kind, and finds them first where they are missing, fewer, damaged or of another state of
// the cache; progress, if it is not nil, receives bars then. The errors are those of
// [DeriveNeighbours].
func OpenNeighbours(ctx context.Context, t *cache.Cache, k int, progress io.Writer) (*Neighbours, error) {
	k = cmp.Or(k, DefaultNeighbours)
	if _, _, _, err := ensureNeighbours(ctx, t, NeighboursOptions{K: k, Progress: progress}); err != nil {
		return nil, err
	}
	return readNeighbours(t, k)
}

// ensureNeighbours derives the neighbours unless they are there; resumed is how many rows were.
func ensureNeighbours(ctx context.Context, t *cache.Cache, o NeighboursOptions) (m *neighboursManifest, resumed int, reused bool, err error) {
	if o, err = o.settle(); err != nil {
		return nil, 0, false, err
	}
	m, reused, err = nearestCrops.ensure(ctx, t, o.willDo, func(f folder, m *neighboursManifest) error {
		m.K, m.Rows, m.PartRows = o.K, t.Dataset().Rows(), o.partRows
		b := &neighbourBuilder{ctx: ctx, teacher: t, folder: f, manifest: m, o: o}
		err := b.run()
		resumed = b.resumed
		return err
	})
	return m, resumed, reused, err
}

// neighbourBuilder derives the tables, part by part.
type neighbourBuilder struct {
	ctx      context.Context
	teacher  *cache.Cache
	folder   folder
	manifest *neighboursManifest
	o        NeighboursOptions
	search   *nearest.Search
	bar      *progress.Bar
	resumed  int // rows
}

func (b *neighbourBuilder) run() (err error) {
	m := b.manifest
	labels, err := b.teacher.Dataset().Labels(b.ctx)
	if err != nil {
		return err
	}
	for _, label := range labels {
		if label == store.NoLabel {
			m.Unlabelled++
		}
	}
	vectors, err := openVectors(b.teacher)
	defer func() { err = errors.Join(err, vectors.close()) }()
	if err != nil {
		return err
	}
	b.search, err = nearest.New(b.ctx, vectors, labels, nearest.Options{K: m.K, ExactUpTo: b.o.ExactUpTo, Workers: b.o.workers, Progress: b.o.Progress})
	if err != nil {
		return err
	}
	m.Method, m.Unusable = b.search.Method(), b.search.Missing()
	b.bar = progress.New(b.o.Progress, "find neighbours", int64(2*m.Rows)) // others', and own
	defer b.bar.Finish()
	var paths []string
	for i := range m.partCount() {
		path := b.folder.table(m.tableName(i), m.Cache)
		file, err := b.part(path, i)
		if err != nil {
			return err
		}
		m.Parts, paths = append(m.Parts, file), append(paths, path)
	}
	return b.folder.commit(m, paths...)
}

// part makes a table, unless an interrupted call has left it whole.
func (b *neighbourBuilder) part(path string, i int) (*table.FileInfo, error) {
	from, to := b.manifest.span(i)
	if file := b.left(path, to-from); file != nil && !b.o.Rebuild {
		b.resumed += to - from
		b.bar.Skip(int64(2 * (to - from)))
		return file, nil
	}
	file, err := b.write(path, from, to)
	if err != nil {
		return nil, err
	}
	done := *b.manifest
	done.Parts = []*table.FileInfo{file}
	data, err := table.EncodeSealed(&done)
	if err != nil {
		return nil, err
	}
	return file, b.folder.disk.WriteFile(part(path), data, table.FileMode)
}

// left is a part that an interrupted call has completed, nil if there is none. All of it is read.
func (b *neighbourBuilder) left(path string, rows int) *table.FileInfo {
	m := new(neighboursManifest)
	if table.ReadSealed(part(path), table.FormatNeighbours, m) != nil || len(m.Parts) != 1 || m.Parts[0] == nil {
		return nil
	}
	same := m.Cache == b.manifest.Cache && m.K == b.manifest.K && m.PartRows == b.manifest.PartRows && m.Method == b.manifest.Method
	if !same || m.Parts[0].Validate(rows) != nil {
		return nil
	}
	file, err := table.Open(path, m.Parts[0], neighbourSchema(b.teacher.Info(), m.Cache), parseNeighbours(b.manifest.Rows))
	if err != nil {
		return nil
	}
	if errors.Join(file.Audit(), file.Close()) != nil {
		return nil
	}
	return m.Parts[0]
}

// write finds the neighbours of the rows from .. to-1 and makes a table of them.
func (b *neighbourBuilder) write(path string, from, to int) (info *table.FileInfo, err error) {
	others, err := b.search.Others(b.ctx, from, to, b.bar)
	if err != nil {
		return nil, err
	}
	own, err := b.search.Same(b.ctx, from, to, b.bar)
	if err != nil {
		return nil, err
	}
	batch := min(qualityBatchRows, max(1, table.MaxBatchBytes/(16*b.manifest.K+64)))
	w, err := newTableWriter(b.folder, path, neighbourSchema(b.teacher.Info(), b.manifest.Cache), batch, parseNeighbours(b.manifest.Rows))
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, w.out.Abort()) }() // does nothing after commit
	err = b.eachID(from, to, func(row int, id store.ID) error {
		w.build.Field(0).(*array.FixedSizeBinaryBuilder).Append(id[:])
		for i, found := range []*nearest.Neighbours{others, own} {
			rows, cosines := found.Of(row - from)
			w.integers(2*i+1, rows)
			w.numbers(2*i+2, cosines)
		}
		return w.done()
	})
	if err != nil {
		return nil, err
	}
	if info, err = w.seal(); err != nil {
		return nil, err
	}
	return info, w.out.Commit()
}

// eachID visits the ids of the rows from .. to-1.
func (b *neighbourBuilder) eachID(from, to int, visit func(row int, id store.ID) error) error {
	d := b.teacher.Dataset()
	for row := from; row < to; {
		at := d.Locate(row)
		n := min(to-row, d.ShardRows(int(at.Shard))-int(at.Row))
		if err := eachIDOf(d, at, n, func(k int, id store.ID) error { return visit(row+k, id) }); err != nil {
			return err
		}
		row += n
	}
	return nil
}

// eachIDOf visits the ids of n rows of a shard.
func eachIDOf(d *store.Dataset, at store.Location, n int, visit func(k int, id store.ID) error) (err error) {
	ids, err := d.IDs(int(at.Shard))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, ids.Close()) }()
	for k := range n {
		id, err := ids.At(int(at.Row) + k)
		if err != nil {
			return err
		}
		if err := visit(k, id); err != nil {
			return err
		}
	}
	return nil
}

// cacheVectors are the embeddings of a cache, all shards open; mirror images left out.
type cacheVectors struct {
	teacher *cache.Cache
	shards  []*cache.Shard
}

func openVectors(t *cache.Cache) (*cacheVectors, error) {
	v := &cacheVectors{teacher: t}
	for i := range t.Dataset().Shards() {
		shard, err := t.Shard(i)
		if err != nil {
			return v, err
		}
		v.shards = append(v.shards, shard)
	}
	return v, nil
}

func (v *cacheVectors) close() (err error) {
	for _, shard := range v.shards {
		err = errors.Join(err, shard.Close())
	}
	return err
}

func (v *cacheVectors) Len() int { return v.teacher.Dataset().Rows() }

func (v *cacheVectors) Dim() int { return v.teacher.Info().Dim }

func (v *cacheVectors) Row(i int, dst []float32) (ok bool, err error) {
	at := v.teacher.Dataset().Locate(i)
	_, ok, err = v.shards[at.Shard].Row(int(at.Row), false, dst)
	return ok, err
}
