package cache

import (
	"strconv"

	"github.com/apache/arrow-go/v18/arrow"

	"facepipe/store"
	"facepipe/store/internal/table"
)

const columnVector = "embedding"

const columnMirror = "embedding_mirror"

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
