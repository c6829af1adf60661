package store

import (
	"errors"
	"fmt"
	"path/filepath"

	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"

	"facepipe/internal/durable"
)

// maxImageBytes bounds one encoded crop. The largest crop size uncompressed is 3 MiB.
const maxImageBytes = 16 << 20

// cropPacker collects crops into record batches and writes these to a shard's file.
type cropPacker struct {
	out     *arrowWriter[cropColumns]
	builder *array.RecordBuilder
	rows    int   // in the batch that is being built
	bytes   int64 // of the images in it
}

func newCropPacker(disk durable.Disk, dir string, shard int, c Contract) (*cropPacker, error) {
	schema, err := cropSchema(c)
	if err != nil {
		return nil, err
	}
	path := filepath.Join(dir, cropsFolder, arrowName(shard))
	out, err := newArrowWriter(disk, path, schema, parseCropColumns)
	if err != nil {
		return nil, err
	}
	return &cropPacker{out: out, builder: array.NewRecordBuilder(memory.NewGoAllocator(), schema)}, nil
}

// add appends a crop, copying it.
func (p *cropPacker) add(c *Crop) error {
	if p.rows == maxBatchRows || p.bytes+int64(len(c.Image)) > maxBatchBytes {
		if err := p.flush(); err != nil {
			return err
		}
	}
	b := p.builder
	b.Field(0).(*array.FixedSizeBinaryBuilder).Append(c.ID[:])
	b.Field(1).(*array.Int32Builder).Append(int32(c.Source))
	b.Field(2).(*array.StringBuilder).Append(c.Key)
	b.Field(3).(*array.StringBuilder).Append(c.Identity)
	b.Field(4).(*array.Int32Builder).Append(c.Label)
	b.Field(5).(*array.StringBuilder).Append(string(c.Encoding))
	points := b.Field(6).(*array.FixedSizeListBuilder)
	points.Append(c.HasLandmarks)
	values := [landmarkValues]float32{}
	if c.HasLandmarks {
		values = c.Landmarks
	}
	points.ValueBuilder().(*array.Float32Builder).AppendValues(values[:], nil)
	b.Field(7).(*array.Float32Builder).Append(c.Score)
	b.Field(8).(*array.BinaryBuilder).Append(c.Image)
	p.rows++
	p.bytes += int64(len(c.Image))
	return nil
}

// flush writes the batch.
func (p *cropPacker) flush() error {
	if p.rows == 0 {
		return nil
	}
	rec := p.builder.NewRecordBatch()
	defer rec.Release()
	err := p.out.write(rec, p.bytes)
	p.rows, p.bytes = 0, 0
	return err
}

// seal completes the file, still under its temporary name.
func (p *cropPacker) seal() (*fileInfo, error) {
	if err := p.flush(); err != nil {
		return nil, err
	}
	return p.out.seal()
}

// abort throws the file away. A nil packer is fine.
func (p *cropPacker) abort() error {
	if p == nil {
		return nil
	}
	p.builder.Release()
	return p.out.abort()
}

// validCrop checks what a reader relies on.
func validCrop(c *Crop) error {
	switch {
	case c.ID == ID{}:
		return errors.New("crop has no id")
	case len(c.Image) == 0:
		return errors.New("image is empty")
	case len(c.Image) > maxImageBytes:
		return fmt.Errorf("image has %d bytes, more than %d", len(c.Image), maxImageBytes)
	case c.Encoding == "":
		return errors.New("image has no encoding")
	}
	if err := ValidKey(c.Key); err != nil {
		return err
	}
	return validIdentity(c.Identity)
}
