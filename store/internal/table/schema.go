package table

import (
	"fmt"

	"github.com/apache/arrow-go/v18/arrow"
)

// Keys of an Arrow schema's metadata. They make a table readable by itself, in pandas for
// instance; the manifests are what the packages of a dataset go by.
const (
	MetaFormat      = "facepipe.format"
	MetaVersion     = "facepipe.version"
	MetaFingerprint = "facepipe.fingerprint"
)

// Names of columns that several kinds of table have.
const (
	ColumnID         = "id"
	ColumnNorm       = "norm"
	ColumnNormMirror = "norm_mirror"
)

// Required is a column without nulls.
func Required(name string, t arrow.DataType) arrow.Field {
	return arrow.Field{Name: name, Type: t}
}

// FloatList is a column that holds n numbers, or nothing, a row.
func FloatList(name string, n int32) arrow.Field {
	return arrow.Field{Name: name, Nullable: true, Type: arrow.FixedSizeListOfNonNullable(n, arrow.PrimitiveTypes.Float32)}
}

// matchSchema compares a file's schema, metadata included, with what it should be.
func matchSchema(got, want *arrow.Schema) error {
	if !got.Equal(want) {
		return fmt.Errorf("schema is {%v}, want {%v}", got, want)
	}
	meta := want.Metadata()
	for i, key := range meta.Keys() {
		have := got.Metadata()
		if v, ok := have.GetValue(key); !ok || v != meta.Values()[i] {
			return fmt.Errorf("schema metadata %s is %q, want %q", key, v, meta.Values()[i])
		}
	}
	return nil
}
