package derived

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"

	"github.com/apache/arrow-go/v18/arrow"
	"gonum.org/v1/gonum/blas"
	"gonum.org/v1/gonum/blas/blas64"
	"gonum.org/v1/gonum/mat"

	"facepipe/internal/progress"
	"facepipe/internal/vec"
	"facepipe/store/cache"
	"facepipe/store/internal/table"
)

// Alignment turns a teacher's unit embeddings into the space of another teacher, the
// reference, whose embeddings are as long or longer: the orthogonal Procrustes solution
// (Schönemann, "A generalized solution of the orthogonal Procrustes problem", Psychometrika 31,
// 1966). Of all matrices R with orthonormal columns it maximises the sum of <r, R·t> over pairs
// of unit embeddings r and t of one crop: R = U·Vᵀ for the singular value decomposition U·S·Vᵀ of
// Σ r·tᵀ.
type Alignment struct {
	// Rotation is R, To rows of From values.
	Rotation []float32
	From, To int
	// Pairs of embeddings were compared, spread over the dataset. Cosine is the mean of <r, R·t>.
	Pairs  int
	Cosine float64
}

const (
	alignmentFolder = "alignment"
	tableRotation   = "rotation"
	// maxAlignmentPairs are enough for the 512 × 512 values at most usual to be found exactly to
	// some hundredths, and take seconds.
	maxAlignmentPairs = 1 << 16
	// alignmentBlock are the pairs that are multiplied at a time.
	alignmentBlock = 1024
)

// alignmentManifest is teachers/NAME/alignment/alignment.json.
type alignmentManifest struct {
	made
	// Reference is the fingerprint of the reference, ReferenceCache the digest of its cache.
	Reference      string  `json:"reference"`
	ReferenceCache string  `json:"reference_cache"`
	From           int     `json:"from"`
	To             int     `json:"to"`
	Pairs          int     `json:"pairs"`
	Cosine         float64 `json:"cosine"`
	// Rotation has a row for each of the reference's dimensions.
	Rotation *table.FileInfo `json:"rotation"`
}

var alignments = follower[*alignmentManifest]{
	what: "alignment", folder: alignmentFolder, format: table.FormatAlignment,
	empty: func() *alignmentManifest { return new(alignmentManifest) },
}

func (m *alignmentManifest) files() map[string]*table.FileInfo {
	return map[string]*table.FileInfo{tableRotation: m.Rotation}
}

func (m *alignmentManifest) validate() error {
	if m.From < 1 || m.To < m.From || m.Rotation == nil {
		return fmt.Errorf("a rotation of %d dimensions to %d", m.From, m.To)
	}
	return m.Rotation.Validate(m.To)
}

func alignmentSchema(fingerprint, source string, from int) *arrow.Schema {
	return tableSchema(table.FormatAlignment, fingerprint, source,
		table.Required("row", arrow.FixedSizeListOfNonNullable(int32(from), arrow.PrimitiveTypes.Float32)))
}

type alignmentColumns struct{ rows table.Vectors }

func parseAlignmentColumns(rec arrow.RecordBatch) (c alignmentColumns, err error) {
	c.rows, err = table.ParseMatrix(rec.Column(0))
	return c, err
}

// alignmentTable is an open alignment.
type alignmentTable struct {
	manifest *alignmentManifest
	file     *table.File[alignmentColumns]
}

func readAlignment(t *cache.Cache) (*alignmentTable, error) {
	return twice(func() (*alignmentTable, error) {
		m, err := alignments.look(t)
		if err != nil {
			return nil, err
		}
		file, err := table.Open(folderIn(t, alignmentFolder).table(tableRotation, m.Cache), m.Rotation,
			alignmentSchema(t.Info().Fingerprint, m.Cache, m.From), parseAlignmentColumns)
		return &alignmentTable{m, file}, err
	})
}

func (a *alignmentTable) Close() error { return a.file.Close() }
func (a *alignmentTable) audit() error { return a.file.Audit() }

// alignment reads the whole table.
func (a *alignmentTable) alignment() (*Alignment, error) {
	m := a.manifest
	out := &Alignment{Rotation: make([]float32, m.To*m.From), From: m.From, To: m.To, Pairs: m.Pairs, Cosine: m.Cosine}
	for row := range m.To {
		b, k := a.file.Find(row)
		columns, err := a.file.Columns[b]()
		if err != nil {
			return nil, err
		}
		columns.rows.CopyRow(k, out.Rotation[row*m.From:(row+1)*m.From])
	}
	return out, nil
}

// OpenAlignment is the alignment of teacher t to a reference of the same dataset. It is derived
// first where it is missing, damaged, of another reference or of another state of either cache;
// progress, if it is not nil, receives a bar then. Both caches must be complete.
func OpenAlignment(ctx context.Context, t, reference *cache.Cache, progress io.Writer) (*Alignment, error) {
	if t.Info().Dim > reference.Info().Dim {
		return nil, fmt.Errorf("align teacher %s to %s: its embeddings of %d values are longer than those of %d", t.Info().Name, reference.Info().Name, t.Info().Dim, reference.Info().Dim)
	}
	digest, err := reference.Digest()
	if err != nil {
		return nil, fmt.Errorf("align to teacher %s: %w: run precompute-teacher again", reference.Info().Name, err)
	}
	var made *Alignment
	derive := func(f folder, m *alignmentManifest) (err error) {
		m.Reference, m.ReferenceCache = reference.Info().Fingerprint, digest
		made, err = align(ctx, t, reference, progress)
		if err != nil {
			return err
		}
		m.From, m.To, m.Pairs, m.Cosine = made.From, made.To, made.Pairs, made.Cosine
		return made.write(f, m)
	}
	_, _, err = alignments.ensure(ctx, t, func(m *alignmentManifest) bool {
		return m.Reference == reference.Info().Fingerprint && m.ReferenceCache == digest
	}, derive)
	if err != nil || made != nil {
		return made, err
	}
	read, err := readAlignment(t)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, read.Close()) }()
	if read.manifest.ReferenceCache != digest {
		return nil, fmt.Errorf("align teacher %s: another process aligns it to another teacher: run the command again", t.Info().Name)
	}
	return read.alignment()
}

func (a *Alignment) write(f folder, m *alignmentManifest) (err error) {
	path := f.table(tableRotation, m.Cache)
	w, err := newTableWriter(f, path, alignmentSchema(m.Fingerprint, m.Cache, a.From), vectorRows(a.From), parseAlignmentColumns)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, w.out.Abort()) }() // does nothing after commit
	for row := range a.To {
		w.vector(0, a.Rotation[row*a.From:(row+1)*a.From])
		if err := w.done(); err != nil {
			return err
		}
	}
	if m.Rotation, err = w.seal(); err != nil {
		return err
	}
	if err := w.out.Commit(); err != nil {
		return err
	}
	return f.commit(m, path)
}

// align computes an alignment.
func align(ctx context.Context, t, reference *cache.Cache, out io.Writer) (*Alignment, error) {
	rows := t.Dataset().Rows()
	n := min(rows, maxAlignmentPairs)
	bar := progress.New(out, "align "+t.Info().Name, int64(n)).Of("crops")
	defer bar.Finish()
	pairs := pairReader{from: t, to: reference}
	defer pairs.close()
	a := &Alignment{From: t.Info().Dim, To: reference.Info().Dim}
	block := pairBlock{from: make([]float64, 0, alignmentBlock*a.From), to: make([]float64, 0, alignmentBlock*a.To)}
	sum := mat.NewDense(a.To, a.From, nil)
	for i := range n {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		bar.Add(1)
		if err := pairs.read(int(int64(i)*int64(rows)/int64(n)), &block); err != nil {
			return nil, err
		}
		if block.n == alignmentBlock || i == n-1 {
			a.Pairs += block.n
			block.addTo(sum)
		}
	}
	if a.Pairs == 0 {
		return nil, fmt.Errorf("no crop has a usable embedding of both %s and %s", t.Info().Name, reference.Info().Name)
	}
	return a, a.solve(sum)
}

// solve finds the rotation by the sum of r·tᵀ. The sum of its singular values is that of the
// cosines.
func (a *Alignment) solve(sum *mat.Dense) error {
	var svd mat.SVD
	if !svd.Factorize(sum, mat.SVDThin) {
		return errors.New("the singular value decomposition does not converge")
	}
	var u, v, r mat.Dense
	svd.UTo(&u)
	svd.VTo(&v)
	r.Mul(&u, v.T())
	a.Rotation = make([]float32, 0, a.To*a.From)
	for row := range a.To {
		for _, x := range r.RawRowView(row) {
			a.Rotation = append(a.Rotation, float32(x))
		}
	}
	for _, s := range svd.Values(nil) {
		a.Cosine += s / float64(a.Pairs)
	}
	if math.IsNaN(a.Cosine) {
		return errors.New("the rotation is not a number")
	}
	return nil
}

// pairBlock is some unit embeddings of both teachers, a row each.
type pairBlock struct {
	from, to []float64
	n        int
}

// addTo adds Σ r·tᵀ, and empties the block.
func (b *pairBlock) addTo(sum *mat.Dense) {
	if b.n > 0 {
		to, from := mat.NewDense(b.n, len(b.to)/b.n, b.to), mat.NewDense(b.n, len(b.from)/b.n, b.from)
		blas64.Gemm(blas.Trans, blas.NoTrans, 1, to.RawMatrix(), from.RawMatrix(), 1, sum.RawMatrix())
	}
	b.from, b.to, b.n = b.from[:0], b.to[:0], 0
}

// pairReader reads embeddings of two teachers in the order of the dataset.
type pairReader struct {
	from, to *cache.Cache
	shard    int
	open     [2]*cache.Shard
	rows     [2][]float32
}

// read adds the embeddings of a global row to a block, if both are usable.
func (p *pairReader) read(row int, b *pairBlock) error {
	at := p.from.Dataset().Locate(row)
	if p.open[0] == nil || p.shard != int(at.Shard) {
		if err := p.enter(int(at.Shard)); err != nil {
			return err
		}
	}
	for i, shard := range p.open {
		_, usable, err := shard.Row(int(at.Row), false, p.rows[i])
		if err != nil {
			return err
		}
		if !usable || !vec.HasDirection(vec.Norm(p.rows[i])) {
			return nil
		}
	}
	b.from, b.to = appendUnit(b.from, p.rows[0]), appendUnit(b.to, p.rows[1])
	b.n++
	return nil
}

func appendUnit(to []float64, v []float32) []float64 {
	scale := 1 / vec.Norm(v)
	for _, x := range v {
		to = append(to, float64(x)*scale)
	}
	return to
}

func (p *pairReader) enter(shard int) (err error) {
	if err := p.close(); err != nil {
		return err
	}
	for i, t := range []*cache.Cache{p.from, p.to} {
		if p.open[i], err = t.Shard(shard); err != nil {
			return err
		}
		p.rows[i] = make([]float32, t.Info().Dim)
	}
	p.shard = shard
	return nil
}

func (p *pairReader) close() (err error) {
	for i, s := range p.open {
		if s != nil {
			err = errors.Join(err, s.Close())
		}
		p.open[i] = nil
	}
	return err
}

// AlignmentState says what is known of an alignment without reading it: current, outdated,
// missing or damaged; and its size. It does not look at the reference.
func AlignmentState(t *cache.Cache) (state string, bytes int64) { return alignments.state(t) }
