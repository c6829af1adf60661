package export

import (
	"fmt"

	"facepipe/store"
)

// folder writes every crop as a file of its own.
type folder struct {
	stage *staging
	size  int // of the crops, in pixels
	names names
}

func newFolder(r *run) (target, error) {
	return &folder{stage: r.stage, size: r.dataset.Contract().CropSize}, nil
}

func (f *folder) add(_ store.Location, c *store.Crop) error {
	data, format, err := imageFile(c, f.size)
	if err != nil {
		return err
	}
	if err := f.stage.write(f.names.path(c, endings(format)), data); err != nil {
		return fmt.Errorf("crop %q: %w", c.Key, err)
	}
	return nil
}

func (f *folder) close() error { return nil }
func (f *folder) abort()       {}
