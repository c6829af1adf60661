package export

import (
	"archive/tar"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"facepipe/store"
)

// maxTarBytes ends a tar file early: far below the size that old programs can handle.
const maxTarBytes = 1 << 30

// webDataset writes crops as samples in tar files (POSIX ustar, nothing that depends on
// the machine or the time). A sample's files share a name, the crop's row, which has no
// dot: readers cut names at the first one.
type webDataset struct {
	stage *staging
	size  int // of the crops, in pixels
	limit int // crops in a file

	row   int // next
	shard int // next
	crops int // in the open file
	bytes int64
	file  *file
	tar   *tar.Writer // nil if no file is open
}

// sampleInfo is a sample's .json file.
type sampleInfo struct {
	Key      string   `json:"key"`
	Identity string   `json:"identity,omitempty"`
	ID       store.ID `json:"id"`
	Source   int      `json:"source"`
	// PhotoLandmarks are x0, y0 ... y4 in the photograph that the crop is from. Readers
	// take "landmarks" for those of the sample's own image, and would align it again.
	PhotoLandmarks []float32 `json:"photo_landmarks,omitempty"`
	Score          float32   `json:"score,omitempty"`
}

func newWebDataset(r *run) (target, error) {
	return &webDataset{stage: r.stage, size: r.dataset.Contract().CropSize, limit: r.options.ShardCrops}, nil
}

func (d *webDataset) add(_ store.Location, c *store.Crop) error {
	data, format, err := imageFile(c, d.size)
	if err != nil {
		return err
	}
	info := sampleInfo{Key: c.Key, Identity: c.Identity, ID: c.ID, Source: c.Source, Score: c.Score}
	if c.HasLandmarks {
		info.PhotoLandmarks = c.Landmarks[:]
	}
	text, err := json.Marshal(info)
	if err != nil {
		return fmt.Errorf("crop %q: %w", c.Key, err)
	}
	if d.tar != nil && (d.crops == d.limit || d.bytes+int64(len(data)) > maxTarBytes) {
		if err := d.finish(); err != nil {
			return err
		}
	}
	if err := d.begin(); err != nil {
		return err
	}
	err = d.member(endings(format)[0], data)
	if c.Label != store.NoLabel {
		err = errors.Join(err, d.member(".cls", fmt.Appendf(nil, "%d", c.Label)))
	}
	err = errors.Join(err, d.member(".json", text))
	d.row++
	d.crops++
	d.bytes += int64(len(data))
	return err
}

// begin opens the next tar file unless one is open.
func (d *webDataset) begin() (err error) {
	if d.tar != nil {
		return nil
	}
	if d.file, err = d.stage.create(fmt.Sprintf("%06d.tar", d.shard)); err != nil {
		return err
	}
	d.tar = tar.NewWriter(d.file)
	d.shard++
	d.crops, d.bytes = 0, 0
	return nil
}

// member writes a file of the sample.
func (d *webDataset) member(ending string, data []byte) error {
	err := d.tar.WriteHeader(&tar.Header{
		Typeflag: tar.TypeReg,
		Name:     fmt.Sprintf("%09d%s", d.row, ending),
		Size:     int64(len(data)),
		Mode:     int64(fileMode),
		ModTime:  time.Unix(0, 0),
		Format:   tar.FormatUSTAR,
	})
	if err == nil {
		_, err = d.tar.Write(data)
	}
	return err
}

// finish completes the open tar file.
func (d *webDataset) finish() error {
	if d.tar == nil {
		return nil
	}
	err := errors.Join(d.tar.Close(), d.file.close())
	d.tar = nil
	return err
}

func (d *webDataset) close() error { return d.finish() }

func (d *webDataset) abort() {
	_ = d.file.close() // the file is thrown away
}
