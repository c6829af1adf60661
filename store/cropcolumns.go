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
}

// parseCropColumns relies on the schema being cropSchema and on validateBatch.
func parseCropColumns(rec arrow.RecordBatch) (cropColumns, error) {
	c := cropColumns{
		id:        rec.Column(0).(*array.FixedSizeBinary),
		source:    rec.Column(1).(*array.Int32),
		key:       rec.Column(2).(*array.String),
		identity:  rec.Column(3).(*array.String),
		label:     rec.Column(4).(*array.Int32),
		encoding:  rec.Column(5).(*array.String),
		landmarks: rec.Column(6).(*array.FixedSizeList),
		score:     rec.Column(7).(*array.Float32),
		image:     rec.Column(8).(*array.Binary),
	}
	points := c.landmarks.ListValues().(*array.Float32)
	if points.NullN() != 0 {
		return c, fmt.Errorf("column landmarks has null coordinates")
	}
	c.points = points.Float32Values()
	// The last row of a column that is too short would only be missed later.
	n := int(rec.NumRows())
	_, _, _ = c.id.Value(n-1), c.points[landmarkValues*n-1], c.image.Value(n-1)
	_, _, _ = c.source.Value(n-1), c.label.Value(n-1), c.score.Value(n-1)
	return c, nil
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
	return crop
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
