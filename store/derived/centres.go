package derived

import (
	"errors"
	"fmt"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"

	"facepipe/store"
	"facepipe/store/cache"
	"facepipe/store/internal/table"
)

// centresFolder is in the cache's; the tables in it are of two kinds.
const (
	centresFolder = "centres"
	tableCentres  = "centres"
	tableQuality  = "quality"
)

// qualityBatchRows are the rows of a batch of the quality table, which has few bytes a
// row.
const qualityBatchRows = 1 << 13

// Centres are what was derived from a complete teacher cache for losses that look at
// classes: where each identity lies, and how each crop lies to it. Close it after use.
// Safe for concurrent use until then.
type Centres struct {
	manifest *centresManifest
	dim      int
	centres  *table.File[centreColumns]  // nil without identities
	quality  *table.File[qualityColumns] // nil without crops
}

// Centre is a class centre.
type Centre struct {
	// Identity is the name of the class.
	Identity string
	// Count is the number of crops that have a usable embedding, or whose mirror images
	// have one.
	Count int
	// Spread is the mean cosine distance, 0 to 2, of the class's embeddings to the
	// centre; NaN if there are none.
	Spread float32
}

// TeacherQuality is what a teacher says of a crop's quality.
type TeacherQuality struct {
	// Norm is that of the teacher's raw output: networks trained with a softmax over
	// angles give good pictures longer embeddings. 0 without a usable embedding.
	Norm float32
	// Cosine similarity, -1 to 1, to the centre of the crop's own identity; NaN where
	// there is no embedding or no centre.
	Cosine float32
}

// centresManifest is teachers/NAME/centres/centres.json.
type centresManifest struct {
	made
	// Identities and Rows are those of the dataset; WithoutCentre of the identities
	// have no usable embedding, or such as cancel out.
	Identities    int `json:"identities"`
	WithoutCentre int `json:"without_centre"`
	Rows          int `json:"rows"`
	// MeanSpread is over the identities that have a centre.
	MeanSpread float64 `json:"mean_spread"`
	// Centres is absent without identities, Quality without rows.
	Centres *table.FileInfo `json:"centres,omitempty"`
	Quality *table.FileInfo `json:"quality,omitempty"`
}

// classCentres is the kind of centres and qualities.
var classCentres = follower[*centresManifest]{
	what: "class centres", folder: centresFolder, format: table.FormatCentres,
	empty: func() *centresManifest { return new(centresManifest) },
}

func (m *centresManifest) files() map[string]*table.FileInfo {
	return map[string]*table.FileInfo{tableCentres: m.Centres, tableQuality: m.Quality}
}

func (m *centresManifest) validate() error {
	for _, of := range []struct {
		file *table.FileInfo
		rows int
	}{{m.Centres, m.Identities}, {m.Quality, m.Rows}} {
		if of.rows < 0 || (of.rows > 0) != (of.file != nil) {
			return fmt.Errorf("counts do not fit: %d identities, %d rows", m.Identities, m.Rows)
		}
		if of.file == nil {
			continue
		}
		if err := of.file.Validate(of.rows); err != nil {
			return err
		}
	}
	return nil
}

// centreSchema is that of the table of centres: row l is the identity of label l.
func centreSchema(t cache.Info, source string) *arrow.Schema {
	return tableSchema(table.FormatCentres, t.Fingerprint, source,
		table.Required("identity", arrow.BinaryTypes.String),
		table.Required("count", arrow.PrimitiveTypes.Int32),
		table.Required("spread", arrow.PrimitiveTypes.Float32),
		table.Required("centre", arrow.FixedSizeListOfNonNullable(int32(t.Dim), arrow.PrimitiveTypes.Float32)))
}

// qualitySchema is that of the table of crops: row i is the crop of global row i.
func qualitySchema(t cache.Info, source string) *arrow.Schema {
	fields := []arrow.Field{
		table.Required(table.ColumnID, &arrow.FixedSizeBinaryType{ByteWidth: len(store.ID{})}),
		table.Required(table.ColumnNorm, arrow.PrimitiveTypes.Float32),
		table.Required("cosine", arrow.PrimitiveTypes.Float32),
	}
	if t.Flip {
		fields = append(fields,
			table.Required(table.ColumnNormMirror, arrow.PrimitiveTypes.Float32),
			table.Required("cosine_mirror", arrow.PrimitiveTypes.Float32))
	}
	return tableSchema(table.FormatCentres, t.Fingerprint, source, fields...)
}

// centreColumns are a batch of centres.
type centreColumns struct {
	identity *array.String
	count    *array.Int32
	spread   *array.Float32
	centres  table.Vectors
}

func parseCentreColumns(rec arrow.RecordBatch) (c centreColumns, err error) {
	c = centreColumns{
		identity: rec.Column(0).(*array.String),
		count:    rec.Column(1).(*array.Int32),
		spread:   rec.Column(2).(*array.Float32),
	}
	n := int(rec.NumRows())
	_, _ = c.count.Value(n-1), c.spread.Value(n-1) // a column too short would be missed later
	c.centres, err = table.ParseMatrix(rec.Column(3))
	return c, err
}

// qualityColumns are a batch of crops' qualities; the second of each for mirror images,
// nil without.
type qualityColumns struct {
	id      *array.FixedSizeBinary
	norms   [2]*array.Float32
	cosines [2]*array.Float32
}

func parseQualityColumns(rec arrow.RecordBatch) (c qualityColumns, err error) {
	c.id = rec.Column(0).(*array.FixedSizeBinary)
	last := int(rec.NumRows()) - 1
	_ = c.id.Value(last)
	for i := 0; 2*i+2 < int(rec.NumCols()); i++ {
		c.norms[i] = rec.Column(2*i + 1).(*array.Float32)
		c.cosines[i] = rec.Column(2*i + 2).(*array.Float32)
		_, _ = c.norms[i].Value(last), c.cosines[i].Value(last)
	}
	return c, nil
}

// readCentres opens what is there; the errors are those of [follower.read], or damage.
func readCentres(t *cache.Cache) (*Centres, error) {
	return twice(func() (*Centres, error) { return mapCentres(t) })
}

func mapCentres(t *cache.Cache) (*Centres, error) {
	m, err := classCentres.look(t)
	if err != nil {
		return nil, err
	}
	c := &Centres{manifest: m, dim: t.Info().Dim}
	f := folderIn(t, centresFolder)
	if m.Centres != nil {
		c.centres, err = table.Open(f.table(tableCentres, m.Cache), m.Centres, centreSchema(t.Info(), m.Cache), parseCentreColumns)
	}
	if err == nil && m.Quality != nil {
		c.quality, err = table.Open(f.table(tableQuality, m.Cache), m.Quality, qualitySchema(t.Info(), m.Cache), parseQualityColumns)
	}
	if err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return c, nil
}

// Close unmaps the tables.
func (c *Centres) Close() error {
	var err error
	if c.centres != nil {
		err = c.centres.Close()
	}
	if c.quality != nil {
		err = errors.Join(err, c.quality.Close())
	}
	c.centres, c.quality = nil, nil
	return err
}

// Len is the number of identities, whose labels are 0 .. Len()-1.
func (c *Centres) Len() int { return c.manifest.Identities }

// Dim is the length of a centre.
func (c *Centres) Dim() int { return c.dim }

// Centre copies the unit vector in the direction of the mean of a class's unit
// embeddings, mirror images included, to dst, of length Dim. valid is false, and dst
// zero, if the class has no usable embedding or if they cancel out. A label out of range
// panics. [store.ErrDamaged] if the batch that holds it does not match its checksum.
func (c *Centres) Centre(label int32, dst []float32) (centre Centre, valid bool, err error) {
	b, k := c.centres.Find(int(label))
	columns, err := c.centres.Columns[b]()
	if err != nil {
		return Centre{}, false, err
	}
	if len(dst) != c.dim {
		panic(fmt.Sprintf("derived: centre of %d elements read into %d", c.dim, len(dst)))
	}
	columns.centres.CopyRow(k, dst)
	for _, x := range dst {
		valid = valid || x != 0
	}
	return Centre{
		Identity: string([]byte(columns.identity.Value(k))), // not the mapping's
		Count:    int(columns.count.Value(k)),
		Spread:   columns.spread.Value(k),
	}, valid, nil
}

// Quality is that of the crop of a global row, or of its mirror image if flip. A row out
// of range panics; flip on a cache without mirror images is an error. [store.ErrDamaged] as of
// [Centres.Centre].
func (c *Centres) Quality(row int, flip bool) (TeacherQuality, error) {
	b, k := c.quality.Find(row)
	columns, err := c.quality.Columns[b]()
	if err != nil {
		return TeacherQuality{}, err
	}
	of := 0
	if flip {
		of = 1
	}
	if columns.norms[of] == nil {
		return TeacherQuality{}, fmt.Errorf("%s: holds nothing of mirror images", c.quality.Path)
	}
	return TeacherQuality{Norm: columns.norms[of].Value(k), Cosine: columns.cosines[of].Value(k)}, nil
}

// CentresState says what is known of a teacher's centres without reading the tables:
// current, outdated, missing or damaged; and their size. It is for store/info.
func CentresState(t *cache.Cache) (state string, bytes int64) { return classCentres.state(t) }

func (c *Centres) audit() error {
	if c.centres != nil {
		if err := c.centres.Audit(); err != nil {
			return err
		}
	}
	if c.quality != nil {
		return c.quality.Audit()
	}
	return nil
}
