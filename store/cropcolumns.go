package store

import (
	"fmt"
	"strings"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"

	"facepipe/internal/imgcodec"
)

// cropColumns are the columns of one record batch of a crop shard. They point into
// the mapping.
type cropColumns struct {
	id        *array.FixedSizeBinary
	source    *array.Int32
	key       *array.String
	identity  *array.String
	label     *array.Int32
	encoding  *array.String
	landmarks *array.FixedSizeList
	points    []float32 // landmarkValues a row
	score     *array.Float32
	image     *array.Binary
	// Since version 2; nil in older shards.
	split      *array.String
	attributes *array.String
	quality    *array.FixedSizeList
	measures   []float32 // qualityValues a row
}

// parseCropColumns relies on the schema being a cropSchema, and on what [table.File] checks.
func parseCropColumns(rec arrow.RecordBatch) (c cropColumns, err error) {
	last := int(rec.NumCols()) - 1
	c = cropColumns{
		id:        rec.Column(0).(*array.FixedSizeBinary),
		source:    rec.Column(1).(*array.Int32),
		key:       rec.Column(2).(*array.String),
		identity:  rec.Column(3).(*array.String),
		label:     rec.Column(4).(*array.Int32),
		encoding:  rec.Column(5).(*array.String),
		landmarks: rec.Column(6).(*array.FixedSizeList),
		score:     rec.Column(7).(*array.Float32),
		image:     rec.Column(last).(*array.Binary),
	}
	if c.points, err = listValues(c.landmarks, "landmarks"); err != nil {
		return c, err
	}
	// The last row of a column that is too short would only be missed later.
	n := int(rec.NumRows())
	_, _, _ = c.id.Value(n-1), c.points[landmarkValues*n-1], c.image.Value(n-1)
	_, _, _ = c.source.Value(n-1), c.label.Value(n-1), c.score.Value(n-1)
	if last == 8 {
		return c, nil
	}
	c.split = rec.Column(8).(*array.String)
	c.attributes = rec.Column(9).(*array.String)
	c.quality = rec.Column(10).(*array.FixedSizeList)
	if c.measures, err = listValues(c.quality, "quality"); err != nil {
		return c, err
	}
	_ = c.measures[qualityValues*n-1]
	return c, nil
}

// listValues are the numbers of a [table.FloatList], those of all rows in one slice.
func listValues(list *array.FixedSizeList, name string) ([]float32, error) {
	values := list.ListValues().(*array.Float32)
	if values.NullN() != 0 {
		return nil, fmt.Errorf("column %s has null elements", name)
	}
	return values.Float32Values(), nil
}

func (c *cropColumns) rows() int { return c.id.Len() }

func (c *cropColumns) idAt(k int) ID { return ID(c.id.Value(k)) }

// crop is row k; the image points into the mapping, the strings are copies.
func (c *cropColumns) crop(k int) Crop {
	crop := Crop{
		ID:       c.idAt(k),
		Source:   int(c.source.Value(k)),
		Key:      strings.Clone(c.key.Value(k)),
		Identity: strings.Clone(c.identity.Value(k)),
		Label:    c.label.Value(k),
		Encoding: encodingOf(c.encoding.Value(k)),
		Image:    c.image.Value(k),
		Score:    c.score.Value(k),
	}
	if c.landmarks.IsValid(k) {
		crop.HasLandmarks = true
		copy(crop.Landmarks[:], c.points[k*landmarkValues:])
	}
	if c.split == nil {
		return crop
	}
	crop.Split = strings.Clone(c.split.Value(k))
	crop.Attributes = strings.Clone(c.attributes.Value(k))
	if c.quality.IsValid(k) {
		crop.HasQuality = true
		crop.Quality = qualityOf(c.measures[k*qualityValues:])
	}
	return crop
}

// splitAt is the split of row k, pointing into the mapping; "" in old shards.
func (c *cropColumns) splitAt(k int) string {
	if c.split == nil {
		return ""
	}
	return c.split.Value(k)
}

// encodingOf is s as a format, without a copy for the formats that crops have.
func encodingOf(s string) imgcodec.Format {
	for _, f := range []imgcodec.Format{imgcodec.JPEG, imgcodec.PNG, imgcodec.WebP, imgcodec.BMP, imgcodec.Raw} {
		if s == string(f) {
			return f
		}
	}
	return imgcodec.Format(strings.Clone(s))
}
