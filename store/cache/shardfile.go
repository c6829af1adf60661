package cache

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"path/filepath"
	"strconv"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"

	"facepipe/store"
	"facepipe/store/internal/table"
)

// manifest is teachers/NAME/NNNNNN.json, the commit of one shard of embeddings.
type manifest struct {
	table.Header
	Shard       int    `json:"shard"`
	Fingerprint string `json:"fingerprint"`
	// Crops is the digest of the crop shard whose rows were embedded.
	Crops string          `json:"crops"`
	Rows  int             `json:"rows"`
	File  *table.FileInfo `json:"file"`
	// NormMin and NormMax are over the valid embeddings, of mirror images too; both
	// 0 if there is none.
	NormMin float32   `json:"norm_min"`
	NormMax float32   `json:"norm_max"`
	Invalid []invalid `json:"invalid,omitempty"`
	// Digest is contentDigest in hexadecimal.
	Digest string `json:"digest"`
}

// invalid is an embedding that the teacher did not give, or not usably.
type invalid struct {
	Row    int    `json:"row"`
	Mirror bool   `json:"mirror"`
	Reason string `json:"reason"`
}

// contentDigest identifies the embeddings and what they are of.
func (m *manifest) contentDigest() (table.Digest, error) {
	crops, err := table.ParseDigest(m.Crops)
	if err != nil {
		return table.Digest{}, err
	}
	if m.File == nil {
		return table.Digest{}, errors.New("describes no file")
	}
	file, err := table.ParseDigest(m.File.SHA256)
	if err != nil {
		return table.Digest{}, err
	}
	h := sha256.New()
	table.WriteFields(h, "facepipe embedding shard 1", m.Fingerprint, string(crops[:]), string(file[:]))
	return table.Digest(h.Sum(nil)), nil
}

// readManifest reads the manifest of a shard and checks it in itself and against the crop
// shard it belongs to. A shard that was not embedded yet is [os.ErrNotExist].
func readManifest(folder string, d *store.Dataset, shard int, fingerprint string) (*manifest, error) {
	path := filepath.Join(folder, table.ManifestName(shard))
	var m manifest
	if err := table.ReadSealed(path, table.FormatEmbeddings, &m); err != nil {
		return nil, err
	}
	err := m.belongs(fingerprint, d.ShardDigest(shard))
	if err == nil {
		err = m.validate(shard, d.ShardRows(shard))
	}
	return &m, table.AsDamage(path, err)
}

// belongs says what makes the shard one of another cache.
func (m *manifest) belongs(fingerprint, crops string) error {
	switch {
	case m.Fingerprint != fingerprint:
		return fmt.Errorf("has fingerprint %s, its teacher has %s", m.Fingerprint, fingerprint)
	case m.Crops != crops:
		return errors.New("belongs to another crop shard than the dataset's")
	}
	return nil
}

// validate checks the manifest in itself, as that of a shard with so many rows.
func (m *manifest) validate(shard, rows int) error {
	switch {
	case m.Shard != shard:
		return fmt.Errorf("is the manifest of shard %d", m.Shard)
	case m.Rows != rows || m.File == nil:
		return fmt.Errorf("has %d rows, the crop shard has %d", m.Rows, rows)
	}
	if err := m.File.Validate(m.Rows); err != nil {
		return err
	}
	for _, v := range m.Invalid {
		if v.Row < 0 || v.Row >= m.Rows {
			return fmt.Errorf("names invalid row %d of %d", v.Row, m.Rows)
		}
	}
	return table.MatchDigest(m.contentDigest, m.Digest)
}

// unusable are the reasons why a teacher's embedding of a crop, and that of its mirror
// image, are invalid; of no meaning for one that is not.
type unusable struct{ plain, mirror string }

// invalidRows are the reasons of the invalid embeddings, by row.
func (m *manifest) invalidRows() map[int]unusable {
	rows := map[int]unusable{}
	for _, v := range m.Invalid {
		u := rows[v.Row]
		if v.Mirror {
			u.mirror = v.Reason
		} else {
			u.plain = v.Reason
		}
		rows[v.Row] = u
	}
	return rows
}

// Names of the columns of embeddings.
const (
	columnVector = "embedding"
	columnMirror = "embedding_mirror"
)

// schemaOf is the schema of a teacher's shards.
func schemaOf(t Info) *arrow.Schema {
	element := arrow.DataType(arrow.PrimitiveTypes.Float32)
	if t.DType == FP16 {
		element = arrow.FixedWidthTypes.Float16
	}
	vector := arrow.FixedSizeListOfNonNullable(int32(t.Dim), element)
	fields := []arrow.Field{
		table.Required(table.ColumnID, &arrow.FixedSizeBinaryType{ByteWidth: len(store.ID{})}),
		table.Required(table.ColumnNorm, arrow.PrimitiveTypes.Float32),
		table.Required(columnVector, vector),
	}
	if t.Flip {
		fields = append(fields,
			table.Required(table.ColumnNormMirror, arrow.PrimitiveTypes.Float32),
			table.Required(columnMirror, vector))
	}
	meta := arrow.NewMetadata(
		[]string{table.MetaFormat, table.MetaVersion, table.MetaFingerprint},
		[]string{table.FormatEmbeddings, strconv.Itoa(table.NewestVersion(table.FormatEmbeddings)), t.Fingerprint})
	return arrow.NewSchema(fields, &meta)
}

// Columns are one record batch of a shard: the ids of the crops and their embeddings. They
// point into the mapping. They are for store/derived.
type Columns struct {
	ID     *array.FixedSizeBinary
	Plain  table.Vectors
	Mirror *table.Vectors // nil unless mirror images are embedded
}

// parseColumns picks the columns out of a batch that has the schema of schemaOf.
func parseColumns(rec arrow.RecordBatch) (Columns, error) {
	c := Columns{ID: rec.Column(0).(*array.FixedSizeBinary)}
	_ = c.ID.Value(int(rec.NumRows()) - 1) // a column too short would be missed later
	var err error
	if c.Plain, err = table.ParseVectors(rec.Column(1), rec.Column(2)); err != nil {
		return c, err
	}
	if rec.NumCols() == 3 {
		return c, nil
	}
	mirror, err := table.ParseVectors(rec.Column(3), rec.Column(4))
	c.Mirror = &mirror
	return c, err
}

// file is an open shard of embeddings; that of crops without rows has no file.
type file struct{ *table.File[Columns] }

// Close unmaps the file.
func (f *file) Close() error {
	if f.File == nil {
		return nil
	}
	return f.File.Close()
}
