package store

import (
	"encoding/json"
	"fmt"
	"strconv"

	"github.com/apache/arrow-go/v18/arrow"
)

// Keys of the Arrow schema's metadata. They make a shard readable by itself, in
// pandas for instance; the manifests are what this package goes by.
const (
	metaFormat      = "facepipe.format"
	metaVersion     = "facepipe.version"
	metaContract    = "facepipe.contract"
	metaFingerprint = "facepipe.fingerprint"
	metaCache       = "facepipe.cache"
)

// Names of columns that are looked for by name.
const (
	columnID         = "id"
	columnNorm       = "norm"
	columnNormMirror = "norm_mirror"
	columnVector     = "embedding"
	columnMirror     = "embedding_mirror"
)

// Lengths of the lists in a crop shard: x and y of five points, and the measures of
// [Quality].
const (
	landmarkValues = 10
	qualityValues  = 5
)

func required(name string, t arrow.DataType) arrow.Field {
	return arrow.Field{Name: name, Type: t}
}

// floatList is a column that holds n numbers, or nothing, a row.
func floatList(name string, n int32) arrow.Field {
	return arrow.Field{Name: name, Nullable: true, Type: arrow.FixedSizeListOfNonNullable(n, arrow.PrimitiveTypes.Float32)}
}

// cropSchema is the schema of crop shards of a version. There are no dictionary
// columns: the mapped reader of arrow-go cannot read them, and a shard would not be
// readable batch by batch. The image is last, so that everything before it is one
// stretch; a new version puts its columns right before it.
func cropSchema(c Contract, version int) (*arrow.Schema, error) {
	contract, err := json.Marshal(c)
	if err != nil {
		return nil, err
	}
	fields := []arrow.Field{
		required(columnID, &arrow.FixedSizeBinaryType{ByteWidth: len(ID{})}),
		required("source", arrow.PrimitiveTypes.Int32),
		required("key", arrow.BinaryTypes.String),
		required("identity", arrow.BinaryTypes.String),
		required("label", arrow.PrimitiveTypes.Int32),
		required("encoding", arrow.BinaryTypes.String),
		floatList("landmarks", landmarkValues),
		required("score", arrow.PrimitiveTypes.Float32),
	}
	if version > 1 {
		fields = append(fields,
			required("split", arrow.BinaryTypes.String),
			required("attributes", arrow.BinaryTypes.String),
			floatList("quality", qualityValues))
	}
	fields = append(fields, required("image", arrow.BinaryTypes.Binary))
	meta := arrow.NewMetadata(
		[]string{metaFormat, metaVersion, metaContract},
		[]string{formatCrops, strconv.Itoa(version), string(contract)})
	return arrow.NewSchema(fields, &meta), nil
}

// embeddingSchema is the schema of a teacher's shards.
func embeddingSchema(t TeacherInfo) *arrow.Schema {
	element := arrow.DataType(arrow.PrimitiveTypes.Float32)
	if t.DType == FP16 {
		element = arrow.FixedWidthTypes.Float16
	}
	vector := arrow.FixedSizeListOfNonNullable(int32(t.Dim), element)
	fields := []arrow.Field{
		required(columnID, &arrow.FixedSizeBinaryType{ByteWidth: len(ID{})}),
		required(columnNorm, arrow.PrimitiveTypes.Float32),
		required(columnVector, vector),
	}
	if t.Flip {
		fields = append(fields,
			required(columnNormMirror, arrow.PrimitiveTypes.Float32),
			required(columnMirror, vector))
	}
	meta := arrow.NewMetadata(
		[]string{metaFormat, metaVersion, metaFingerprint},
		[]string{formatEmbeddings, strconv.Itoa(newestVersion(formatEmbeddings)), t.Fingerprint})
	return arrow.NewSchema(fields, &meta)
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
