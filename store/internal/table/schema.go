package table

import (
	"fmt"

	"github.com/apache/arrow-go/v18/arrow"
)

const MetaFormat = "facepipe.format"

const MetaVersion = "facepipe.version"

const MetaFingerprint = "facepipe.fingerprint"

const ColumnID = "id"

const ColumnNorm = "norm"

const ColumnNormMirror = "norm_mirror"

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
