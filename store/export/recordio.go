package export

import (
	"fmt"

	"facepipe/internal/recordio"
	"facepipe/store"
)

// records writes crops as MXNet's RecordIO in insightface's layout. Labels are the
// dataset's; keys count from 1, and train.lst says which crop each is.
type records struct {
	stage  *staging
	size   int // of the crops, in pixels
	writer *recordio.Writer
	label  int32 // of the identity that is being written
}

func newRecords(r *run) (target, error) {
	if len(r.groups.rows) == 0 {
		return nil, fmt.Errorf("%s: no crop has an identity, which recordio needs", r.options.Dataset)
	}
	size := r.dataset.Contract().CropSize
	w, err := recordio.NewWriter(r.stage.dir, recordio.WriterOptions{
		Images: int64(len(r.groups.rows)), Identities: int64(r.groups.identities),
		Height: size, Width: size, List: true,
	})
	if err != nil {
		return nil, err
	}
	return &records{stage: r.stage, size: size, writer: w, label: store.NoLabel}, nil
}

func (d *records) add(_ store.Location, c *store.Crop) error {
	if c.Label != d.label {
		label, err := d.writer.Begin()
		if err != nil {
			return err
		}
		if label != int64(c.Label) {
			return fmt.Errorf("crop %q: %w: label %d comes after %d", c.Key, store.ErrDamaged, c.Label, d.label)
		}
		d.label = c.Label
	}
	data, _, err := imageFile(c, d.size)
	if err != nil {
		return err
	}
	_, err = d.writer.Add(data, c.Key)
	return err
}

func (d *records) close() error {
	if err := d.writer.Close(); err != nil {
		return err
	}
	for _, name := range []string{recordio.RecordName, recordio.IndexName, recordio.ListName, recordio.PropertyName} {
		if err := d.stage.adopt(name); err != nil {
			return err
		}
	}
	return nil
}

func (d *records) abort() {
	_ = d.writer.Abort() // the files are thrown away
}
