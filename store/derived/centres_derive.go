package derived

import (
	"cmp"
	"context"
	"errors"
	"io"
	"maps"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/apache/arrow-go/v18/arrow/array"

	"facepipe/internal/progress"
	"facepipe/internal/vec"
	"facepipe/store"
	"facepipe/store/cache"
	"facepipe/store/internal/table"
)

// CentresOptions adjust [DeriveCentres].
type CentresOptions struct {
	// Rebuild derives again what looks good.
	Rebuild bool
	// Progress receives the bar; nil is silent.
	Progress io.Writer
	// memory bounds the sums that are held at a time; 0 takes centreMemory.
	memory int
}

// CentresSummary is what [DeriveCentres] did.
type CentresSummary struct {
	Dataset string `json:"dataset"`
	Teacher string `json:"teacher"`
	// Identities of the dataset, of which WithoutCentre have no usable embedding.
	Identities    int `json:"identities"`
	WithoutCentre int `json:"without_centre"`
	Rows          int `json:"rows"`
	// MeanSpread is the mean, over the identities with a centre, of the mean cosine
	// distance of their embeddings to it.
	MeanSpread float64 `json:"mean_spread"`
	// Cache is the digest of the teacher cache.
	Cache string `json:"cache"`
	// Reused says that all was there already.
	Reused  bool    `json:"reused"`
	Bytes   int64   `json:"bytes"`
	Seconds float64 `json:"seconds"`
}

// centreMemory is the most that sums of embeddings take. More identities than fit are
// dealt with in turn, each time reading the shards that have any of them: in a dataset
// that is sorted by identity, as most are, nearly every shard once.
const centreMemory = 256 << 20

// DeriveCentres derives the class centres and crop qualities of a teacher of the dataset
// in dir, unless they are there. The cache must be complete. Memory is bounded whatever
// the number of crops and identities. An interrupted call leaves what was there before;
// the bytes do not depend on how often it was. Errors: [store.ErrNotFound], [store.ErrDamaged].
func DeriveCentres(ctx context.Context, dir, teacher string, o CentresOptions) (s CentresSummary, err error) {
	begun := time.Now()
	s = CentresSummary{Dataset: dir, Teacher: teacher}
	err = inDataset(dir, teacher, func(t *cache.Cache) error {
		m, reused, err := ensureCentres(ctx, t, o)
		if err != nil {
			return err
		}
		s.Identities, s.WithoutCentre, s.Rows, s.MeanSpread = m.Identities, m.WithoutCentre, m.Rows, m.MeanSpread
		s.Cache, s.Reused = m.Cache, reused
		_, s.Bytes = CentresState(t)
		return nil
	})
	s.Seconds = time.Since(begun).Seconds()
	return s, err
}

// OpenCentres opens the class centres and crop qualities, and derives them first where they
// are missing, damaged or of another state of the cache; progress, if it is not nil,
// receives a bar then. The errors are those of [DeriveCentres].
func OpenCentres(ctx context.Context, t *cache.Cache, progress io.Writer) (*Centres, error) {
	if _, _, err := ensureCentres(ctx, t, CentresOptions{Progress: progress}); err != nil {
		return nil, err
	}
	return readCentres(t)
}

// ensureCentres derives the centres unless they are there.
func ensureCentres(ctx context.Context, t *cache.Cache, o CentresOptions) (m *centresManifest, reused bool, err error) {
	willDo := func(*centresManifest) bool { return !o.Rebuild }
	return classCentres.ensure(ctx, t, willDo, func(f folder, m *centresManifest) error {
		d := t.Dataset()
		m.Identities, m.Rows = d.Identities(), d.Rows()
		b := &centreBuilder{
			ctx: ctx, teacher: t, folder: f, manifest: m,
			bar:      progress.New(o.Progress, "derive centres", int64(2*d.Rows())),
			perBlock: max(1, cmp.Or(o.memory, centreMemory)/(8*t.Info().Dim)),
		}
		defer b.bar.Finish()
		return b.run()
	})
}

// centreBuilder derives the tables: first all centres, block by block of the labels, then
// the qualities, which look centres up in the table that was made.
type centreBuilder struct {
	ctx      context.Context
	teacher  *cache.Cache
	folder   folder
	bar      *progress.Bar
	perBlock int // identities
	manifest *centresManifest
	spreads  float64 // summed
}

func (b *centreBuilder) run() (err error) {
	m := b.manifest
	var tables []string
	if m.Identities > 0 {
		path := b.folder.table(tableCentres, m.Cache)
		if m.Centres, err = b.centres(path); err != nil {
			return err
		}
		tables = append(tables, path)
	}
	if with := m.Identities - m.WithoutCentre; with > 0 {
		m.MeanSpread = b.spreads / float64(with)
	}
	if m.Rows > 0 {
		path := b.folder.table(tableQuality, m.Cache)
		if m.Quality, err = b.qualities(path); err != nil {
			return err
		}
		tables = append(tables, path)
	}
	return b.folder.commit(m, tables...)
}

// centres makes the table of centres.
func (b *centreBuilder) centres(path string) (info *table.FileInfo, err error) {
	t := b.teacher
	w, err := newTableWriter(b.folder, path, centreSchema(t.Info(), b.manifest.Cache), vectorRows(t.Info().Dim), parseCentreColumns)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, w.out.Abort()) }() // does nothing after commit
	ranges, err := b.labelRanges()
	if err != nil {
		return nil, err
	}
	for from := 0; from < b.manifest.Identities; from += b.perBlock {
		block := newCentreBlock(from, min(b.perBlock, b.manifest.Identities-from), t.Info().Dim)
		for shard, labels := range ranges {
			if !labels.meets(block) {
				continue
			}
			if err := b.gather(block, shard); err != nil {
				return nil, err
			}
		}
		if err := b.write(w, block); err != nil {
			return nil, err
		}
	}
	if info, err = w.seal(); err != nil {
		return nil, err
	}
	return info, w.out.Commit()
}

// labelRange is the lowest and the highest label in a shard.
type labelRange struct{ low, high int32 }

func (r labelRange) meets(b *centreBlock) bool {
	return int(r.high) >= b.from && int(r.low) < b.from+len(b.names)
}

// labelRanges says which shards have to be read for which labels.
func (b *centreBuilder) labelRanges() ([]labelRange, error) {
	ranges := make([]labelRange, b.teacher.Dataset().Shards())
	for i := range ranges {
		if err := b.ctx.Err(); err != nil {
			return nil, err
		}
		r := labelRange{low: math.MaxInt32, high: store.NoLabel}
		err := b.teacher.Dataset().EachLabel(i, func(label int32, _ string) {
			if label != store.NoLabel {
				r.low, r.high = min(r.low, label), max(r.high, label)
			}
		})
		if err != nil {
			return nil, err
		}
		ranges[i] = r
	}
	return ranges, nil
}

// centreBlock sums the unit embeddings of consecutive labels.
type centreBlock struct {
	from, dim int
	names     []string
	counts    []int32 // crops
	vectors   []int   // unit embeddings that were summed
	sums      []float64
}

func newCentreBlock(from, n, dim int) *centreBlock {
	return &centreBlock{from: from, dim: dim, names: make([]string, n), counts: make([]int32, n), vectors: make([]int, n), sums: make([]float64, n*dim)}
}

// gather adds the embeddings of a shard.
func (b *centreBuilder) gather(block *centreBlock, shard int) error {
	err := b.teacher.Dataset().EachLabel(shard, func(label int32, identity string) {
		if at := int(label) - block.from; at >= 0 && at < len(block.names) && block.names[at] == "" {
			block.names[at] = strings.Clone(identity)
		}
	})
	if err != nil {
		return err
	}
	return block.gather(b.ctx, b.teacher, shard, func(_ int, label int32) (at int, ok bool) {
		at = int(label) - block.from
		if ok = at >= 0 && at < len(block.names); ok {
			b.bar.Add(1)
		}
		return at, ok
	})
}

// gather adds the embeddings of a shard at the places that the rows of the dataset are for.
func (s *centreBlock) gather(ctx context.Context, t *cache.Cache, shard int, place func(row int, label int32) (at int, ok bool)) error {
	var labels []int32
	if err := t.Dataset().EachLabel(shard, func(label int32, _ string) { labels = append(labels, label) }); err != nil {
		return err
	}
	first := t.Dataset().RowOf(store.Location{Shard: uint32(shard)})
	row := make([]float32, s.dim)
	return t.EachBatch(ctx, shard, func(c *cache.Columns, from int) error {
		for k := range c.ID.Len() {
			if at, ok := place(first+from+k, labels[from+k]); ok && s.add(at, c, k, row) {
				s.counts[at]++
			}
		}
		return nil
	})
}

// CentresOf are the class centres of some labels, made as [DeriveCentres] makes them but of those
// rows alone that keep takes; a label that is left without an embedding of use has none. The
// cache must be complete, and nothing is written. Memory grows with the labels. Errors:
// [store.ErrDamaged], the context's.
func CentresOf(ctx context.Context, t *cache.Cache, labels map[int32]bool, keep func(row int) bool) (map[int32][]float32, error) {
	order := slices.Sorted(maps.Keys(labels))
	block := newCentreBlock(0, len(order), t.Info().Dim)
	for shard := range t.Dataset().Shards() {
		err := block.gather(ctx, t, shard, func(row int, label int32) (at int, ok bool) {
			at, ok = slices.BinarySearch(order, label)
			return at, ok && keep(row)
		})
		if err != nil {
			return nil, err
		}
	}
	centres := map[int32][]float32{}
	for at, label := range order {
		centre := make([]float32, block.dim)
		if _, ok := block.centre(at, centre); ok {
			centres[label] = centre
		}
	}
	return centres, nil
}

// add sums up what a crop has: its embedding and its mirror image's. false if neither is
// usable. row is scratch.
func (s *centreBlock) add(at int, c *cache.Columns, k int, row []float32) (any bool) {
	sums := s.sums[at*s.dim : (at+1)*s.dim]
	for _, v := range []*table.Vectors{&c.Plain, c.Mirror} {
		if v == nil || v.Norms[k] == 0 {
			continue
		}
		v.CopyRow(k, row)
		// By the norm of what is stored, so that the vector has length 1 whatever its
		// elements were rounded to.
		scale := 1 / vec.Norm(row)
		for i, x := range row {
			// The conversion keeps the product from being fused with the sum: the bits
			// are to be the same on all processors.
			sums[i] += float64(float64(x) * scale)
		}
		s.vectors[at]++
		any = true
	}
	return any
}

// minResultant is the length of a mean of unit vectors below which they cancel out.
const minResultant = 1e-6

// write makes centres of the sums.
func (b *centreBuilder) write(w *tableWriter[centreColumns], block *centreBlock) error {
	centre := make([]float32, block.dim)
	for i, name := range block.names {
		spread, ok := block.centre(i, centre)
		if ok {
			b.spreads += spread
		} else {
			b.manifest.WithoutCentre++
		}
		w.build.Field(0).(*array.StringBuilder).Append(name)
		w.build.Field(1).(*array.Int32Builder).Append(block.counts[i])
		w.number(2, float32(spread))
		w.vector(3, centre)
		if err := w.done(); err != nil {
			return err
		}
	}
	return nil
}

// centre is that of one label, of length 1, and its spread; zeros if there is none. The
// mean cosine of unit vectors to their mean's direction is the length of the mean, so
// that the spread needs no second look at them.
func (s *centreBlock) centre(i int, dst []float32) (spread float64, ok bool) {
	clear(dst)
	if s.vectors[i] == 0 {
		return math.NaN(), false
	}
	sums := s.sums[i*s.dim : (i+1)*s.dim]
	length := vec.Norm(sums)
	resultant := length / float64(s.vectors[i])
	if resultant < minResultant {
		return 1, false
	}
	for k, x := range sums {
		dst[k] = float32(x / length)
	}
	return max(0, 1-resultant), true
}

// qualities makes the table of crops.
func (b *centreBuilder) qualities(path string) (info *table.FileInfo, err error) {
	t, m := b.teacher, b.manifest
	var centres *table.File[centreColumns]
	if m.Centres != nil {
		centres, err = table.Open(b.folder.table(tableCentres, m.Cache), m.Centres, centreSchema(t.Info(), m.Cache), parseCentreColumns)
		if err != nil {
			return nil, err
		}
		defer func() { err = errors.Join(err, centres.Close()) }()
	}
	w, err := newTableWriter(b.folder, path, qualitySchema(t.Info(), m.Cache), qualityBatchRows, parseQualityColumns)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, w.out.Abort()) }() // does nothing after commit
	for shard := range t.Dataset().Shards() {
		if err := b.rate(w, centres, shard); err != nil {
			return nil, err
		}
	}
	if info, err = w.seal(); err != nil {
		return nil, err
	}
	return info, w.out.Commit()
}

// rate adds the crops of a shard.
func (b *centreBuilder) rate(w *tableWriter[qualityColumns], centres *table.File[centreColumns], shard int) error {
	var labels []int32
	if err := b.teacher.Dataset().EachLabel(shard, func(label int32, _ string) { labels = append(labels, label) }); err != nil {
		return err
	}
	dim := b.teacher.Info().Dim
	row, centre := make([]float32, dim), make([]float32, dim)
	return b.teacher.EachBatch(b.ctx, shard, func(c *cache.Columns, from int) error {
		for k := range c.ID.Len() {
			b.bar.Add(1)
			clear(centre)
			if label := labels[from+k]; label != store.NoLabel {
				at, within := centres.Find(int(label))
				columns, err := centres.Columns[at]()
				if err != nil {
					return err
				}
				columns.centres.CopyRow(within, centre)
			}
			w.build.Field(0).(*array.FixedSizeBinaryBuilder).Append(c.ID.Value(k))
			for i, v := range []*table.Vectors{&c.Plain, c.Mirror} {
				if v == nil {
					continue
				}
				w.number(2*i+1, v.Norms[k])
				w.number(2*i+2, cosine(v, k, centre, row))
			}
			if err := w.done(); err != nil {
				return err
			}
		}
		return nil
	})
}

// cosine of row k to a vector; NaN where either is zero. row is scratch.
func cosine(v *table.Vectors, k int, to, row []float32) float32 {
	square := vec.Dot(to, to)
	if v.Norms[k] == 0 || square == 0 {
		return float32(math.NaN()) // not 0 / 0, whose bits depend on the processor
	}
	v.CopyRow(k, row)
	return float32(min(1, max(-1, vec.Dot(row, to)/math.Sqrt(vec.Dot(row, row)*square))))
}
