package derived

import (
	"errors"
	"fmt"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"

	"facepipe/internal/nearest"
	"facepipe/store"
	"facepipe/store/cache"
	"facepipe/store/internal/table"
)

// neighboursFolder is in the cache's.
const neighboursFolder = "neighbours"

// MaxNeighbours is the most neighbours of a crop in each of its lists.
const MaxNeighbours = 1024

// Neighbours are, for every crop, the crops whose embeddings are at the smallest angles to its
// own: those of other identities, and those of its identity. Mirror images are left out. Of a
// crop without an identity all others count as others', even if they show the same person. No
// crop is its own neighbour, and a dataset stores no crop twice. A crop without a usable
// embedding has no neighbours and is none.
//
// Close it after use. Safe for concurrent use until then.
type Neighbours struct {
	manifest *neighboursManifest
	k        int
	parts    []*table.File[neighbourColumns]
}

// Neighbour is a crop near another.
type Neighbour struct {
	// Row is its global row.
	Row int
	// Cosine similarity of the embeddings, -1 to 1.
	Cosine float32
}

// neighboursManifest is teachers/NAME/neighbours/neighbours.json and, with one part alone, what
// says that this part is complete.
type neighboursManifest struct {
	made
	// K is the length of a list where there are as many crops.
	K    int `json:"k"`
	Rows int `json:"rows"`
	// Unusable embeddings have no neighbours. Unlabelled crops are of no identity.
	Unusable   int `json:"unusable"`
	Unlabelled int `json:"unlabelled"`
	// Method is how those of other identities were found.
	nearest.Method
	// PartRows are the rows of each part but the last.
	PartRows int               `json:"part_rows"`
	Parts    []*table.FileInfo `json:"parts,omitempty"`
}

// nearestCrops is the kind of neighbours.
var nearestCrops = follower[*neighboursManifest]{
	what: "neighbours", folder: neighboursFolder, format: table.FormatNeighbours,
	empty: func() *neighboursManifest { return new(neighboursManifest) },
}

// tableName is that of a part. It says how the part was made, so that it does not take the place
// of a table that is in use.
func (m *neighboursManifest) tableName(part int) string {
	return fmt.Sprintf("neighbours-%d-%d-%d-%06d", m.K, m.Probes, m.PartRows, part)
}

func (m *neighboursManifest) files() map[string]*table.FileInfo {
	files := map[string]*table.FileInfo{}
	for i, file := range m.Parts {
		files[m.tableName(i)] = file
	}
	return files
}

// partCount is how many parts the rows make.
func (m *neighboursManifest) partCount() int { return (m.Rows + m.PartRows - 1) / m.PartRows }

// span are the rows of a part.
func (m *neighboursManifest) span(part int) (from, to int) {
	return part * m.PartRows, min((part+1)*m.PartRows, m.Rows)
}

func (m *neighboursManifest) validate() error {
	if m.K < 1 || m.K > MaxNeighbours || m.Rows < 0 || m.PartRows < 1 || len(m.Parts) != m.partCount() {
		return fmt.Errorf("counts do not fit: %d neighbours of %d rows in %d parts of %d", m.K, m.Rows, len(m.Parts), m.PartRows)
	}
	for i, file := range m.Parts {
		if file == nil {
			return fmt.Errorf("part %d has no file", i)
		}
		from, to := m.span(i)
		if err := file.Validate(to - from); err != nil {
			return err
		}
	}
	return nil
}

// neighbourSchema is that of the tables: their rows, part after part, are the global rows.
func neighbourSchema(t cache.Info, source string) *arrow.Schema {
	rows := arrow.ListOfNonNullable(arrow.PrimitiveTypes.Int32)
	cosines := arrow.ListOfNonNullable(arrow.PrimitiveTypes.Float32)
	return tableSchema(table.FormatNeighbours, t.Fingerprint, source,
		table.Required(table.ColumnID, &arrow.FixedSizeBinaryType{ByteWidth: len(store.ID{})}),
		table.Required("other", rows), table.Required("other_cosine", cosines),
		table.Required("own", rows), table.Required("own_cosine", cosines))
}

// neighbourColumns are a batch of crops' neighbours: of other identities, and of their own.
type neighbourColumns [2]neighbourLists

// neighbourLists are lists of rows and cosines, that of row i from offsets[i] to offsets[i+1].
type neighbourLists struct {
	offsets []int32
	rows    []int32
	cosines []float32
}

// parseNeighbours is for tables about so many crops.
func parseNeighbours(crops int) table.ParseColumns[neighbourColumns] {
	return func(rec arrow.RecordBatch) (c neighbourColumns, err error) {
		_ = rec.Column(0).(*array.FixedSizeBinary).Value(int(rec.NumRows()) - 1)
		for i := range c {
			if c[i], err = parseLists(rec.Column(2*i+1), rec.Column(2*i+2), crops); err != nil {
				return c, err
			}
		}
		return c, nil
	}
}

func parseLists(rows, cosines arrow.Array, crops int) (l neighbourLists, err error) {
	of, by := rows.(*array.List), cosines.(*array.List)
	l.rows = of.ListValues().(*array.Int32).Int32Values()
	l.cosines = by.ListValues().(*array.Float32).Float32Values()
	for i := range of.Len() {
		from, to := of.ValueOffsets(i)
		alsoFrom, alsoTo := by.ValueOffsets(i)
		if from != alsoFrom || to != alsoTo || to < from || to > int64(min(len(l.rows), len(l.cosines))) || i > 0 && int32(from) != l.offsets[i] {
			return l, fmt.Errorf("neighbours of row %d have offsets %d to %d and %d to %d", i, from, to, alsoFrom, alsoTo)
		}
		if i == 0 {
			l.offsets = append(l.offsets, int32(from))
		}
		l.offsets = append(l.offsets, int32(to))
	}
	for _, row := range l.rows {
		if row < 0 || int(row) >= crops {
			return l, fmt.Errorf("names row %d of %d", row, crops)
		}
	}
	return l, nil
}

// readNeighbours opens what is there, to give at most k neighbours or, if k is 0, all; the errors
// are those of [follower.read], or damage.
func readNeighbours(t *cache.Cache, k int) (*Neighbours, error) {
	return twice(func() (*Neighbours, error) { return mapNeighbours(t, k) })
}

func mapNeighbours(t *cache.Cache, k int) (*Neighbours, error) {
	m, err := nearestCrops.look(t)
	if err != nil {
		return nil, err
	}
	if m.Rows != t.Dataset().Rows() {
		return nil, table.Damaged(folderIn(t, neighboursFolder).manifest(), "is of %d rows, the dataset has %d", m.Rows, t.Dataset().Rows())
	}
	n := &Neighbours{manifest: m, k: k}
	if k == 0 {
		n.k = m.K
	}
	for i, file := range m.Parts {
		part, err := table.Open(folderIn(t, neighboursFolder).table(m.tableName(i), m.Cache), file, neighbourSchema(t.Info(), m.Cache), parseNeighbours(m.Rows))
		if err != nil {
			return nil, errors.Join(err, n.Close())
		}
		n.parts = append(n.parts, part)
	}
	return n, nil
}

// Close unmaps the tables.
func (n *Neighbours) Close() (err error) {
	for _, part := range n.parts {
		err = errors.Join(err, part.Close())
	}
	n.parts = nil
	return err
}

// Len is the number of crops, whose global rows are 0 .. Len()-1.
func (n *Neighbours) Len() int { return n.manifest.Rows }

// K is the length of a list where there are as many crops.
func (n *Neighbours) K() int { return n.k }

// Method says how those of other identities were found.
func (n *Neighbours) Method() nearest.Method { return n.manifest.Method }

// Others appends to dst the nearest crops of other identities to the crop of a global row, the
// nearest first. A row out of range panics. [store.ErrDamaged] if the batch that holds it does
// not match its checksum.
func (n *Neighbours) Others(row int, dst []Neighbour) ([]Neighbour, error) {
	return n.list(0, row, dst)
}

// Own is [Neighbours.Others] for crops of the same identity.
func (n *Neighbours) Own(row int, dst []Neighbour) ([]Neighbour, error) { return n.list(1, row, dst) }

func (n *Neighbours) list(which, row int, dst []Neighbour) ([]Neighbour, error) {
	part := n.parts[row/n.manifest.PartRows]
	b, k := part.Find(row % n.manifest.PartRows)
	columns, err := part.Columns[b]()
	if err != nil {
		return dst, err
	}
	l := &columns[which]
	from := l.offsets[k]
	for i := from; i < min(l.offsets[k+1], from+int32(n.k)); i++ {
		dst = append(dst, Neighbour{Row: int(l.rows[i]), Cosine: l.cosines[i]})
	}
	return dst, nil
}

// NeighboursState says what is known of a teacher's neighbours without reading the tables:
// current, outdated, missing or damaged; and their size. It is for store/info.
func NeighboursState(t *cache.Cache) (state string, bytes int64) { return nearestCrops.state(t) }

func (n *Neighbours) audit() error {
	for _, part := range n.parts {
		if err := part.Audit(); err != nil {
			return err
		}
	}
	return nil
}
