package cache

import (
	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"

	"facepipe/store/internal/table"
)

// Columns are the columns of one record batch of a teacher's shard. They
// point into the mapping.
type Columns struct {
	ID     *array.FixedSizeBinary
	Plain  table.Vectors
	Mirror *table.Vectors // nil unless mirror images are embedded
}

// parseColumns relies on the schema being schemaOf and on
// validateBatch.
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
