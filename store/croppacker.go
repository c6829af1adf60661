package store

import (
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"unicode/utf8"

	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"

	"facepipe/internal/durable"
	"facepipe/store/internal/table"
)

// cropPacker collects crops into record batches and writes these to a shard's file.
type cropPacker struct {
	out     *table.Writer[cropColumns]
	builder *array.RecordBuilder
	rows    int   // in the batch that is being built
	bytes   int64 // of the images in it
	text    int64 // of the attributes in it
	before  int64 // of the images in the batch before
}

func newCropPacker(disk durable.Disk, dir string, shard int, c Contract) (*cropPacker, error) {
	schema, err := cropSchema(c, table.NewestVersion(table.FormatCrops))
	if err != nil {
		return nil, err
	}
	path := filepath.Join(dir, cropsFolder, table.ArrowName(shard))
	out, err := table.Create(disk, path, schema, parseCropColumns)
	if err != nil {
		return nil, err
	}
	return &cropPacker{out: out, builder: array.NewRecordBuilder(memory.NewGoAllocator(), schema)}, nil
}

// add appends a crop, copying it.
func (p *cropPacker) add(c *Crop) error {
	if p.rows == table.MaxBatchRows || p.bytes+p.text+int64(len(c.Image)+len(c.Attributes)) > table.MaxBatchBytes {
		if err := p.flush(); err != nil {
			return err
		}
	}
	b := p.builder
	if p.rows == 0 {
		p.reserve()
	}
	b.Field(0).(*array.FixedSizeBinaryBuilder).Append(c.ID[:])
	b.Field(1).(*array.Int32Builder).Append(int32(c.Source))
	b.Field(2).(*array.StringBuilder).Append(c.Key)
	b.Field(3).(*array.StringBuilder).Append(c.Identity)
	b.Field(4).(*array.Int32Builder).Append(c.Label)
	b.Field(5).(*array.StringBuilder).Append(string(c.Encoding))
	appendList(b.Field(6), c.HasLandmarks, c.Landmarks[:])
	b.Field(7).(*array.Float32Builder).Append(c.Score)
	b.Field(8).(*array.StringBuilder).Append(c.Split)
	b.Field(9).(*array.StringBuilder).Append(c.Attributes)
	measures := c.Quality.values()
	appendList(b.Field(10), c.HasQuality, measures[:])
	b.Field(11).(*array.BinaryBuilder).Append(c.Image)
	p.rows++
	p.bytes += int64(len(c.Image))
	p.text += int64(len(c.Attributes))
	return nil
}

// reserve makes room for a batch like the one before, which growing step by step would
// copy several times over.
func (p *cropPacker) reserve() {
	if p.before == 0 {
		return
	}
	p.builder.Reserve(table.MaxBatchRows)
	p.builder.Field(11).(*array.BinaryBuilder).ReserveData(int(p.before))
}

// appendList adds a row to a [table.FloatList]: the values, or null over zeros.
func appendList(b array.Builder, valid bool, values []float32) {
	list := b.(*array.FixedSizeListBuilder)
	list.Append(valid)
	if !valid {
		values = make([]float32, len(values))
	}
	list.ValueBuilder().(*array.Float32Builder).AppendValues(values, nil)
}

// flush writes the batch.
func (p *cropPacker) flush() error {
	if p.rows == 0 {
		return nil
	}
	rec := p.builder.NewRecordBatch()
	defer rec.Release()
	err := p.out.WriteBatch(rec, p.bytes)
	p.rows, p.bytes, p.text, p.before = 0, 0, 0, p.bytes
	return err
}

// seal completes the file, still under its temporary name.
func (p *cropPacker) seal() (*table.FileInfo, error) {
	if err := p.flush(); err != nil {
		return nil, err
	}
	return p.out.Seal()
}

// abort throws the file away. A nil packer is fine.
func (p *cropPacker) abort() error {
	if p == nil {
		return nil
	}
	p.builder.Release()
	return p.out.Abort()
}

// validCrop checks what a reader relies on.
func validCrop(c *Crop) error {
	switch {
	case c.ID == ID{}:
		return errors.New("crop has no id")
	case len(c.Image) == 0:
		return errors.New("image is empty")
	case len(c.Image) > table.MaxImageBytes:
		return fmt.Errorf("image has %d bytes, more than %d", len(c.Image), table.MaxImageBytes)
	case c.Encoding == "":
		return errors.New("image has no encoding")
	}
	if c.HasQuality {
		if err := c.Quality.validate(); err != nil {
			return err
		}
	}
	return errors.Join(ValidKey(c.Key), ValidIdentity(c.Identity), validName("split", c.Split), validAttributes(c.Attributes))
}

// validAttributes wants a JSON object, or nothing.
func validAttributes(s string) error {
	switch {
	case s == "":
		return nil
	case len(s) > MaxAttributesBytes:
		return fmt.Errorf("attributes of %d bytes are longer than %d", len(s), MaxAttributesBytes)
	case s[0] != '{' || !json.Valid([]byte(s)) || !utf8.ValidString(s):
		return errors.New("attributes are no JSON object")
	}
	return nil
}
