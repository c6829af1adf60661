package store

import (
	"encoding/json"
	"strconv"

	"github.com/apache/arrow-go/v18/arrow"

	"facepipe/store/internal/table"
)

// metaContract is the key of the contract in the Arrow schema's metadata.
const metaContract = "facepipe.contract"

// Lengths of the lists in a crop shard: x and y of five points, and the measures of
// [Quality].
const (
	landmarkValues = 10
	qualityValues  = 5
)

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
		table.Required(table.ColumnID, &arrow.FixedSizeBinaryType{ByteWidth: len(ID{})}),
		table.Required("source", arrow.PrimitiveTypes.Int32),
		table.Required("key", arrow.BinaryTypes.String),
		table.Required("identity", arrow.BinaryTypes.String),
		table.Required("label", arrow.PrimitiveTypes.Int32),
		table.Required("encoding", arrow.BinaryTypes.String),
		table.FloatList("landmarks", landmarkValues),
		table.Required("score", arrow.PrimitiveTypes.Float32),
	}
	if version > 1 {
		fields = append(fields,
			table.Required("split", arrow.BinaryTypes.String),
			table.Required("attributes", arrow.BinaryTypes.String),
			table.FloatList("quality", qualityValues))
	}
	fields = append(fields, table.Required("image", arrow.BinaryTypes.Binary))
	meta := arrow.NewMetadata(
		[]string{table.MetaFormat, table.MetaVersion, metaContract},
		[]string{table.FormatCrops, strconv.Itoa(version), string(contract)})
	return arrow.NewSchema(fields, &meta), nil
}
